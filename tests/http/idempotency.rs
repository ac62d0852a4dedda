//! The same key, the same answer.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::raw::Raw;
use super::*;
use crate::support::eventually;

fn key() -> String {
    Uuid::now_v7().to_string()
}

#[tokio::test]
async fn the_same_request_again_gives_the_same_answer() {
    let ada = applicant().await;
    let key = key();
    let headers = [("idempotency-key", key.as_str())];
    let first = post_with(&ada, "/api/dossiers", &headers, dossier("once")).await.expect(201);
    assert_eq!(first.header("idempotent-replayed"), "");
    for _ in 0..3 {
        let again = post_with(&ada, "/api/dossiers", &headers, dossier("once")).await.expect(201);
        assert_eq!(again.body, first.body);
        for name in ["location", "etag", "capitune-position"] {
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    // Also after the dossier has moved on.
    let path = first.header("location");
    ada.put(path, json!({ "title": "later" })).await.expect(200);
    assert_eq!(post_with(&ada, "/api/dossiers", &headers, dossier("once")).await.expect(201).body, first.body);
    let list = ada.get(&format!("/api/dossiers?minPosition={}", head().await)).await.expect(200);
    assert_eq!(items(&list).len(), 1);
}

#[tokio::test]
async fn a_replay_may_be_represented() {
    let ada = applicant().await;
    let key = key();
    let headers = [("idempotency-key", key.as_str()), ("prefer", "return=representation")];
    post_with(&ada, "/api/dossiers", &headers, dossier("once")).await.expect(201);
    let again = post_with(&ada, "/api/dossiers", &headers, dossier("once")).await.expect(201);
    assert_eq!(
        (again.header("idempotent-replayed"), again.header("preference-applied")),
        ("true", "return=representation")
    );
    assert_eq!(again.body["title"], "once");
}

#[tokio::test]
async fn the_same_key_with_another_request_is_refused() {
    let ada = applicant().await;
    let key = key();
    let headers = [("idempotency-key", key.as_str())];
    let created = post_with(&ada, "/api/dossiers", &headers, dossier("once")).await.expect(201);
    let path = created.header("location").to_owned();
    for answer in [
        post_with(&ada, "/api/dossiers", &headers, dossier("another")).await,
        put_with(&ada, &path, &headers, json!({ "title": "x" })).await,
        call(&ada, Method::DELETE, &path, &headers, None).await,
        post_with(&ada, &format!("{path}/submit"), &headers, json!({})).await,
        put_with(&ada, "/api/users/me", &headers, json!({ "name": "x" })).await,
        // What If-Match demands belongs to the request.
        call(&ada, Method::POST, "/api/dossiers", &[headers[0], ("if-match", "\"1\"")], Some(dossier("once"))).await,
    ] {
        answer.expect_problem(422, "idempotency.key_reused");
    }
    let read = ada.get(&format!("{path}?minPosition={}", head().await)).await.expect(200);
    assert_eq!((&read.body["version"], &read.body["title"]), (&json!(1), &json!("once")));
}

#[tokio::test]
async fn another_callers_key_is_simply_a_new_key() {
    let (ada, eve) = (applicant().await, applicant().await);
    let key = key();
    let headers = [("idempotency-key", key.as_str())];
    let hers = post_with(&ada, "/api/dossiers", &headers, dossier("once")).await.expect(201);
    let eves = post_with(&eve, "/api/dossiers", &headers, dossier("once")).await.expect(201);
    assert_ne!(hers.id(), eves.id());
    assert_eq!(eves.header("idempotent-replayed"), "");
    // A captured request on somebody's dossier tells nothing.
    let path = hers.header("location");
    let headers = [("idempotency-key", "captured")];
    put_with(&ada, path, &headers, json!({ "title": "x" })).await.expect(200);
    put_with(&eve, path, &headers, json!({ "title": "x" })).await.expect_problem(404, "dossier.not_found");
}

#[tokio::test]
async fn every_kind_of_command_has_keys() {
    let (ada, pro, admin) = (applicant().await, person("pro").await, admin().await);
    let path = new_dossier(&ada).await;
    let roles = format!("/api/admin/users/{}/roles", ada.user_id);
    let status = format!("/api/admin/users/{}/status", ada.user_id);
    let draft = new_dossier(&ada).await;
    let requests = [
        (&ada, Method::PUT, path.clone(), Some(json!({ "title": "two" }))),
        (&ada, Method::POST, format!("{path}/submit"), Some(json!({}))),
        (&pro, Method::POST, format!("{path}/start-review"), None),
        (&pro, Method::POST, format!("{path}/accept"), Some(json!({ "motivation": "good" }))),
        (&ada, Method::DELETE, draft, None),
        (&ada, Method::PUT, "/api/users/me".to_owned(), Some(json!({ "name": "Ada King" }))),
        (&admin, Method::PUT, roles, Some(json!({ "roles": ["analyst"] }))),
        (&admin, Method::PUT, status, Some(json!({ "status": "suspended", "reason": "a test" }))),
    ];
    for (client, method, path, body) in requests {
        let key = key();
        let headers = [("idempotency-key", key.as_str())];
        let first = call(client, method.clone(), &path, &headers, body.clone()).await.expect(200);
        assert_eq!(first.header("idempotent-replayed"), "", "{path}");
        let again = call(client, method, &path, &headers, body).await.expect(200);
        assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body), "{path}");
        assert_eq!(again.header("etag"), first.header("etag"), "{path}");
    }
}

#[tokio::test]
async fn a_rebuild_has_keys_too() {
    let admin = admin().await;
    let key = key();
    let headers = [("idempotency-key", key.as_str())];
    let path = "/api/admin/projections/account/rebuild";
    let first = call(&admin, Method::POST, path, &headers, None).await;
    assert!((200..300).contains(&first.status), "{first:?}");
    let again = call(&admin, Method::POST, path, &headers, None).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (first.status, "true"), "{again:?}");
}

#[tokio::test]
async fn a_no_op_is_remembered_too() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let key = key();
    let headers = [("idempotency-key", key.as_str())];
    let nothing = json!({ "title": "A request" });
    let first = put_with(&ada, &path, &headers, nothing.clone()).await.expect(200);
    ada.put(&path, json!({ "title": "Another" })).await.expect(200);
    let again = put_with(&ada, &path, &headers, nothing).await.expect(200);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body));
    put_with(&ada, &path, &headers, json!({ "title": "x" })).await.expect_problem(422, "idempotency.key_reused");
}

#[tokio::test]
async fn a_keys_replay_comes_before_its_condition() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let key = key();
    let headers = [("idempotency-key", key.as_str()), ("if-match", "\"1\"")];
    let first = put_with(&ada, &path, &headers, json!({ "title": "two" })).await.expect(200);
    ada.put(&path, json!({ "title": "three" })).await.expect(200);
    let again = put_with(&ada, &path, &headers, json!({ "title": "two" })).await.expect(200);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body));
    // A transition that was made is answered again, not refused.
    let key = self::key();
    let headers = [("idempotency-key", key.as_str())];
    post_with(&ada, &format!("{path}/submit"), &headers, json!({})).await.expect(200);
    let again = post_with(&ada, &format!("{path}/submit"), &headers, json!({})).await.expect(200);
    assert_eq!(again.header("idempotent-replayed"), "true");
    ada.post(&format!("{path}/submit"), json!({})).await.expect_problem(409, "dossier.invalid_transition");
}

#[tokio::test]
async fn a_key_is_answered_again_whatever_became_of_those_named_in_it() {
    let (ada, pro, other) = (applicant().await, person("pro").await, person("pro").await);
    let path = format!("{}/assign", dossier_in("submitted", &ada, &pro).await);
    let key = key();
    let headers = [("idempotency-key", key.as_str())];
    let body = json!({ "pro": other.user_id });
    let first = post_with(&pro, &path, &headers, body.clone()).await.expect(200);
    let roles = format!("/api/admin/users/{}/roles", other.user_id);
    admin().await.put(&roles, json!({ "roles": [] })).await.expect(200);
    let again = post_with(&pro, &path, &headers, body).await.expect(200);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body));
}

#[tokio::test]
async fn a_hang_up_and_its_repetition_are_one_request() {
    let ada = applicant().await;
    let body = dossier("hung up").to_string();
    for round in 0..30 {
        let key = key();
        let mut raw = Raw::connect().await;
        let head = format!(
            "POST /api/dossiers HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            raw.host,
            ada.token(),
            body.len()
        );
        raw.send(head).await;
        tokio::time::sleep(Duration::from_micros(150 * round)).await;
        drop(raw);
        // The same bytes, since they are what a key is bound to.
        let request = ada.request(Method::POST, "/api/dossiers").header("content-type", "application/json");
        ada.send(request.header("idempotency-key", &key).body(body.clone())).await.expect(201);
    }
    let list = ada.get(&format!("/api/dossiers?limit=100&minPosition={}", head().await)).await.expect(200);
    assert_eq!(items(&list).len(), 30);
}

#[tokio::test]
async fn a_malformed_key_is_refused() {
    let ada = applicant().await;
    let (longest, too_long, huge) = ("k".repeat(255), "k".repeat(256), "k".repeat(10_000));
    for key in ["", "two words", "clé", too_long.as_str(), huge.as_str()] {
        let refused = post_with(&ada, "/api/dossiers", &[("idempotency-key", key)], dossier("x")).await;
        assert_eq!(refused.status, 400, "{} bytes: {:#}", key.len(), refused.body);
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    assert_eq!(post_with(&ada, "/api/dossiers", &twice, dossier("x")).await.status, 400);
    for key in [longest.as_str(), "'; drop table events; --", "\"quoted\"", "k"] {
        let key = key.replace(' ', "+");
        post_with(&ada, "/api/dossiers", &[("idempotency-key", &key)], dossier("x")).await.expect(201);
        let again = post_with(&ada, "/api/dossiers", &[("idempotency-key", &key)], dossier("x")).await.expect(201);
        assert_eq!(again.header("idempotent-replayed"), "true", "{key}");
    }
}

#[tokio::test]
async fn identical_requests_at_once_have_one_effect() {
    let ada = applicant().await;
    let key = key();
    let calls = (0..10).map(|_| {
        let (ada, key) = (ada.clone(), key.clone());
        async move { post_with(&ada, "/api/dossiers", &[("idempotency-key", &key)], dossier("once")).await.expect(201) }
    });
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    let fresh = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_empty()).count();
    assert!(fresh <= 1, "{fresh} answers claim to be the first");
    let list = ada.get(&format!("/api/dossiers?minPosition={}", head().await)).await.expect(200);
    assert_eq!(items(&list).len(), 1);
}

#[tokio::test]
async fn different_requests_at_once_with_one_key_have_one_effect() {
    let ada = applicant().await;
    let key = key();
    let calls = (0..8).map(|number| {
        let (ada, key) = (ada.clone(), key.clone());
        let body = dossier(&format!("number {number}"));
        async move { post_with(&ada, "/api/dossiers", &[("idempotency-key", &key)], body).await }
    });
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 422).count(), 7);
}

#[tokio::test]
async fn a_key_is_known_after_a_restart_and_on_another_node() {
    // A system of its own, since it is to be killed.
    let url = database_url().await;
    let (one, two) = (Process::api(&url, &[]).await, Process::api(&url, &["api"]).await);
    let ada = one.client().register("Ada").await;
    let key = key();
    let headers = [("idempotency-key", key.as_str())];
    let first = post_with(&ada, "/api/dossiers", &headers, dossier("once")).await.expect(201);
    let there = ada.at(&two.url());
    let again = post_with(&there, "/api/dossiers", &headers, dossier("once")).await.expect(201);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body));
    post_with(&there, "/api/dossiers", &headers, dossier("x")).await.expect_problem(422, "idempotency.key_reused");
    // At both at once.
    let both = self::key();
    let headers_both = [("idempotency-key", both.as_str())];
    let (here, other) = tokio::join!(
        post_with(&ada, "/api/dossiers", &headers_both, dossier("both")),
        post_with(&there, "/api/dossiers", &headers_both, dossier("both")),
    );
    assert_eq!(here.expect(201).body, other.expect(201).body);
    one.kill();
    let one = Process::api(&url, &[]).await;
    let ada = ada.at(&one.url());
    let again = post_with(&ada, "/api/dossiers", &headers, dossier("once")).await.expect(201);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &first.body));
    post_with(&ada, "/api/dossiers", &headers, dossier("x")).await.expect_problem(422, "idempotency.key_reused");
    // The token outlives the process as well, and the read model comes back.
    eventually("the dossier is listed", || async { items(&ada.get("/api/dossiers").await.expect(200)).len() == 2 })
        .await;
}

#[tokio::test]
async fn routes_that_issue_tokens_ignore_keys() {
    let nobody = nobody().await;
    let email = || format!("{}@capitune.test", Uuid::now_v7().simple());
    let (one, two) = (email(), email());
    let account = |email: &str| json!({ "email": email, "password": "a password for tests", "name": "Ada" });
    let headers = [("idempotency-key", "one key for all")];
    let first = post_with(&nobody, "/api/auth/register", &headers, account(&one)).await.expect(201);
    let second = post_with(&nobody, "/api/auth/register", &headers, account(&two)).await.expect(201);
    assert_ne!(first.body["user"]["id"], second.body["user"]["id"]);
    // Not replayed either: the address is taken now.
    post_with(&nobody, "/api/auth/register", &headers, account(&one))
        .await
        .expect_problem(409, "account.address_taken");
    let log_in = json!({ "email": one, "password": "a password for tests" });
    let logged_in = post_with(&nobody, "/api/auth/login", &headers, log_in.clone()).await.expect(200);
    let again = post_with(&nobody, "/api/auth/login", &headers, log_in).await.expect(200);
    assert_ne!(logged_in.body["token"], again.body["token"]);
    assert_eq!(again.header("idempotent-replayed"), "");
    let refresh = json!({ "refreshToken": again.body["refreshToken"] });
    let refreshed = post_with(&nobody, "/api/auth/refresh", &headers, refresh).await.expect(200);
    assert_ne!(refreshed.body["refreshToken"], again.body["refreshToken"]);
}
