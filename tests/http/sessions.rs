//! One's own sessions and password.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::*;

const PASSWORD: &str = "a password for tests";
const ANOTHER: &str = "quite another password";

struct Account {
    email: String,
    first: Client,
    refresh_token: String,
}

async fn account() -> Account {
    let email = format!("{}@capitune.test", Uuid::now_v7().simple());
    let nobody = nobody().await;
    let body = json!({ "email": email, "password": PASSWORD, "name": "Ada Lovelace" });
    let answer = post_with(&nobody, "/api/auth/register", &[("user-agent", "Analytical Engine/1")], body).await;
    let answer = answer.expect(201);
    let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
    Account { email, first: nobody.with_token(&text("token")), refresh_token: text("refreshToken") }
}

async fn log_in(email: &str, password: &str) -> Answer {
    nobody().await.post("/api/auth/login", json!({ "email": email, "password": password })).await
}

impl Account {
    async fn again(&self) -> Client {
        let answer = log_in(&self.email, PASSWORD).await.expect(200);
        self.first.with_token(answer.body["token"].as_str().unwrap())
    }
}

fn ids(answer: &Answer) -> Vec<&str> {
    answer.body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn everybody_sees_and_ends_their_own_sessions_and_no_others() {
    let (ada, eve) = (account().await, account().await);
    let second = ada.again().await;
    let listed = ada.first.get("/api/auth/sessions").await.expect(200);
    let items = listed.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!((&items[0]["current"], &items[1]["current"]), (&json!(false), &json!(true)));
    assert_eq!((&items[1]["device"], &items[1]["address"]), (&json!("Analytical Engine/1"), &json!("127.0.0.1")));
    let names = ["address", "createdAt", "current", "device", "expiresAt", "id", "lastUsedAt"];
    assert_eq!(items[0].as_object().unwrap().keys().collect::<BTreeSet<_>>().len(), names.len());
    let theirs = format!("/api/auth/sessions/{}", ids(&listed)[0]);
    eve.first.delete(&theirs).await.expect_problem(404, "session.not_found");
    eve.first.delete(&format!("/api/auth/sessions/{}", Uuid::now_v7())).await.expect_problem(404, "session.not_found");
    second.get("/api/users/me").await.expect(200);
    ada.first.delete(&theirs).await.expect(204);
    second.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    ada.first.delete(&theirs).await.expect_problem(404, "session.not_found");
    assert_eq!(ids(&ada.first.get("/api/auth/sessions").await.expect(200)).len(), 1);
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_session_of_the_account_alone() {
    let (ada, eve) = (account().await, account().await);
    let second = ada.again().await;
    second.post("/api/auth/logout?everywhere=true", json!({})).await.expect(204);
    for client in [&ada.first, &second] {
        client.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    }
    let refresh = json!({ "refreshToken": ada.refresh_token });
    ada.first.post("/api/auth/refresh", refresh).await.expect_problem(401, "auth.invalid_refresh_token");
    eve.first.get("/api/users/me").await.expect(200);
    ada.again().await.get("/api/users/me").await.expect(200);
    eve.first.post("/api/auth/logout?everywhere=perhaps", json!({})).await.expect(422);
    eve.first.get("/api/users/me").await.expect(200);
}

#[tokio::test]
async fn one_refresh_token_used_many_times_at_once_has_one_successor_at_most() {
    let ada = account().await;
    let refresh = || ada.first.post("/api/auth/refresh", json!({ "refreshToken": ada.refresh_token }));
    let answers = join_all((0..50).map(|_| refresh())).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(answers.iter().all(|answer| [200, 401].contains(&answer.status)));
    // Two hold it, so nobody goes on with it.
    let token = won[0].body["token"].as_str().unwrap();
    ada.first.with_token(token).get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    let successor = json!({ "refreshToken": won[0].body["refreshToken"] });
    ada.first.post("/api/auth/refresh", successor).await.expect_problem(401, "auth.invalid_refresh_token");
}

#[tokio::test]
async fn a_password_is_replaced_by_who_knows_it_and_ends_all_other_sessions() {
    let ada = account().await;
    let second = ada.again().await;
    let path = "/api/users/me/password";
    let change = |current: &str, new: &str| json!({ "currentPassword": current, "newPassword": new });
    ada.first.put(path, change("wrong", ANOTHER)).await.expect_problem(403, "auth.wrong_password");
    ada.first.put(path, change(&"x".repeat(10_000), ANOTHER)).await.expect_problem(403, "auth.wrong_password");
    for bad in ["short", &"x".repeat(10_000)] {
        let refused = ada.first.put(path, change(PASSWORD, bad)).await.expect_problem(422, "account.invalid");
        assert_eq!(refused.body["errors"][0]["pointer"], "/newPassword");
    }
    let stale = [("if-match", "\"7\"")];
    let refused = call(&ada.first, Method::PUT, path, &stale, Some(change(PASSWORD, ANOTHER))).await;
    refused.expect_problem(412, "version.mismatch");
    log_in(&ada.email, PASSWORD).await.expect(200);
    second.get("/api/users/me").await.expect(200);
    let key = Uuid::now_v7().to_string();
    let headers = [("idempotency-key", key.as_str())];
    let put = || call(&ada.first, Method::PUT, path, &headers, Some(change(PASSWORD, ANOTHER)));
    let done = put().await.expect(200);
    let again = put().await.expect(200);
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &done.body));
    ada.first.get("/api/users/me").await.expect(200);
    second.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    log_in(&ada.email, PASSWORD).await.expect_problem(401, "auth.invalid_credentials");
    log_in(&ada.email, ANOTHER).await.expect(200);
}

#[tokio::test]
async fn of_two_new_passwords_at_once_one_is_accepted() {
    let ada = account().await;
    let passwords: Vec<String> = (0..6).map(|number| format!("password number {number}")).collect();
    let changes = passwords.iter().map(|new| {
        let body = json!({ "currentPassword": PASSWORD, "newPassword": new });
        ada.first.put("/api/users/me/password", body)
    });
    let answers = join_all(changes).await;
    let won: Vec<usize> = (0..6).filter(|number| answers[*number].status == 200).collect();
    assert_eq!(won.len(), 1);
    for (number, new) in passwords.iter().enumerate() {
        // Each from elsewhere, so that none has to wait.
        let somewhere = nobody().await.from(&format!("127.0.8.{number}"));
        super::log_in(&somewhere, &ada.email, new, None).await.expect(if number == won[0] { 200 } else { 401 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_ended_long_ago_are_swept() {
    let url = database_url().await;
    let first = Process::api(&url, &[]).await;
    let (ada, eve) = (first.client().register("Ada").await, first.client().register("Eve").await);
    first.kill();
    let ended = format!(
        "update sessions set revoked_at = now() - interval '25 hours' where account_id = '{}';
         update sessions set revoked_at = now() - interval '23 hours' where account_id = '{}'",
        ada.user_id, eve.user_id
    );
    crate::support::execute(&url, &ended).await;
    let _second = Process::api(&url, &[]).await;
    let count = |id: Uuid| {
        let url = url.clone();
        async move {
            let mut connection: sqlx::PgConnection = sqlx::Connection::connect(&url).await.unwrap();
            let count = sqlx::query_scalar::<_, i64>("select count(*) from sessions where account_id = $1");
            count.bind(id).fetch_one(&mut connection).await.unwrap()
        }
    };
    crate::support::eventually("it is swept", || async { count(ada.user_id).await == 0 }).await;
    assert_eq!(count(eve.user_id).await, 1);
}
