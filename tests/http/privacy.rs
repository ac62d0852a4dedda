//! What is personal or secret is nowhere in clear.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::*;

#[tokio::test]
async fn nothing_secret_is_logged() {
    let secret = uuid::Uuid::now_v7().simple().to_string();
    let email = format!("mail{secret}@capitune.test");
    let nobody = nobody().await;
    let body = json!({ "email": email, "password": format!("password{secret}"), "name": format!("name{secret}") });
    let account = nobody.post("/api/auth/register", body).await.expect(201);
    let ada = nobody.with_token(account.body["token"].as_str().unwrap());
    let body = json!({ "title": "x", "category": "x", "description": format!("text{secret}"), "fields": { "a": format!("field{secret}") } });
    let path = ada.post("/api/dossiers", body.clone()).await.expect(201).header("location").to_owned();
    ada.put(&path, json!({ "description": format!("text{secret}\0") })).await.expect(422);
    ada.put(&path, json!({ "description": [format!("text{secret}")] })).await.expect(422);
    nobody.post("/api/auth/login", json!({ "email": email, "password": format!("wrong{secret}") })).await.expect(401);
    nobody.with_token(&format!("token{secret}")).get("/api/users/me").await.expect(401);
    let output = system().await.process.output();
    for line in output.lines() {
        assert!(!line.contains(&secret), "{line}");
        assert!(!line.contains("panicked"), "{line}");
    }
    assert!(!output.contains(ada.token()));
}

#[tokio::test]
async fn nothing_personal_is_in_clear_in_the_database() {
    let secret = uuid::Uuid::now_v7().simple().to_string();
    let (nobody, pro) = (nobody().await, person("pro").await);
    let body = json!({ "email": format!("mail{secret}@capitune.test"), "password": format!("password{secret}"), "name": format!("name{secret}") });
    let account = nobody.post("/api/auth/register", body).await.expect(201);
    let ada = nobody.with_token(account.body["token"].as_str().unwrap());
    let body = json!({ "title": format!("title{secret}"), "category": "x", "description": format!("text{secret}"), "fields": { "a": format!("field{secret}") } });
    let headers = [("user-agent", secret.as_str())];
    let path = post_with(&ada, "/api/dossiers", &headers, body).await.expect(201).header("location").to_owned();
    ada.put(&path, json!({ "fields": { "a": [secret, 1] } })).await.expect(200);
    ada.post(&format!("{path}/submit"), json!({ "note": format!("note{secret}") })).await.expect(200);
    let message = json!({ "reason": "incomplete", "message": format!("message{secret}") });
    pro.post(&format!("{path}/request-changes"), message).await.expect(200);
    ada.post(&format!("{path}/withdraw"), json!({ "reason": format!("reason{secret}") })).await.expect(200);
    let post = ada
        .post("/api/posts", json!({ "body": format!("post{secret}") }))
        .await
        .expect(201)
        .header("location")
        .to_owned();
    ada.post(&format!("{post}/comments"), json!({ "body": format!("comment{secret}") })).await.expect(201);
    ada.put("/api/users/me", json!({ "name": format!("renamed{secret}") })).await.expect(200);
    ada.get(&format!("/api/posts?minPosition={}", head().await)).await.expect(200);
    ada.get(&format!("{path}?minPosition={}", head().await)).await.expect(200);

    let mut connection = PgConnection::connect(&system().await.database_url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables
         where schemaname not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(tables.len() > 10, "{tables:?}");
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut titles = 0;
    for table in tables {
        let query =
            format!("select t::text from {table} t where t::text ilike '%{secret}%' or t::text ilike '%{hex}%'");
        let rows: Vec<String> = sqlx::query_scalar(&query).fetch_all(&mut connection).await.unwrap();
        for row in rows {
            // A title is in clear, and nothing else.
            let rest = row.replace(&format!("title{secret}"), "");
            titles += 1;
            assert!(!rest.contains(&secret) && !rest.contains(&hex), "{table}: {row}");
        }
    }
    assert!(titles >= 2);
}
