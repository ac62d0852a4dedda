//! What is sealed, opened for an auditor: never without a second person, never for long, never unseen.

use super::*;

async fn asked(auditor: &Client, dossier: &str) -> String {
    let body = json!({ "stream": format!("dossier/{dossier}"), "reason": "A complaint of 12 November" });
    let asked = auditor.post("/api/audit/break-glass", body).await.expect(201);
    assert_eq!((&asked.body["open"], &asked.body["reason"]), (&json!(false), &json!("A complaint of 12 November")));
    format!("/api/audit/break-glass/{}", asked.body["id"].as_str().unwrap())
}

#[tokio::test]
async fn it_takes_two_and_shows_what_is_sealed_to_who_asked_alone() {
    let (ada, auditor, second) = (applicant().await, person("auditor").await, person("auditor").await);
    let created = ada.create_dossier("x").await;
    let id = created.id().to_string();
    ada.put(&format!("/api/dossiers/{id}"), json!({ "description": "Three rooms" })).await.expect(200);
    let log = auditor.get(&format!("/api/audit/events?stream=dossier/{id}")).await.expect(200);
    assert!(!log.body.to_string().contains("rooms"));
    let glass = asked(&auditor, &id).await;
    let events = format!("{glass}/events");
    auditor.get(&events).await.expect_problem(403, "break_glass.closed");
    let approve = format!("{glass}/approve");
    auditor.post(&approve, json!({})).await.expect_problem(403, "break_glass.second_person_required");
    ada.post(&approve, json!({})).await.expect_problem(403, "access.forbidden");
    let open = second.post(&approve, json!({})).await.expect(200);
    assert_eq!((&open.body["open"], &open.body["approvedBy"]), (&json!(true), &json!(second.user_id)));
    second.post(&approve, json!({})).await.expect(200);
    admin().await.post(&approve, json!({})).await.expect_problem(403, "break_glass.closed");

    let seen = auditor.get(&events).await.expect(200);
    assert_eq!(items(&seen).len(), 2);
    let text = seen.body.to_string();
    assert!(text.contains("Two rooms") && text.contains("Three rooms") && !text.contains("$sealed"), "{text}");
    let first = auditor.get(&format!("{events}?limit=1")).await.expect(200);
    let next = first.body["nextCursor"].as_str().unwrap();
    let rest = auditor.get(&format!("{events}?limit=1&cursor={next}")).await.expect(200);
    assert_eq!((&items(&rest)[0], &rest.body["nextCursor"]), (&items(&seen)[1], &Value::Null));
    for other in [&second, &person("auditor").await] {
        other.get(&events).await.expect_problem(404, "break_glass.not_found");
    }
    let listed = second.get("/api/audit/break-glass").await.expect(200);
    assert!(items(&listed).iter().any(|item| glass.ends_with(item["id"].as_str().unwrap()) && item["open"] == true));

    // Each step is on record, and she learns of it.
    let record =
        auditor.get(&format!("/api/audit/accesses?action=breakGlass&resource={id}&limit=100")).await.expect(200);
    let did: Vec<&str> = items(&record).iter().rev().map(|access| access["detail"]["did"].as_str().unwrap()).collect();
    assert_eq!(did, ["request", "approve", "approve", "approve", "read", "read", "read"]);
    let told = ada.get("/api/users/me/accesses?limit=100").await.expect(200);
    let looks = items(&told).iter().filter(|access| access["action"] == "breakGlass").count();
    assert_eq!(looks, 3, "{:#}", told.body);
}

#[tokio::test]
async fn it_is_open_for_a_while_and_only_for_who_has_just_logged_in() {
    let (ada, auditor, second) = (applicant().await, person("auditor").await, person("auditor").await);
    let id = ada.create_dossier("x").await.id().to_string();
    let glass = asked(&auditor, &id).await;
    second.post(&format!("{glass}/approve"), json!({})).await.expect(200);
    let events = format!("{glass}/events");
    auditor.get(&events).await.expect(200);
    let system = system().await;
    let over = |interval: &str| {
        let id = glass.rsplit('/').next().unwrap().to_owned();
        format!("update break_glass set expires_at = now() - interval '{interval}' where id = '{id}'")
    };
    execute(&system.database_url, &over("1 second")).await;
    auditor.get(&events).await.expect_problem(403, "break_glass.closed");
    // What nobody agreed to in time nobody can agree to any more.
    let late = asked(&auditor, &id).await;
    let number = late.rsplit('/').next().unwrap();
    execute(&system.database_url, &format!("update break_glass set expires_at = now() where id = '{number}'")).await;
    second.post(&format!("{late}/approve"), json!({})).await.expect_problem(403, "break_glass.closed");
    // Not even the database lets one person do for two.
    let alone = format!("update break_glass set approved_by = requested_by where id = '{number}'");
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&system.database_url).await.unwrap();
    let refused = sqlx::query(&alone).execute(&mut connection).await;
    assert!(refused.unwrap_err().to_string().contains("takes_two"));
    let waiting = asked(&auditor, &id).await;
    let_time_pass(&auditor).await;
    let_time_pass(&second).await;
    let body = json!({ "stream": format!("dossier/{id}"), "reason": "x" });
    auditor.post("/api/audit/break-glass", body).await.expect_problem(403, "auth.step_up_required");
    second.post(&format!("{waiting}/approve"), json!({})).await.expect_problem(403, "auth.step_up_required");
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused_and_once_is_enough() {
    let auditor = person("auditor").await;
    let id = applicant().await.create_dossier("x").await.id().to_string();
    for (body, code) in [
        (json!({ "stream": id, "reason": "" }), "break_glass.invalid"),
        (json!({ "stream": id, "reason": "x".repeat(5_001) }), "break_glass.invalid"),
        (json!({ "stream": "dossier", "reason": "x" }), "parameter.invalid"),
        (json!({ "stream": id }), "field.required"),
    ] {
        let refused = auditor.post("/api/audit/break-glass", body).await;
        assert_eq!(refused.status, 422, "{code}: {:#}", refused.body);
    }
    let ask = || {
        let body = json!({ "stream": id, "reason": "x" });
        let request = auditor.request(Method::POST, "/api/audit/break-glass").json(&body);
        auditor.send(request.header("Idempotency-Key", "once"))
    };
    let (first, again) = (ask().await.expect(201), ask().await.expect(201));
    assert_eq!((first.id(), again.header("idempotent-replayed")), (again.id(), "true"));
}
