//! Limits on rates: exact, told on every answer, shared by all nodes, and not to be talked round.

use std::process::Command;

use serde_json::json;

use super::*;

const AUTH: &str = "CAPITUNE_RATE_LIMIT_AUTH";
const GENERAL: &str = "CAPITUNE_RATE_LIMIT_GENERAL";

async fn limited(url: &str, settings: &[(&str, &str)]) -> Process {
    let mut command: Command = Process::command(&["api"]);
    command.env("DATABASE_URL", url).env("NATS_URL", &crate::support::servers().await.nats_url);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32)).env("CAPITUNE_UNSAFE_DURABILITY", "true");
    command.envs(settings.iter().copied());
    let process = Process::spawn(command).await;
    process.ready().await;
    process
}

/// Tests count within one window: they begin when enough of the minute is left.
async fn begin_of_a_window() {
    loop {
        let seconds = chrono::Utc::now().timestamp() % 60;
        if seconds < 35 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn wrong_log_in(client: &Client, forwarded: Option<&str>) -> Answer {
    let headers: Vec<(&str, &str)> = forwarded.into_iter().map(|value| ("x-forwarded-for", value)).collect();
    let body = json!({ "email": "nobody@capitune.test", "password": "not the password" });
    post_with(client, "/api/auth/login", &headers, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_told_reached_and_shared_by_all_nodes() {
    let url = database_url().await;
    let settings = [(AUTH, "5"), (GENERAL, "30")];
    let (one, other) = (limited(&url, &settings).await, limited(&url, &settings).await);
    begin_of_a_window().await;
    let ada = one.client().register("Ada").await;
    let there = ada.at(&other.url());
    // One of five is spent.
    let (mut accepted, mut refused) = (1, 0);
    for number in 0..12 {
        let answer = wrong_log_in(if number % 2 == 0 { &ada } else { &there }, None).await;
        match answer.status {
            401 => accepted += 1,
            _ => {
                let answer = answer.expect_problem(429, "request.rate_limited");
                assert!((1..=60).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
                assert!(answer.header("ratelimit").starts_with("\"auth\";r=0;t="), "{}", answer.header("ratelimit"));
                refused += 1;
            }
        }
    }
    assert_eq!((accepted, refused), (5, 8));
    // The others count for themselves, by account and not by address.
    let answers = futures::future::join_all((0..60).map(|number| {
        let client = if number % 2 == 0 { &ada } else { &there };
        client.get("/api/users/me")
    }));
    let answers = answers.await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((25..=30).contains(&served), "{served} of 30 were served");
    assert_eq!(answers[0].header("ratelimit-policy"), "\"general\";q=30;w=60");
    assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status)));
    // Health is not counted, and neither are descriptions.
    for _ in 0..40 {
        ada.get("/health/live").await.expect(200);
    }
    ada.get("/api/openapi.json").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_of_its_address_counts_only_from_a_proxy() {
    let url = database_url().await;
    let direct = limited(&url, &[(AUTH, "3")]).await;
    begin_of_a_window().await;
    for number in 0..3 {
        wrong_log_in(&direct.client(), Some(&format!("203.0.113.{number}"))).await.expect(401);
    }
    for spoofed in ["203.0.113.9", "::1", "10.0.0.1, 203.0.113.77", "unknown", "127.0.0.1"] {
        wrong_log_in(&direct.client(), Some(spoofed)).await.expect(429);
    }
    for header in ["forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip"] {
        let body = json!({ "email": "nobody@capitune.test", "password": "not the password" });
        post_with(&direct.client(), "/api/auth/login", &[(header, "203.0.113.9")], body).await.expect(429);
    }

    let url = database_url().await;
    let behind = limited(&url, &[(AUTH, "3"), ("CAPITUNE_TRUSTED_PROXIES", "127.0.0.0/8,::1")]).await;
    begin_of_a_window().await;
    // From right to left, the first that is no proxy; what stands before it anybody may have written.
    for number in 0..3 {
        wrong_log_in(&behind.client(), Some(&format!("198.51.100.{number}, 203.0.113.1"))).await.expect(401);
    }
    wrong_log_in(&behind.client(), Some("6.6.6.6, 203.0.113.1, 127.0.0.1")).await.expect(429);
    wrong_log_in(&behind.client(), Some("203.0.113.2")).await.expect(401);
    // One household has 2^64 addresses.
    for number in 0..3 {
        wrong_log_in(&behind.client(), Some(&format!("2001:db8:1:2::{number}"))).await.expect(401);
    }
    wrong_log_in(&behind.client(), Some("2001:db8:1:2:ffff::1")).await.expect(429);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_an_address_and_no_forged_pass_escapes_the_count() {
    let url = database_url().await;
    let system = limited(&url, &[(AUTH, "3"), (GENERAL, "12")]).await;
    begin_of_a_window().await;
    let client = system.client();
    for _ in 0..3 {
        wrong_log_in(&client, None).await.expect(401);
    }
    let body = || json!({ "email": "nobody@capitune.test", "password": "not the password" });
    for path in ["/api/auth/login", "/api/auth/login?x=1", "/api/auth/login#x"] {
        client.post(path, body()).await.expect(429);
    }
    // Whatever else is asked for counts as everything else does, and leads nowhere.
    let paths = ["/API/auth/login", "/api/auth/login/", "/api//auth/login", "/api/auth%2Flogin", "/nothing"];
    let mut refused = 0;
    for path in paths.iter().cycle().take(20) {
        let status = client.post(path, body()).await.status;
        assert!([404, 429].contains(&status), "{path}: {status}");
        refused += usize::from(status == 429);
    }
    assert!(refused >= 8, "{refused}");
    for pass in ["", "00", &"0".repeat(64)] {
        post_with(&client, "/api/auth/login", &[("capitune-pass", pass)], body()).await.expect(429);
    }
}
