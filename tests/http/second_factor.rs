//! The second factor: asked for, used up, not to be gone round; and what needs a fresh log-in.

use futures::future::join_all;
use totp_rs::{Builder, Secret, Totp};

use super::*;

const STEP: u64 = 30;

/// Somebody with a second factor, whose last code was that of the step before the present one.
struct Guarded {
    email: String,
    client: Client,
    totp: Totp,
    recovery_codes: Vec<String>,
}

fn now() -> u64 {
    chrono::Utc::now().timestamp().unsigned_abs()
}

fn code_at(totp: &Totp, time: u64) -> String {
    totp.generate(time).to_string()
}

fn generator(secret: &str) -> Totp {
    Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).with_account_name("x").build().unwrap()
}

async fn guarded() -> Guarded {
    let (email, client) = account().await;
    let begun = client.post("/api/auth/totp", json!({})).await.expect(200);
    let totp = generator(begun.body["secret"].as_str().unwrap());
    let uri = begun.body["otpauthUri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/Capitune:"), "{uri}");
    // What was only begun is not asked for.
    client.log_in(&email, PASSWORD).await;
    let code = json!({ "code": code_at(&totp, now() - STEP) });
    let enabled = client.post("/api/auth/totp/verify", code).await.expect(200);
    let codes = enabled.body["recoveryCodes"].as_array().unwrap().iter();
    let recovery_codes = codes.map(|code| code.as_str().unwrap().to_owned()).collect();
    Guarded { email, client, totp, recovery_codes }
}

impl Guarded {
    async fn log_in(&self, code: Option<&str>) -> Answer {
        log_in(&nobody().await, &self.email, PASSWORD, code).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_in_takes_a_code_which_is_good_once() {
    let ada = guarded().await;
    assert_eq!(ada.client.get("/api/users/me").await.expect(200).body["totpEnabled"], true);
    ada.log_in(None).await.expect_problem(401, "auth.totp_required");
    for wrong in ["", "12345", "abcdef", "000000000000", &code_at(&ada.totp, now() + 10 * STEP)] {
        ada.log_in(Some(wrong)).await.expect_problem(401, "auth.invalid_totp");
        if wrong == "abcdef" {
            // The right one forgives what came before.
            ada.log_in(Some(&ada.recovery_codes[9])).await.expect(200);
        }
    }
    // The password is asked first: without it nobody learns whether there is a second factor.
    log_in(&ada.client, &ada.email, "not it", Some("123456")).await.expect_problem(401, "auth.invalid_credentials");
    let code = code_at(&ada.totp, now());
    ada.log_in(Some(&code)).await.expect(200);
    ada.log_in(Some(&code)).await.expect_problem(401, "auth.invalid_totp");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_use_one_code_at_once_one_gets_in() {
    let ada = guarded().await;
    let code = code_at(&ada.totp, now());
    let answers = join_all((0..20).map(|_| ada.log_in(Some(&code)))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    let ada = guarded().await;
    let answers = join_all((0..20).map(|_| ada.log_in(Some(&ada.recovery_codes[0])))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_guessed_no_faster_from_many_places() {
    let ada = guarded().await;
    let mut refused = 0;
    for number in 0..8 {
        let somewhere = nobody().await.from(&format!("127.0.5.{number}"));
        let answer = log_in(&somewhere, &ada.email, PASSWORD, Some("000000")).await;
        refused += usize::from(answer.status == 429);
    }
    assert_eq!(refused, 3);
    ada.log_in(Some(&ada.recovery_codes[0])).await.expect_problem(429, "auth.too_many_attempts");
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_codes_are_good_once_each_and_renewed_all_together() {
    let ada = guarded().await;
    assert_eq!(ada.recovery_codes.len(), 10);
    ada.log_in(Some(&ada.recovery_codes[0])).await.expect(200);
    ada.log_in(Some(&ada.recovery_codes[0])).await.expect_problem(401, "auth.invalid_totp");
    // As somebody types them.
    ada.log_in(Some(&ada.recovery_codes[1].to_uppercase().replace('-', " "))).await.expect(200);
    let renewed = ada.client.post("/api/auth/totp/recovery-codes", json!({})).await.expect(200);
    ada.log_in(Some(&ada.recovery_codes[2])).await.expect_problem(401, "auth.invalid_totp");
    ada.log_in(Some(renewed.body["recoveryCodes"][0].as_str().unwrap())).await.expect(200);
    let (_, eve) = account().await;
    eve.post("/api/auth/totp/recovery-codes", json!({})).await.expect_problem(409, "totp.not_begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_code_helps_nobody() {
    let (ada, eve) = (guarded().await, guarded().await);
    ada.log_in(Some(&eve.recovery_codes[0])).await.expect_problem(401, "auth.invalid_totp");
    ada.log_in(Some(&code_at(&eve.totp, now()))).await.expect_problem(401, "auth.invalid_totp");
    let begun = eve.client.post("/api/auth/totp", json!({})).await;
    begun.expect_problem(409, "totp.already_enabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn turning_it_on_and_off_ends_the_other_sessions() {
    let (email, client) = account().await;
    let other = client.log_in(&email, PASSWORD).await;
    client.post("/api/auth/totp/verify", json!({ "code": "000000" })).await.expect_problem(409, "totp.not_begun");
    let begun = client.post("/api/auth/totp", json!({})).await.expect(200);
    let totp = generator(begun.body["secret"].as_str().unwrap());
    client.post("/api/auth/totp/verify", json!({ "code": "000000" })).await.expect_problem(401, "auth.invalid_totp");
    let code = json!({ "code": code_at(&totp, now()) });
    client.post("/api/auth/totp/verify", code.clone()).await.expect(200);
    client.post("/api/auth/totp/verify", code).await.expect_problem(409, "totp.already_enabled");
    other.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    client.delete("/api/auth/totp").await.expect(200);
    client.log_in(&email, PASSWORD).await;
    let types = client.get("/api/users/me").await.expect(200).body["totpEnabled"].clone();
    assert_eq!(types, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sensitive_takes_a_fresh_log_in() {
    let ada = guarded().await;
    let_time_pass(&ada.client).await;
    let sensitive = [
        (Method::POST, "/api/auth/totp"),
        (Method::POST, "/api/auth/totp/recovery-codes"),
        (Method::DELETE, "/api/auth/totp"),
        (Method::DELETE, "/api/users/me"),
    ];
    for (method, path) in &sensitive {
        let answer = call(&ada.client, method.clone(), path, &[], None).await;
        answer.expect_problem(403, "auth.step_up_required");
    }
    let token = json!({ "name": "Script", "scopes": ["dossiers:read"] });
    ada.client.post("/api/auth/tokens", token).await.expect_problem(403, "auth.step_up_required");
    let step_up = |password: &str, totp: &str| json!({ "password": password, "totp": totp });
    let path = "/api/auth/step-up";
    ada.client.post(path, step_up("not it", "1")).await.expect_problem(403, "auth.wrong_password");
    ada.client.post(path, json!({ "password": PASSWORD })).await.expect_problem(401, "auth.totp_required");
    let fresh = ada.client.post(path, step_up(PASSWORD, &ada.recovery_codes[0])).await.expect(200);
    // The session that asked is over: what was stolen of it is worth nothing.
    ada.client.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    let fresh = ada.client.with_token(fresh.body["token"].as_str().unwrap());
    fresh.delete("/api/auth/totp").await.expect(200);
}
