//! Limits on rates: exact, told on every answer, shared by all nodes, and not to be talked round.

use serde_json::json;

use super::outages::{name_of, open, shut};
use super::raw::{Raw, statuses};
use super::*;
use crate::support::{eventually, execute};

const AUTH: &str = "CAPITUNE_RATE_LIMIT_AUTH";
const GENERAL: &str = "CAPITUNE_RATE_LIMIT_GENERAL";

/// Tests count within one window: they begin when enough of the minute is left.
pub async fn begin_of_a_window() {
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
    let (one, other) = (system_with(&url, &settings).await, system_with(&url, &settings).await);
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
    let direct = system_with(&url, &[(AUTH, "3")]).await;
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
    let behind = system_with(&url, &[(AUTH, "3"), ("CAPITUNE_TRUSTED_PROXIES", "127.0.0.0/8,::1")]).await;
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
    // The other header says the same, and where the two differ nobody is believed.
    let body = || json!({ "email": "nobody@capitune.test", "password": "not the password" });
    let log_in = |headers: &'static [(&'static str, &'static str)]| {
        let client = behind.client();
        async move { post_with(&client, "/api/auth/login", headers, body()).await }
    };
    log_in(&[("forwarded", "for=6.6.6.6, for=\"203.0.113.1:4711\";proto=https")]).await.expect(429);
    log_in(&[("x-forwarded-for", "203.0.113.1:4711")]).await.expect(429);
    for forged in ["for=192.0.2.1", "for=192.0.2.2", "for=\"192.0.2.3"] {
        let headers = [("x-forwarded-for", "203.0.113.5"), ("forwarded", forged)];
        post_with(&behind.client(), "/api/auth/login", &headers, body()).await.expect(401);
    }
    log_in(&[("x-forwarded-for", "203.0.113.6"), ("forwarded", "for=203.0.113.5")]).await.expect(429);
    log_in(&[("x-forwarded-for", "203.0.113.5"), ("forwarded", "for=203.0.113.5")]).await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_an_address_and_no_forged_pass_escapes_the_count() {
    let url = database_url().await;
    let system = system_with(&url, &[(AUTH, "3"), (GENERAL, "12")]).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_one_breath_are_counted_one_by_one() {
    let url = database_url().await;
    let system = system_with(&url, &[(AUTH, "3")]).await;
    begin_of_a_window().await;
    let body = r#"{"email":"nobody@capitune.test","password":"not the password"}"#;
    let mut raw = Raw::to(&system.url()).await;
    let one = format!(
        "POST /api/auth/login HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        raw.host,
        body.len()
    );
    raw.send(one.repeat(12)).await;
    let (received, _) = raw.receive(Duration::from_secs(5)).await;
    assert_eq!(statuses(&received), [[401; 3].as_slice(), &[429; 9]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_are_no_attempt_to_come_in() {
    let url = database_url().await;
    let system = system_with(&url, &[(AUTH, "2"), (GENERAL, "50")]).await;
    begin_of_a_window().await;
    for _ in 0..5 {
        let keys = system.client().get("/api/auth/jwks.json").await.expect(200);
        assert_eq!(keys.header("ratelimit-policy"), "\"general\";q=50;w=60");
    }
    wrong_log_in(&system.client(), None).await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_a_node_counts_alone_and_serves_what_it_can() {
    let url = database_url().await;
    let system = system_with(&url, &[(GENERAL, "10")]).await;
    begin_of_a_window().await;
    let nobody = system.client();
    for _ in 0..3 {
        nobody.get("/api/nowhere").await.expect(404);
    }
    shut(&url).await;
    let mut answers = Vec::new();
    for path in ["/api/nowhere", "/api/users/me"].iter().cycle().take(12) {
        let answer = nobody.get(path).await;
        assert!(!answer.header("ratelimit").is_empty(), "{answer:?}");
        answers.push(answer.status);
    }
    assert_eq!(answers, [404, 401, 404, 401, 404, 401, 404, 429, 429, 429, 429, 429]);
    open(&url).await;
    // Somebody else, in the same window, is counted with all the others again.
    eventually("accounts are served again", || async {
        let body = json!({ "email": "nobody@capitune.test", "password": "not the password" });
        nobody.post("/api/auth/login", body).await.status == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_windows_are_those_of_the_databases_clock() {
    let url = database_url().await;
    let clock = format!(
        "create function public.now() returns timestamptz language sql stable as $$
             select timestamptz '2026-01-01 00:00:58+00' $$;
         alter database {} set search_path = public, pg_catalog",
        name_of(&url)
    );
    // The first admin is made by the clock on the wall.
    drop(system_with(&url, &[]).await);
    execute(&url, &clock).await;
    let system = system_with(&url, &[(GENERAL, "50")]).await;
    let answer = system.client().get("/api/nowhere").await.expect(404);
    let seconds = answer.header("ratelimit").rsplit('=').next().unwrap().parse::<u32>().unwrap();
    assert!(seconds <= 2, "{seconds}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_without_end_overflows_no_count_and_old_counts_are_swept() {
    let url = database_url().await;
    let old = "insert into rate_limits select sha256(number::text::bytea), 1, 1 from generate_series(1, 25000) number";
    execute(&url, old).await;
    let settings = [(GENERAL, "4294967295")];
    let (one, other) = (system_with(&url, &settings).await, system_with(&url, &settings).await);
    let left = |answer: Answer| {
        let line = answer.header("ratelimit").to_owned();
        line.split(";r=").nth(1).unwrap().split(';').next().unwrap().parse::<u32>().unwrap()
    };
    begin_of_a_window().await;
    assert_eq!(left(one.client().get("/api/nowhere").await), 4_294_967_294);
    execute(&url, "update rate_limits set taken = 2147483647 where minute > 1").await;
    // Who counts alone has more.
    assert!(left(other.client().get("/api/nowhere").await) < 3_000_000_000);
    let database = crate::support::Node::start(&url).await;
    eventually("old counts are swept", || async {
        database.ask::<i64>("select count(*) from rate_limits where minute = 1").await == 0
    })
    .await;
}
