//! What became of a dossier: its history, its past, its differences.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use uuid::Uuid;

use super::*;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn at_the_head(client: &Client, path: &str) -> Answer {
    let separator = if path.contains('?') { '&' } else { '?' };
    client.get(&format!("{path}{separator}minPosition={}", head().await)).await
}

fn change(item: &Value, pointer: &str) -> Value {
    let changes = item["changes"].as_array().unwrap();
    let found = changes.iter().find(|change| change["pointer"] == pointer);
    found.map_or(Value::Null, |change| json!([change["from"], change["to"]]))
}

#[tokio::test]
async fn the_history_tells_who_did_what_and_what_changed() {
    let (ada, pro) = (applicant().await, person("pro").await);
    let body = json!({ "title": "A request", "category": "housing", "fields": { "rooms": 2 } });
    let created = post_with(&ada, "/api/dossiers", &[("x-request-id", "request-one")], body).await.expect(201);
    let path = created.header("location").to_owned();
    let request = Uuid::now_v7().to_string();
    let headers = [("x-request-id", request.as_str()), ("traceparent", TRACEPARENT)];
    let edited = json!({ "title": "A house", "description": "Two rooms", "fields": { "rooms": 3, "pets": ["cat"] } });
    put_with(&ada, &path, &headers, edited).await.expect(200);
    obey(&ada, &path, "submit").await.expect(200);
    obey(&pro, &path, "start-review").await.expect(200);
    let refused = pro.post(&format!("{path}/refuse"), json!({ "motivation": "Too many cats" })).await.expect(200);

    let answer = at_the_head(&ada, &format!("{path}/history")).await.expect(200);
    assert_eq!(names(&answer.body), ["items", "nextCursor"]);
    let history = items(&answer);
    let members = ["actor", "at", "causationId", "changes", "data", "position", "requestId", "type", "version"];
    for (index, item) in history.iter().enumerate() {
        assert_eq!(names(item), members);
        assert_eq!((item["version"].as_u64(), is_utc(&item["at"])), (Some(index as u64 + 1), true));
    }
    let types: Vec<&str> = history.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["DossierCreated", "DossierEdited", "DossierSubmitted", "ReviewStarted", "DossierRefused"]);
    assert_eq!(history[0]["position"], created.body["position"]);
    assert_eq!(history[4]["position"], refused.body["position"]);
    assert!(history.windows(2).all(|pair| pair[0]["position"].as_u64() < pair[1]["position"].as_u64()));
    assert_eq!(history[0]["actor"], json!({ "id": ada.user_id, "role": "applicant" }));
    assert_eq!(history[4]["actor"], json!({ "id": pro.user_id, "role": "pro" }));
    assert_eq!((&history[0]["requestId"], &history[1]["requestId"]), (&json!("request-one"), &json!(request)));
    assert_eq!(history[1]["causationId"], json!(request));
    assert_eq!(change(&history[0], "/title"), json!([null, "A request"]));
    assert_eq!(change(&history[1], "/title"), json!(["A request", "A house"]));
    assert_eq!(change(&history[1], "/description"), json!([null, "Two rooms"]));
    assert_eq!(change(&history[1], "/fields/rooms"), json!([2, 3]));
    assert_eq!(change(&history[1], "/fields/pets"), json!([null, ["cat"]]));
    assert_eq!(change(&history[1], "/category"), Value::Null);
    assert_eq!(change(&history[2], "/status"), json!(["draft", "submitted"]));
    assert_eq!(change(&history[3], "/reviewerId"), json!([null, pro.user_id]));
    assert_eq!(change(&history[4], "/status"), json!(["in_review", "refused"]));
    assert_eq!(history[4]["data"]["motivation"], "Too many cats");
}

#[tokio::test]
async fn the_trace_and_the_request_end_up_in_the_metadata() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let headers = [("x-request-id", "traced-request"), ("traceparent", TRACEPARENT), ("user-agent", "a test")];
    let created = post_with(&ada, "/api/dossiers", &headers, dossier("x")).await.expect(201);
    let path = format!("/api/audit/events?stream=dossier/{}", created.id());
    let metadata = at_the_head(&auditor, &path).await.expect(200).body["items"][0]["metadata"].clone();
    assert_eq!((&metadata["requestId"], &metadata["traceparent"]), (&json!("traced-request"), &json!(TRACEPARENT)));
    assert_eq!((&metadata["actorId"], &metadata["actorRole"]), (&json!(ada.user_id), &json!("applicant")));
    assert!(!metadata["correlationId"].is_null() && !metadata["causationId"].is_null());
    // Where somebody was when they did it is personal.
    assert!(!metadata.to_string().contains("127.0.0.1") && !metadata.to_string().contains("a test"));
    let no_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    for bad in [no_trace, "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "x", "", "00-\u{e9}"] {
        let created = post_with(&ada, "/api/dossiers", &[("traceparent", bad)], dossier("x")).await.expect(201);
        let path = format!("/api/audit/events?stream=dossier/{}", created.id());
        let metadata = at_the_head(&auditor, &path).await.expect(200).body["items"][0]["metadata"].clone();
        assert!(metadata.get("traceparent").is_none_or(Value::is_null), "{bad}: {metadata}");
    }
}

#[tokio::test]
async fn the_history_has_pages() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    for number in 0..9 {
        ada.put(&path, json!({ "title": format!("{number}") })).await.expect(200);
    }
    let whole = at_the_head(&ada, &format!("{path}/history?limit=100")).await.expect(200);
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = ada.get(&format!("{path}/history?limit=3{cursor}")).await.expect(200);
        paged.extend(items(&page).to_vec());
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    // Also what changed across the seam of two pages.
    assert_eq!(paged, items(&whole));
    assert_eq!(paged.len(), 10);
}

#[tokio::test]
async fn every_past_state_can_be_read_again() {
    let (ada, pro) = (applicant().await, person("pro").await);
    let path = new_dossier(&ada).await;
    let mut states = vec![at_the_head(&ada, &path).await.expect(200).body];
    let steps = [
        (&ada, "edit"),
        (&ada, "submit"),
        (&pro, "start-review"),
        (&pro, "request-changes"),
        (&ada, "edit"),
        (&ada, "submit"),
        (&pro, "start-review"),
        (&pro, "accept"),
        (&pro, "reopen"),
        (&pro, "close"),
        (&ada, "archive"),
    ];
    for (client, command) in steps {
        obey(client, &path, command).await.expect(200);
        states.push(at_the_head(&ada, &path).await.expect(200).body);
    }
    for (index, state) in states.iter().enumerate() {
        let version = index + 1;
        let past = ada.get(&format!("{path}?version={version}")).await.expect(200);
        assert_eq!(&past.body, state, "version {version}");
        assert_eq!(past.header("etag"), format!("\"{version}\""));
    }
    // As of a time: what was recorded up to then.
    let history = ada.get(&format!("{path}/history?limit=100")).await.expect(200);
    let times: Vec<DateTime<Utc>> =
        items(&history).iter().map(|item| item["at"].as_str().unwrap().parse().unwrap()).collect();
    for (index, time) in times.iter().enumerate().filter(|(index, time)| times.get(index + 1) != Some(*time)) {
        for as_of in [
            time.to_rfc3339_opts(SecondsFormat::Micros, true),
            time.to_rfc3339().replace('+', "%2B"),
            time.to_rfc3339(),
        ] {
            let past = ada.get(&format!("{path}?asOf={as_of}")).await.expect(200);
            assert_eq!(past.body, states[index], "as of {as_of}");
        }
    }
    let now = ada.get(&format!("{path}?asOf=2999-01-01T00:00:00%2B02:00")).await.expect(200);
    assert_eq!(Some(&now.body), states.last());
    // As of a position: whatever it is of, up to where the next event of the dossier stands.
    let positions: Vec<u64> = items(&history).iter().map(|item| item["position"].as_u64().unwrap()).collect();
    for (index, position) in positions.iter().enumerate() {
        let until = positions.get(index + 1).map_or(i64::MAX as u64, |next| next - 1);
        for position in [*position, until] {
            let past = ada.get(&format!("{path}?atPosition={position}")).await.expect(200);
            assert_eq!(past.body, states[index], "at {position}");
        }
    }
    ada.get(&format!("{path}?atPosition={}", positions[0] - 1)).await.expect(404);
}

#[tokio::test]
async fn a_past_that_never_was_is_refused() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    for (query, status) in [
        ("?version=0", 404),
        ("?version=2", 404),
        ("?version=18446744073709551615", 404),
        ("?version=18446744073709551616", 422),
        ("?version=-1", 422),
        ("?version=", 422),
        ("?version=x", 422),
        ("?version=1.0", 422),
        ("?asOf=2001-01-01T00:00:00Z", 404),
        ("?asOf=-9999-01-01T00:00:00Z", 422),
        ("?asOf=yesterday", 422),
        ("?asOf=", 422),
        ("?asOf=2026-02-30T00:00:00Z", 422),
        ("?asOf=2026-01-01", 422),
        ("?asOf=99999999999999999", 422),
        ("?version=1&asOf=2026-01-01T00:00:00Z", 422),
        ("?version=1&version=1", 422),
        ("?version=1&atPosition=1", 422),
        ("?asOf=2026-01-01T00:00:00Z&atPosition=1", 422),
        ("?atPosition=0", 404),
        ("?atPosition=-1", 422),
        ("?atPosition=9223372036854775808", 422),
        ("/diff", 422),
        ("/diff?from=1", 422),
        ("/diff?to=1", 422),
        ("/diff?from=1&to=2", 404),
        ("/diff?from=-1&to=1", 422),
        ("/diff?from=0&to=18446744073709551615", 404),
        ("/diff?from=0&to=18446744073709551616", 422),
        ("/diff?from=x&to=1", 422),
        ("/history?version=1", 422),
    ] {
        let answer = ada.get(&format!("{path}{query}")).await;
        assert_eq!(answer.status, status, "{query}: {:#}", answer.body);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn a_diff_tells_who_made_each_difference_and_why() {
    let (ada, pro) = (applicant().await, person("pro").await);
    let body = json!({ "title": "one", "category": "housing", "fields": { "a": 1, "b": 1 } });
    let path = post_with(&ada, "/api/dossiers", &[], body).await.expect(201).header("location").to_owned();
    ada.put(&path, json!({ "title": "two", "fields": { "a": 2, "b": 1 } })).await.expect(200);
    obey(&ada, &path, "submit").await.expect(200);
    obey(&pro, &path, "start-review").await.expect(200);
    let asked = json!({ "reason": "incomplete", "message": "Which floor?" });
    pro.post(&format!("{path}/request-changes"), asked).await.expect(200);
    ada.put(&path, json!({ "title": "three" })).await.expect(200);
    let diff = async |from: u64, to: u64| {
        let answer = ada.get(&format!("{path}/diff?from={from}&to={to}")).await.expect(200);
        answer.body["changes"].as_array().unwrap().clone()
    };
    let by = |changes: &[Value], pointer: &str| {
        let found = changes.iter().find(|change| change["pointer"] == pointer);
        found.unwrap_or_else(|| panic!("no {pointer} in {changes:#?}"))["by"].clone()
    };
    let changes = diff(1, 6).await;
    assert!(changes.iter().all(|change| names(change) == ["by", "from", "pointer", "to"]));
    // The last who changed it, and nobody who left it as it was.
    let title = by(&changes, "/title");
    assert_eq!((&title["version"], &title["actor"]["id"]), (&json!(6), &json!(ada.user_id)));
    assert_eq!(by(&changes, "/fields/a")["version"], 2);
    assert_eq!(by(&changes, "/submittedAt")["version"], 3);
    let status = by(&changes, "/status");
    assert_eq!(
        (&status["type"], &status["actor"]),
        (&json!("ChangesRequested"), &json!({ "id": pro.user_id, "role": "pro" }))
    );
    assert_eq!(status["reasons"], json!(["incomplete", "Which floor?"]));
    assert!(is_utc(&status["at"]));
    assert_eq!(by(&diff(1, 3).await, "/title")["version"], 2);
    // Backwards it is the same events; from the beginning, the one that made it.
    assert_eq!(by(&diff(6, 1).await, "/title"), title);
    assert_eq!(by(&diff(0, 1).await, "/title")["type"], "DossierCreated");
    assert_eq!(diff(3, 3).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_diff_tells_what_became_between_two_versions() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    ada.put(&path, json!({ "title": "two", "fields": { "a": 1, "b": 2 } })).await.expect(200);
    ada.put(&path, json!({ "title": "three", "description": null, "fields": { "b": 3 } })).await.expect(200);
    let diff = |from: u64, to: u64| {
        let (ada, path) = (ada.clone(), format!("{path}/diff?from={from}&to={to}"));
        async move {
            let answer = ada.get(&path).await.expect(200);
            assert_eq!((&answer.body["from"], &answer.body["to"]), (&json!(from), &json!(to)));
            assert_eq!(names(&answer.body), ["changes", "from", "to"]);
            answer.body
        }
    };
    let forward = diff(1, 3).await;
    assert_eq!(change(&forward, "/title"), json!(["A request", "three"]));
    assert_eq!(change(&forward, "/description"), json!(["Two rooms", null]));
    assert_eq!((change(&forward, "/fields/b"), change(&forward, "/fields/a")), (json!([null, 3]), Value::Null));
    assert_eq!(change(&diff(2, 3).await, "/fields/a"), json!([1, null]));
    // Backwards is the mirror; nothing differs from itself.
    let back = diff(3, 1).await;
    assert_eq!(change(&back, "/title"), json!(["three", "A request"]));
    assert_eq!(diff(2, 2).await["changes"], json!([]));
    assert_eq!(change(&diff(0, 1).await, "/title"), json!([null, "A request"]));
}

#[tokio::test]
async fn only_those_who_may_replay_a_dossier_do() {
    let (ada, pro, other) = (applicant().await, person("pro").await, person("pro").await);
    let path = dossier_in("in_review", &ada, &pro).await;
    let on_the_desk = dossier_in("submitted", &ada, &pro).await;
    at_the_head(&ada, &path).await.expect(200);
    for question in ["/history", "?version=1", "?asOf=2999-01-01T00:00:00Z", "/diff?from=0&to=1"] {
        for reader in [&ada, &pro, &person("auditor").await] {
            reader.get(&format!("{path}{question}")).await.expect(200);
        }
        for reader in [&other, &applicant().await, &person("analyst").await, &person("moderator").await] {
            reader.get(&format!("{path}{question}")).await.expect_problem(404, "dossier.not_found");
        }
        // Who sees the dossier but may not replay it.
        other.get(&format!("{on_the_desk}{question}")).await.expect_problem(403, "access.forbidden");
        admin().await.get(&format!("{path}{question}")).await.expect_problem(403, "access.forbidden");
        nobody().await.get(&format!("{path}{question}")).await.expect_problem(401, "auth.required");
    }
}
