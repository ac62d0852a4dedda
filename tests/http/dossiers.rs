//! The life of a dossier: every state, every command.

use serde_json::json;
use uuid::Uuid;

use super::*;

/// Every command, by the name that its route gives it.
const COMMANDS: [&str; 14] = [
    "edit",
    "submit",
    "discard",
    "withdraw",
    "archive",
    "start-review",
    "request-changes",
    "cancel-change-request",
    "accept",
    "refuse",
    "close",
    "reopen",
    "assign",
    "create",
];

/// What each state allows, and where that leads.
const TABLE: [(&str, &[(&str, &str)]); 11] = [
    ("draft", &[("edit", "draft"), ("submit", "submitted"), ("discard", "discarded")]),
    (
        "submitted",
        &[
            ("start-review", "in_review"),
            ("request-changes", "changes_requested"),
            ("withdraw", "withdrawn"),
            ("assign", "submitted"),
        ],
    ),
    (
        "in_review",
        &[
            ("request-changes", "changes_requested"),
            ("accept", "accepted"),
            ("refuse", "refused"),
            ("close", "closed"),
            ("withdraw", "withdrawn"),
            ("assign", "in_review"),
        ],
    ),
    (
        "changes_requested",
        &[
            ("edit", "changes_requested"),
            ("submit", "submitted"),
            ("cancel-change-request", "in_review"),
            ("withdraw", "withdrawn"),
        ],
    ),
    ("accepted", &[("reopen", "in_review"), ("archive", "accepted")]),
    ("refused", &[("reopen", "in_review"), ("archive", "refused")]),
    ("closed", &[("reopen", "in_review"), ("archive", "closed")]),
    ("withdrawn", &[("archive", "withdrawn")]),
    ("accepted, archived", &[]),
    ("withdrawn, archived", &[]),
    ("discarded", &[]),
];

/// Who gives a command: its owner, or its reviewer.
fn giver<'a>(command: &str, owner: &'a Client, pro: &'a Client) -> &'a Client {
    if OWNERS.contains(&command) { owner } else { pro }
}

async fn read_now(client: &Client, path: &str) -> Answer {
    client.get(&format!("{path}?minPosition={}", head().await)).await
}

#[tokio::test]
async fn every_allowed_command_leads_where_the_table_says() {
    let (ada, pro) = (applicant().await, person("pro").await);
    for (state, allowed) in TABLE {
        for (command, to) in allowed {
            let path = dossier_in(state, &ada, &pro).await;
            let done = obey(giver(command, &ada, &pro), &path, command).await;
            assert_eq!(done.status, 200, "{command} on {state}: {:#}", done.body);
            let read = read_now(&ada, &path).await;
            if *to == "discarded" {
                read.expect_problem(404, "dossier.not_found");
                continue;
            }
            assert_eq!(read.body["status"], *to, "{command} on {state}");
            assert_eq!(read.body["version"], done.body["version"], "{command} on {state}");
            assert_eq!(read.body["archived"], *command == "archive", "{command} on {state}");
        }
    }
}

#[tokio::test]
async fn every_other_command_is_refused_with_what_is_allowed_now() {
    let (ada, pro) = (applicant().await, person("pro").await);
    for (state, allowed) in TABLE {
        let path = dossier_in(state, &ada, &pro).await;
        let before = read_now(&ada, &path).await.body;
        let allowed: Vec<&str> = allowed.iter().map(|(command, _)| *command).collect();
        for command in COMMANDS.into_iter().filter(|command| !allowed.contains(command) && *command != "create") {
            let refused = obey(giver(command, &ada, &pro), &path, command).await;
            // What the caller may not see answers 404: a draft is not a pro's to see, a discarded one nobody's.
            if state == "discarded" || (state == "draft" && !OWNERS.contains(&command)) {
                refused.expect_problem(404, "dossier.not_found");
                continue;
            }
            let refused = refused.expect_problem(409, "dossier.invalid_transition");
            let status = state.split(',').next().unwrap();
            assert_eq!(refused.body["currentState"], status, "{command} on {state}");
            let mut told: Vec<&str> =
                refused.body["allowedCommands"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            let mut expected = allowed.clone();
            told.sort_unstable();
            expected.sort_unstable();
            assert_eq!(told, expected, "{command} on {state}");
        }
        let mut after = read_now(&ada, &path).await.body;
        // Of what is not to be seen, only the name of the question differs.
        for member in ["instance", "requestId"].into_iter().filter(|member| before.get(member).is_some()) {
            after[member] = before[member].clone();
        }
        assert_eq!(before, after, "{state}");
    }
}

#[tokio::test]
async fn a_cancelled_change_request_returns_where_it_came_from() {
    let (ada, pro) = (applicant().await, person("pro").await);
    for from in ["submitted", "in_review"] {
        let path = dossier_in(from, &ada, &pro).await;
        obey(&pro, &path, "request-changes").await.expect(200);
        let open = read_now(&ada, &path).await.expect(200).body["openChangeRequest"].clone();
        assert_eq!((&open["reason"], &open["message"]), (&json!("incomplete"), &json!("A page is missing")));
        // At most one is open.
        obey(&pro, &path, "request-changes").await.expect_problem(409, "dossier.invalid_transition");
        obey(&pro, &path, "cancel-change-request").await.expect(200);
        let read = read_now(&ada, &path).await.expect(200).body;
        assert_eq!((&read["status"], &read["openChangeRequest"]), (&json!(from), &Value::Null));
    }
}

#[tokio::test]
async fn after_a_change_request_a_submission_needs_a_change_or_a_note() {
    let (ada, pro) = (applicant().await, person("pro").await);
    let path = dossier_in("changes_requested", &ada, &pro).await;
    ada.post(&format!("{path}/submit"), json!({})).await.expect_problem(409, "dossier.nothing_changed");
    ada.put(&path, json!({ "title": "A request" })).await.expect(200);
    ada.post(&format!("{path}/submit"), json!({})).await.expect_problem(409, "dossier.nothing_changed");
    ada.put(&path, json!({ "title": "Something else" })).await.expect(200);
    ada.post(&format!("{path}/submit"), json!({})).await.expect(200);
    obey(&pro, &path, "request-changes").await.expect(200);
    ada.post(&format!("{path}/submit"), json!({ "note": "It is complete" })).await.expect(200);
    let read = read_now(&ada, &path).await.expect(200).body;
    assert_eq!((&read["status"], &read["reviewerId"]), (&json!("submitted"), &json!(pro.user_id)));
}

#[tokio::test]
async fn a_decision_needs_its_reviewer_and_where_it_hurts_a_motivation() {
    let (ada, pro, other) = (applicant().await, person("pro").await, person("pro").await);
    let path = dossier_in("in_review", &ada, &pro).await;
    for command in ["refuse", "close"] {
        for (body, code) in [
            (json!({}), "field.required"),
            (json!({ "motivation": null }), "field.invalid"),
            (json!({ "motivation": "" }), "dossier.invalid"),
            (json!({ "motivation": "m".repeat(5_001) }), "dossier.invalid"),
        ] {
            let refused = pro.post(&format!("{path}/{command}"), body).await.expect_problem(422, code);
            assert_eq!(refused.body["errors"][0]["pointer"], "/motivation");
        }
    }
    for command in ["accept", "refuse", "close", "request-changes", "start-review"] {
        obey(&other, &path, command).await.expect_problem(404, "dossier.not_found");
    }
    let message = json!({ "reason": "ugly", "message": "x" });
    let refused = pro.post(&format!("{path}/request-changes"), message).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/reason")));
    pro.post(&format!("{path}/refuse"), json!({ "motivation": "m".repeat(5_000) })).await.expect(200);
    let read = read_now(&ada, &path).await.expect(200).body;
    assert_eq!((&read["decision"]["outcome"], &read["decision"]["by"]), (&json!("refused"), &json!(pro.user_id)));
    assert!(is_utc(&read["decidedAt"]));
    obey(&pro, &path, "reopen").await.expect(200);
    let read = read_now(&ada, &path).await.expect(200).body;
    assert_eq!((&read["status"], &read["decision"]), (&json!("in_review"), &Value::Null));
}

#[tokio::test]
async fn no_one_reviews_a_dossier_of_their_own() {
    let (pro, other) = (person("pro").await, person("pro").await);
    let path = dossier_in("submitted", &pro, &other).await;
    for command in ["start-review", "request-changes", "assign"] {
        obey(&pro, &path, command).await.expect_problem(403, "access.forbidden");
    }
    let refused = other.post(&format!("{path}/assign"), json!({ "pro": pro.user_id })).await;
    refused.expect_problem(409, "dossier.own_review");
    obey(&other, &path, "start-review").await.expect(200);
}

#[tokio::test]
async fn an_assigned_dossier_belongs_to_its_pro() {
    let (ada, pro, other, admin) = (applicant().await, person("pro").await, person("pro").await, admin().await);
    let path = dossier_in("submitted", &ada, &pro).await;
    let assign = |to: Uuid| json!({ "pro": to });
    for wrong in [ada.user_id, Uuid::now_v7()] {
        let refused = pro.post(&format!("{path}/assign"), assign(wrong)).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/pro")));
    }
    let refused = pro.post(&format!("{path}/assign"), json!({ "pro": "nobody" })).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/pro")));
    let once = pro.post(&format!("{path}/assign"), assign(other.user_id)).await.expect(200);
    read_now(&pro, &path).await.expect_problem(404, "dossier.not_found");
    obey(&pro, &path, "start-review").await.expect_problem(404, "dossier.not_found");
    // To assign what is assigned changes nothing.
    let twice = admin.post(&format!("{path}/assign"), assign(other.user_id)).await.expect(200);
    assert_eq!(once.body, twice.body);
    obey(&other, &path, "start-review").await.expect(200);
    admin.post(&format!("{path}/assign"), assign(pro.user_id)).await.expect(200);
    obey(&other, &path, "accept").await.expect_problem(404, "dossier.not_found");
    obey(&pro, &path, "accept").await.expect(200);
}

#[tokio::test]
async fn an_edit_changes_what_is_given_and_nothing_else() {
    let ada = applicant().await;
    let body =
        json!({ "title": " A request ", "category": "housing", "fields": { "rooms": 2, "pets": ["cat", true] } });
    let path = ada.post("/api/dossiers", body).await.expect(201).header("location").to_owned();
    ada.put(&path, json!({ "description": "With a view" })).await.expect(200);
    let read = read_now(&ada, &path).await.expect(200).body;
    assert_eq!((&read["title"], &read["category"]), (&json!("A request"), &json!("housing")));
    assert_eq!(
        (&read["description"], &read["fields"]),
        (&json!("With a view"), &json!({ "rooms": 2, "pets": ["cat", true] }))
    );
    ada.put(&path, json!({ "description": null, "fields": { "rooms": 3 } })).await.expect(200);
    let read = read_now(&ada, &path).await.expect(200).body;
    assert_eq!((&read["description"], &read["fields"]), (&Value::Null, &json!({ "rooms": 3 })));
    assert_eq!(read["version"], 3);
    // Nothing given, nothing changed.
    for nothing in [json!({}), json!({ "fields": { "rooms": 3 } }), json!({ "title": "A request" })] {
        assert_eq!(ada.put(&path, nothing).await.expect(200).body["version"], 3);
    }
    for (body, pointer) in [
        (json!({ "title": null }), "/title"),
        (json!({ "title": " " }), "/title"),
        (json!({ "title": "t".repeat(201) }), "/title"),
        (json!({ "category": "" }), "/category"),
        (json!({ "description": 1 }), "/description"),
        (json!({ "fields": [] }), "/fields"),
        (json!({ "fields": { "a": null } }), "/fields/a"),
        (json!({ "fields": { "a": [[1]] } }), "/fields/a"),
        (json!({ "fields": { "a": { "b": 1 } } }), "/fields/a"),
    ] {
        let refused = ada.put(&path, body.clone()).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}");
    }
}

#[tokio::test]
async fn what_people_write_comes_back_as_they_wrote_it() {
    let ada = applicant().await;
    let long = "é".repeat(200);
    for title in [
        long.as_str(),
        "👩‍👩‍👧‍👦 ʻokina ﷽",
        "'; drop table dossier.dossiers; --",
        "<script>alert(1)</script>",
        "{{7*7}} ${jndi:ldap://x}",
        "a\u{202e}b\r\nx: y",
        "..\\../etc/passwd",
        "%s%n\\",
        "{\"$sealed\":1}",
    ] {
        let fields = json!({ "text": title, "list": [title, 1.5, false], "number": 0.1, "big": 9_007_199_254_740_993_u64, "most": u64::MAX, "least": i64::MIN, "tiny": 5e-324 });
        let body = json!({ "title": title, "category": "x", "description": title, "fields": fields });
        let created = post_with(&ada, "/api/dossiers", &[("prefer", "return=representation")], body).await.expect(201);
        assert_eq!(created.body["title"], title.trim());
        assert_eq!(created.body["description"], title);
        assert_eq!(created.body["fields"], fields);
        let past = ada.get(&format!("{}?version=1", created.header("location"))).await.expect(200);
        assert_eq!((&past.body["fields"], &past.body["description"]), (&fields, &json!(title)));
    }
    // What looks sealed is a value like any other, or refused; it is never opened as one of ours.
    let sealed = json!({ "title": "x", "category": "x", "fields": { "a": "{\"$sealed\":\"x\"}" } });
    ada.post("/api/dossiers", sealed).await.expect(201);
    let sealed = json!({ "title": "x", "category": "x", "fields": { "a": { "$sealed": "x" } } });
    assert_eq!(ada.post("/api/dossiers", sealed).await.status, 422);
}

#[tokio::test]
async fn content_has_limits() {
    let ada = applicant().await;
    let with = |fields: Value| json!({ "title": "x", "category": "x", "fields": fields });
    let many = |count: usize| {
        (0..count).map(|number| (format!("f{number}"), json!(number))).collect::<serde_json::Map<_, _>>()
    };
    ada.post("/api/dossiers", with(many(100).into())).await.expect(201);
    let bodies = [
        with(many(101).into()),
        with(json!({ "a": vec![1; 101] })),
        with(json!({ "a": vec![1; 100_000] })),
        with(json!({ "": 1 })),
        with(json!({ "é": 1 })),
        with(json!({ "a b": 1 })),
        with(json!({ "$sealed": 1 })),
        with(
            (0..100)
                .map(|number| (format!("f{number}"), json!(vec!["x".repeat(2_000); 2])))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        ),
        json!({ "title": "x".repeat(1_000_000), "category": "x" }),
    ];
    for body in bodies {
        let refused = ada.post("/api/dossiers", body).await;
        assert!(matches!(refused.status, 413 | 422), "{:#}", refused.body);
    }
}

#[tokio::test]
async fn a_discarded_dossier_is_gone_but_not_from_the_log() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let path = new_dossier(&ada).await;
    ada.delete(&path).await.expect(200);
    let position = head().await;
    read_now(&ada, &path).await.expect_problem(404, "dossier.not_found");
    ada.get(&format!("{path}/history")).await.expect_problem(404, "dossier.not_found");
    ada.delete(&path).await.expect_problem(404, "dossier.not_found");
    assert!(items(&ada.get(&format!("/api/dossiers?minPosition={position}")).await.expect(200)).is_empty());
    let history = auditor.get(&format!("{path}/history")).await.expect(200);
    assert_eq!(items(&history)[1]["type"], "DossierDiscarded");
    let before = auditor.get(&format!("{path}?version=1")).await.expect(200);
    assert_eq!(before.body["status"], "draft");
}

#[tokio::test]
async fn two_who_decide_at_once_do_not_both_win() {
    let (ada, pro) = (applicant().await, person("pro").await);
    for _ in 0..5 {
        let path = dossier_in("in_review", &ada, &pro).await;
        let (accepted, refused, withdrawn) =
            tokio::join!(obey(&pro, &path, "accept"), obey(&pro, &path, "refuse"), obey(&ada, &path, "withdraw"),);
        let statuses = [accepted.status, refused.status, withdrawn.status];
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 2, "{statuses:?}");
    }
    let path = new_dossier(&ada).await;
    let submissions = (0..6).map(|_| {
        let (ada, path) = (ada.clone(), path.clone());
        async move { ada.post(&format!("{path}/submit"), json!({})).await.status }
    });
    let statuses = futures::future::join_all(submissions).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 5, "{statuses:?}");
}
