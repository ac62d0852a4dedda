//! The log itself, as an auditor reads it.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::*;

/// The lines of a stream, and its last.
async fn lines(client: &Client, query: &str) -> (Vec<Value>, Value) {
    let answer = get_with(client, &format!("/api/audit/events{query}"), &[("accept", "application/x-ndjson")]).await;
    let answer = answer.expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert!(answer.header("capitune-position").parse::<u64>().is_ok());
    let text = match answer.body {
        Value::String(text) => text,
        // A single line is JSON of its own.
        line => line.to_string(),
    };
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    assert_eq!(names(&last), ["count", "firstPosition", "lastPosition"]);
    assert_eq!(last["count"].as_u64(), Some(lines.len() as u64));
    (lines, last)
}

fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_whole_log_comes_as_one_stream_with_a_last_line() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let last = ada.create_dossier("x").await.position();
    let (events, summary) = lines(&auditor, &format!("?minPosition={last}")).await;
    let reached = summary["lastPosition"].as_u64().unwrap();
    assert!(reached >= last);
    assert_eq!(summary["firstPosition"], 1);
    assert_eq!(positions(&events), (1..=reached).collect::<Vec<_>>());
    let members = [
        "aggregateId",
        "aggregateType",
        "eventId",
        "eventType",
        "metadata",
        "payload",
        "position",
        "recordedAt",
        "schemaVersion",
        "version",
    ];
    assert!(events.iter().all(|event| names(event) == members));
    let ids: std::collections::HashSet<&str> = events.iter().map(|event| event["eventId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len());
    // Resumed after a position, it goes on with the next.
    let (rest, summary) = lines(&auditor, &format!("?after={}&minPosition={last}", reached - 3)).await;
    assert_eq!(summary["firstPosition"], reached - 2);
    assert_eq!(rest[..3], events[events.len() - 3..]);
    let (none, summary) = lines(&auditor, &format!("?after={}", i64::MAX)).await;
    assert_eq!((none.len(), summary), (0, json!({ "count": 0, "firstPosition": null, "lastPosition": null })));
}

#[tokio::test]
async fn pages_lead_through_the_log_in_order() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let start = head().await;
    for number in 0..12 {
        ada.create_dossier(&format!("{number}")).await;
    }
    let end = head().await;
    let mut seen = Vec::new();
    let mut cursor = format!("&after={start}");
    while seen.last().is_none_or(|last| *last < end) {
        let page = auditor.get(&format!("/api/audit/events?limit=5{cursor}")).await.expect(200);
        assert_eq!(names(&page.body), ["items", "nextCursor"]);
        assert!(items(&page).len() <= 5);
        seen.extend(positions(items(&page)));
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, (start + 1..=seen.last().copied().unwrap()).collect::<Vec<_>>());
    assert!(seen.last().is_some_and(|last| *last >= end));
}

#[tokio::test]
async fn the_log_is_narrowed_by_type_stream_actor_and_time() {
    let (ada, auditor) = (applicant().await, person("auditor").await);
    let before = Utc::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let path = new_dossier(&ada).await;
    let id = path.rsplit('/').next().unwrap();
    obey(&ada, &path, "edit").await.expect(200);
    obey(&ada, &path, "submit").await.expect(200);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let after = Utc::now();
    new_dossier(&ada).await;
    let time = |time: DateTime<Utc>| time.to_rfc3339().replace('+', "%2B");
    let me = ada.user_id;
    for (query, expected) in [
        (format!("stream=dossier/{id}"), vec!["DossierCreated", "DossierEdited", "DossierSubmitted"]),
        (format!("stream={id}"), vec!["DossierCreated", "DossierEdited", "DossierSubmitted"]),
        (format!("stream=account/{me}"), vec!["AccountRegistered"]),
        (format!("stream=dossier/{me}"), vec![]),
        (format!("stream=dossier/{id}&type=DossierEdited"), vec!["DossierEdited"]),
        (format!("stream=dossier/{id}&type=dossieredited"), vec![]),
        (format!("actor={me}&type=DossierCreated"), vec!["DossierCreated", "DossierCreated"]),
        (
            format!("actor={me}&from={}&to={}", time(before), time(after)),
            vec!["DossierCreated", "DossierEdited", "DossierSubmitted"],
        ),
        (format!("actor={me}&from={}", time(after)), vec!["DossierCreated"]),
        (format!("actor={me}&to={}", time(before)), vec!["AccountRegistered"]),
        (format!("actor={me}&from={}&to={}", time(after), time(before)), vec![]),
        (format!("actor={}", Uuid::now_v7()), vec![]),
        (format!("stream=dossier/{id}&actor={}", Uuid::now_v7()), vec![]),
        (format!("actor={me}&type=%27%20or%201=1"), vec![]),
    ] {
        let page = auditor.get(&format!("/api/audit/events?limit=100&{query}")).await.expect(200);
        let types: Vec<&str> = items(&page).iter().map(|event| event["eventType"].as_str().unwrap()).collect();
        assert_eq!(types, expected, "{query}");
        let (streamed, _) = lines(&auditor, &format!("?{query}")).await;
        assert_eq!(streamed, items(&page), "{query}");
    }
    for bad in [
        "after=-1",
        "after=x",
        "after=18446744073709551616",
        "stream=x",
        "stream=dossier/x",
        "stream=",
        "actor=x",
        "actor=",
        "from=x",
        "to=2026-13-01T00:00:00Z",
        "type=%00",
        "types=x",
        "cursor=x",
    ] {
        let answer = auditor.get(&format!("/api/audit/events?{bad}")).await;
        assert_eq!(answer.status, 422, "{bad}: {:#}", answer.body);
    }
}

#[tokio::test]
async fn what_is_personal_stays_sealed_in_the_log() {
    let secret = Uuid::now_v7().simple().to_string();
    let auditor = person("auditor").await;
    let email = format!("mail{secret}@capitune.test");
    let account = json!({ "email": email, "password": format!("password{secret}"), "name": format!("name{secret}") });
    let account = nobody().await.post("/api/auth/register", account).await.expect(201);
    let ada = nobody().await.with_token(account.body["token"].as_str().unwrap());
    let body = json!({ "title": "clear title", "category": "x", "description": format!("text{secret}"), "fields": { "a": format!("field{secret}") } });
    let headers = [("user-agent", secret.as_str())];
    let path = post_with(&ada, "/api/dossiers", &headers, body).await.expect(201).header("location").to_owned();
    ada.put(&path, json!({ "description": format!("other{secret}"), "fields": { "a": 1 } })).await.expect(200);
    ada.put("/api/users/me", json!({ "name": format!("renamed{secret}") })).await.expect(200);
    ada.post(&format!("{path}/submit"), json!({ "note": format!("note{secret}") })).await.expect(200);
    let me = account.body["user"]["id"].as_str().unwrap();
    let (events, _) = lines(&auditor, &format!("?actor={me}&minPosition={}", head().await)).await;
    assert_eq!(events.len(), 5);
    for event in &events {
        let text = event.to_string();
        assert!(!text.contains(&secret), "{text}");
        assert!(!text.contains("127.0.0.1"), "{text}");
    }
    assert!(events.iter().any(|event| event.to_string().contains("clear title")));
}

#[tokio::test]
async fn an_auditor_changes_nothing() {
    let (ada, pro, auditor) = (applicant().await, person("pro").await, person("auditor").await);
    let path = dossier_in("in_review", &ada, &pro).await;
    let start = head().await;
    for command in [
        "edit",
        "submit",
        "withdraw",
        "archive",
        "accept",
        "refuse",
        "close",
        "assign",
        "start-review",
        "request-changes",
    ] {
        let refused = obey(&auditor, &path, command).await;
        assert!(matches!(refused.status, 403 | 422), "{command}: {:#}", refused.body);
    }
    let (events, _) = lines(&auditor, &format!("?after={start}&actor={}", auditor.user_id)).await;
    assert!(events.is_empty());
}
