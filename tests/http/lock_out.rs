//! Guessing gets slower, for the guesser alone; and nothing tells whether there is anything to guess.

use futures::future::join_all;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::*;

const WRONG: &str = "not the password";

async fn guess(client: &Client, email: &str, times: usize) -> Vec<(u16, Value)> {
    let mut answers = Vec::new();
    for _ in 0..times {
        let answer = log_in(client, email, WRONG, None).await;
        answers.push((answer.status, answer.body["code"].clone()));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_has_to_wait_and_nobody_else_has() {
    let (email, owner) = account().await;
    let elsewhere = nobody().await.from("127.0.1.1");
    let answers = guess(&elsewhere, &email, 6).await;
    assert!(answers[..5].iter().all(|answer| *answer == (401, json!("auth.invalid_credentials"))), "{answers:?}");
    let refused = log_in(&elsewhere, &email, PASSWORD, None).await.expect_problem(429, "auth.too_many_attempts");
    assert!((1..=30).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    // From where the owner is, nothing changed; and the spelling of the address changes nothing for the guesser.
    owner.log_in(&email, PASSWORD).await;
    let spelled = format!(" {} ", email.to_uppercase());
    log_in(&elsewhere, &spelled, PASSWORD, None).await.expect_problem(429, "auth.too_many_attempts");
    nobody().await.from("127.0.1.2").log_in(&email, PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_an_account_is_guessed_at_no_faster() {
    let (email, _) = account().await;
    let elsewhere = nobody().await.from("127.0.2.1");
    let known = guess(&elsewhere, &email, 7).await;
    let unknown = guess(&elsewhere, &format!("{}@capitune.test", Uuid::now_v7().simple()), 7).await;
    assert_eq!(known, unknown);
    assert_eq!(known[6].0, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_guesses_at_once_are_no_more_than_many_in_a_row() {
    let (email, _) = account().await;
    let elsewhere = nobody().await.from("127.0.3.1");
    let guesses = join_all((0..30).map(|_| log_in(&elsewhere, &email, WRONG, None))).await;
    let judged = guesses.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(judged, 5);
    assert!(guesses.iter().all(|answer| [401, 429].contains(&answer.status)));
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_everywhere_do_not_shut_out_the_owner() {
    let (email, _) = account().await;
    let mut judged = 0;
    for network in 1..=15 {
        let somewhere = nobody().await.from(&format!("127.0.4.{network}"));
        judged += guess(&somewhere, &email, 4).await.iter().filter(|answer| answer.0 == 401).count();
    }
    assert_eq!(judged, 50);
    let stranger = nobody().await.from("127.0.4.99");
    log_in(&stranger, &email, PASSWORD, None).await.expect_problem(429, "auth.too_many_attempts");
    nobody().await.log_in(&email, PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_forgives_what_came_before() {
    let (email, owner) = account().await;
    for _ in 0..3 {
        assert!(guess(&owner, &email, 4).await.iter().all(|answer| answer.0 == 401));
        owner.log_in(&email, PASSWORD).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_session_does_not_help_to_guess_the_password() {
    let (_, owner) = account().await;
    let body = || json!({ "currentPassword": WRONG, "newPassword": "quite another password" });
    for _ in 0..5 {
        owner.put("/api/users/me/password", body()).await.expect_problem(403, "auth.wrong_password");
    }
    owner.put("/api/users/me/password", body()).await.expect_problem(429, "auth.too_many_attempts");
    let step_up = json!({ "password": PASSWORD });
    owner.post("/api/auth/step-up", step_up).await.expect_problem(429, "auth.too_many_attempts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_by_bcrypt_is_replaced_when_its_password_is_known() {
    let (email, owner) = account().await;
    let url = &system().await.database_url;
    let imported = bcrypt::hash("from another system", 6).unwrap();
    let of_owner = format!("where account_id = '{}'", owner.user_id);
    execute(url, &format!("update credentials set password_hash = '{imported}' {of_owner}")).await;
    log_in(&owner, &email, PASSWORD, None).await.expect_problem(401, "auth.invalid_credentials");
    owner.log_in(&email, "from another system").await;
    let mut connection = PgConnection::connect(url).await.unwrap();
    let hash: String = sqlx::query_scalar(&format!("select password_hash from credentials {of_owner}"))
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(hash.starts_with("$argon2id$"));
    owner.log_in(&email, "from another system").await;
}
