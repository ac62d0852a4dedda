//! Machines whose clocks are wrong, and are set back while they run: neither the log and its order, nor who carries it
//! on, nor what a key stands for depends on them.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::data_directory::run;
use crate::support::models::assert_models_are_as_made_anew;
use crate::support::people::{People, assert_applied_once};
use crate::support::process::{ADMIN_EMAIL, ADMIN_PASSWORD, Process};
use crate::support::{Node, database_url, eventually, packages, servers, whole_log};

/// A machine's clock: what its processes ask for the time is a library between them and the system.
struct Clock(TempDir);

impl Clock {
    fn new(seconds: i64) -> Self {
        let clock = Self(tempfile::tempdir().unwrap());
        clock.set(seconds);
        clock
    }

    /// So far from the right time, from the next second on.
    fn set(&self, seconds: i64) {
        let new = self.0.path().join("new");
        std::fs::write(&new, format!("{seconds:+}s")).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clock")
    }

    /// A process of this machine.
    async fn start(&self, database_url: &str, arguments: &[&str]) -> Process {
        let library = packages("faketime/libfaketime/vendor/libfaketime/src/libfaketimeMT.so.1");
        assert!(library.exists(), "{} is missing: run `make setup`", library.display());
        let mut command = Process::command_on(database_url, &servers().await.nats_url, arguments);
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", self.file())
            .env("FAKETIME_CACHE_DURATION", "1")
            // No system ever sets that one back.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Process::spawn(command).await
    }
}

/// The time on the machine that let this person in.
fn issued_at(person: &Client) -> DateTime<Utc> {
    let claims = person.token().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    DateTime::from_timestamp_secs(claims["iat"].as_i64().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_wrong_or_set_back_change_neither_order_nor_effects() {
    let url = database_url().await;
    let [in_front, behind, set_back] = [300, -3600, 0].map(Clock::new);
    let fast = in_front.start(&url, &["api"]).await;
    fast.ready().await;
    let right = Process::api(&url, &["api"]).await;
    let _relay = behind.start(&url, &["relay"]).await;
    let _workers = [set_back.start(&url, &["worker"]).await, Process::worker(&url).await];
    let ahead = issued_at(&fast.admin().await) - Utc::now();
    assert!(ahead > TimeDelta::minutes(4), "its clock is not ahead");

    let at_both = [People::begin(&[fast.url()], 4).await, People::begin(&[right.url()], 4).await];
    for people in &at_both {
        people.work_on(60).await;
    }
    set_back.set(-600);
    behind.set(-4200);
    for people in &at_both {
        people.work_on(200).await;
    }
    let mut sent = Vec::new();
    for people in at_both {
        let done = people.finish().await;
        assert_eq!(done.unread, 0, "reads went unanswered");
        sent.extend(done.sent);
    }

    let node = Node::start(&url).await;
    assert_applied_once(&node, &sent).await;
    let log = whole_log(&node.store).await;
    assert!(log.is_sorted_by_key(|event| event.recorded_at), "time goes back in the log");
    assert!(log.last().unwrap().recorded_at < Utc::now() + TimeDelta::minutes(1));
    assert_models_are_as_made_anew(&node).await;
    let verify = Process::command_on(&url, &servers().await.nats_url, &["audit", "verify"]);
    assert_eq!(run(verify).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_set_back_goes_on_and_keeps_what_keys_stand_for() {
    let url = database_url().await;
    let clock = Clock::new(300);
    let process = clock.start(&url, &[]).await;
    process.ready().await;
    let admin = process.admin().await;
    let create = json!({ "title": "A request", "category": "housing", "description": "Two rooms" });
    let (path, key) = ("/api/dossiers", "create");
    let send = async |person: &Client| {
        let request = person.request(Method::POST, path).header("Idempotency-Key", key).json(&create);
        person.send(request).await
    };
    let created = send(&admin).await.expect(201);

    clock.set(-600);
    let log_in = async || process.client().log_in(ADMIN_EMAIL, ADMIN_PASSWORD).await;
    eventually("its clock is behind", async || issued_at(&log_in().await) < Utc::now()).await;
    let admin = log_in().await;
    let again = send(&admin).await.expect(201);
    assert_eq!((again.id(), again.header("idempotent-replayed")), (created.id(), "true"));
    let edited = admin.put(&format!("{path}/{}", created.id()), json!({ "title": "Another" })).await.expect(200);
    assert!(edited.position() > created.position());
    let seen = admin.get(&format!("{path}/{}?minPosition={}", created.id(), edited.position())).await.expect(200);
    assert_eq!(seen.body["title"], "Another");
}
