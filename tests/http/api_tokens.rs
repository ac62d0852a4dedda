//! Tokens for programs: for a purpose, for a time, and taken back at once.

use uuid::Uuid;

use super::*;

async fn issue(owner: &Client, scopes: &[&str]) -> (Uuid, Client) {
    let body = json!({ "name": "Nightly script", "scopes": scopes, "expiresInDays": 7 });
    let issued = owner.post("/api/auth/tokens", body).await.expect(201);
    (issued.id(), owner.with_token(issued.body["token"].as_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_its_scopes_say_and_no_more() {
    let ada = applicant().await;
    let (_, reader) = issue(&ada, &["dossiers:read"]).await;
    assert!(reader.token().starts_with("capitune_"));
    let path = new_dossier(&ada).await;
    assert_eq!(reader.get(&path).await.expect(200).body["ownerId"], ada.user_id.to_string());
    let refused = reader.post("/api/dossiers", dossier("By a script")).await;
    let refused = refused.expect_problem(403, "auth.scope_missing");
    assert!(refused.body["detail"].as_str().unwrap().contains("dossiers:write"));
    reader.get("/api/posts").await.expect_problem(403, "auth.scope_missing");
    let (_, writer) = issue(&ada, &["dossiers:read", "dossiers:write"]).await;
    let created = writer.post("/api/dossiers", dossier("By a script")).await.expect(201);
    let theirs = format!("/api/dossiers/{}?minPosition={}", created.id(), created.position());
    assert_eq!(ada.get(&theirs).await.expect(200).body["ownerId"], ada.user_id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_reaches_what_guards_the_account() {
    let ada = person("admin").await;
    let all = ["dossiers:read", "dossiers:write", "community:read", "community:write", "events:read"];
    let more = ["events:write", "users:read", "audit:read", "analytics:read"];
    let (id, program) = issue(&ada, &[&all[..], &more[..]].concat()).await;
    program.get("/api/users/me").await.expect(200);
    for (method, path) in [
        (Method::PUT, "/api/users/me"),
        (Method::PUT, "/api/users/me/password"),
        (Method::DELETE, "/api/users/me"),
        (Method::GET, "/api/auth/sessions"),
        (Method::POST, "/api/auth/logout"),
        (Method::POST, "/api/auth/step-up"),
        (Method::POST, "/api/auth/totp"),
        (Method::GET, "/api/auth/tokens"),
        (Method::POST, "/api/auth/tokens"),
        (Method::DELETE, &format!("/api/auth/tokens/{id}")),
        (Method::GET, "/api/admin/users"),
        (Method::GET, "/api/admin/projections"),
        (Method::PUT, &format!("/api/admin/users/{}/roles", ada.user_id)),
    ] {
        let answer = call(&program, method.clone(), path, &[], None).await;
        assert_eq!((answer.status, &answer.body["code"]), (403, &json!("auth.scope_missing")), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_listed_without_its_secret_and_taken_back_at_once() {
    let (ada, eve) = (applicant().await, applicant().await);
    let (id, program) = issue(&ada, &["users:read"]).await;
    program.get("/api/users/me").await.expect(200);
    let listed = ada.get("/api/auth/tokens").await.expect(200);
    assert_eq!(items(&listed).len(), 1);
    let item = &items(&listed)[0];
    assert_eq!(names(item), ["createdAt", "expiresAt", "id", "lastUsedAt", "name", "organizationId", "scopes"]);
    assert_eq!((&item["name"], &item["scopes"]), (&json!("Nightly script"), &json!(["users:read"])));
    let path = format!("/api/auth/tokens/{id}");
    eve.delete(&path).await.expect_problem(404, "api_token.not_found");
    ada.delete(&path).await.expect(200);
    program.get("/api/users/me").await.expect_problem(401, "auth.invalid_token");
    ada.delete(&path).await.expect_problem(404, "api_token.not_found");
    assert!(items(&ada.get("/api/auth/tokens").await.expect(200)).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_time_and_with_its_account() {
    let ada = applicant().await;
    let (id, program) = issue(&ada, &["users:read"]).await;
    let url = &system().await.database_url;
    execute(url, &format!("update api_tokens set expires_at = clock_timestamp() where id = '{id}'")).await;
    program.get("/api/users/me").await.expect_problem(401, "auth.invalid_token");
    let (_, program) = issue(&ada, &["users:read"]).await;
    program.get("/api/users/me").await.expect(200);
    let status = format!("/api/admin/users/{}/status", ada.user_id);
    let suspend = json!({ "status": "suspended", "reason": "Testing" });
    admin().await.put(&status, suspend).await.expect(200);
    program.get("/api/users/me").await.expect_problem(401, "auth.invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_must_be_whole_and_sensible() {
    let ada = applicant().await;
    let (_, program) = issue(&ada, &["users:read"]).await;
    let token = program.token();
    for wrong in [&token[..token.len() - 1], &format!("{token}A"), "capitune_", &token.replace("capitune_", "")] {
        ada.with_token(wrong).get("/api/users/me").await.expect_problem(401, "auth.invalid_token");
    }
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("x".repeat(101))),
        ("scopes", json!([])),
        ("expiresInDays", json!(0)),
        ("expiresInDays", json!(367)),
        ("expiresInDays", json!(u64::MAX)),
    ] {
        let mut body = json!({ "name": "x", "scopes": ["users:read"] });
        body[field] = value;
        let refused = ada.post("/api/auth/tokens", body).await.expect_problem(422, "api_token.invalid");
        assert_eq!(refused.body["errors"][0]["pointer"], format!("/{field}"));
    }
    ada.post("/api/auth/tokens", json!({ "name": "x", "scopes": ["all"] })).await.expect(422);
}
