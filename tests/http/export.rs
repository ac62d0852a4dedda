//! One's own data, taken out whole, and nobody else's.

use super::*;
use crate::support::archive::{Files, unpack};

/// The files of an export by their names.
async fn export(person: &Client) -> Files {
    let request = person.request(Method::POST, "/api/users/me/export").json(&json!({}));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/zip");
    assert!(response.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    unpack(&response.bytes().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_of_ones_own_is_in_it_as_of_now() {
    let (email, ada) = account().await;
    let eve = applicant().await;
    let theirs = eve.create_dossier("Not Ada's").await;
    let post = eve.post("/api/posts", json!({ "body": "Eve's post" })).await.expect(201);
    let dossier = ada.create_dossier("Ada's own").await;
    ada.put(&format!("/api/dossiers/{}", dossier.id()), json!({ "description": "Three rooms" })).await.expect(200);
    ada.post("/api/posts", json!({ "body": "Ada's post" })).await.expect(201);
    let under = format!("/api/posts/{}", post.id());
    ada.post(&format!("{under}/comments"), json!({ "body": "Ada's comment" })).await.expect(201);
    ada.post(&format!("{under}/like"), json!({})).await.expect(200);
    let token = json!({ "name": "Ada's script", "scopes": ["dossiers:read"] });
    ada.post("/api/auth/tokens", token).await.expect(201);
    // At once: what was just done is not waited for by the client.
    let files = export(&ada).await;
    let file = |name: &str| files.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", files.keys()));
    assert!(file("account.json").contains(&email) && file("account.json").contains("Ada's script"));
    assert!(file("accesses/1.json").contains("logIn"));
    let folder = format!("dossiers/{}", dossier.id());
    assert!(file(&format!("{folder}/dossier.json")).contains("Three rooms"));
    let history = file(&format!("{folder}/history.json"));
    assert!(history.contains("DossierCreated") && history.contains("Two rooms") && history.contains("Three rooms"));
    assert!(file("posts/1.json").contains("Ada's post"));
    assert!(file("comments/1.json").contains("Ada's comment"));
    assert!(file("likes/1.json").contains(&post.id().to_string()));
    assert!(file("README.txt").contains("CAPITUNE"));
    let all: String = files.into_values().collect();
    for foreign in ["Not Ada's", "Eve's post", &theirs.id().to_string(), "argon2", "$personal", "token_hash"] {
        assert!(!all.contains(foreign), "{foreign}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_page_is_there_whole() {
    let ada = applicant().await;
    let mut ids = Vec::new();
    for number in 0..205 {
        ids.push(ada.post("/api/posts", json!({ "body": format!("Post {number}") })).await.expect(201).id());
    }
    let files = export(&ada).await;
    let posts = format!("{}{}", files["posts/1.json"], files["posts/2.json"]);
    assert!(ids.iter().all(|id| posts.contains(&id.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_out_is_recorded_and_takes_a_fresh_log_in() {
    let ada = applicant().await;
    let files = export(&ada).await;
    assert!(!files.contains_key("posts/1.json"));
    let accesses = ada.get("/api/users/me/accesses").await.expect(200);
    assert_eq!(items(&accesses)[0]["action"], "export");
    let_time_pass(&ada).await;
    ada.post("/api/users/me/export", json!({})).await.expect_problem(403, "auth.step_up_required");
}
