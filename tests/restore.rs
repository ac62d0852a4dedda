//! A database that was restored from a backup: what it has lost is not believed, and nobody who was forgotten comes back.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use uuid::Uuid;

use crate::support::bus::Bus;
use crate::support::client::Client;
use crate::support::models::assert_models_are_the_fold;
use crate::support::people::People;
use crate::support::process::Process;
use crate::support::{Node, copy_of, data_directory, database_url, eventually, servers};

const PASSWORD: &str = "correct horse battery staple";

async fn work(system: &Process, commands: u64) {
    let people = People::begin(&[system.url()], 2).await;
    people.work_on(commands).await;
    people.finish().await;
}

async fn end(mut process: Process) {
    process.signal("TERM");
    assert_eq!(process.end().await, Some(0));
}

/// A backup of a log of some events, and the stream of one that went on.
async fn backup_and_stream() -> (String, u64) {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    work(&system, 30).await;
    end(system).await;
    let backup = copy_of(&url).await;
    let system = Process::api(&url, &[]).await;
    work(&system, 60).await;
    let node = Node::start(&url).await;
    Bus::shared(&node).await.published(&node).await;
    let lost = node.store.head().await.unwrap();
    end(system).await;
    (backup, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_log_has_lost_is_never_applied() {
    let (url, lost) = backup_and_stream().await;
    let node = Node::start(&url).await;
    let head = node.store.head().await.unwrap();
    assert!(head < lost);
    // Before any relay could have looked at the stream.
    let _worker = Process::worker(&url).await;
    let api = Process::api(&url, &["api"]).await;
    sleep(Duration::from_secs(3)).await;
    let furthest = "select max(position) from checkpoints";
    assert_eq!(node.ask::<i64>(furthest).await.cast_unsigned(), head);
    let people = People::begin(&[api.url()], 2).await;
    people.work_on(20).await;
    let _relay = Process::start(&url, &servers().await.nats_url, &["relay"]).await;
    people.work_on(60).await;
    assert_eq!(people.finish().await.unread, 0, "reads went unanswered");
    assert_models_are_the_fold(&node).await;
    Bus::shared(&node).await.assert_stream_is_the_log(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_log_begins_a_generation_with_a_stream_and_read_models_of_its_own() {
    let (url, _) = backup_and_stream().await;
    let before = Node::start(&url).await;
    let command = Process::command_on(&url, &servers().await.nats_url, &["restored"]);
    let (status, said) = data_directory::run(command).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("generation 2"), "{said}");
    let system = Process::api(&url, &[]).await;
    let people = People::begin(&[system.url()], 2).await;
    people.work_on(60).await;
    people.finish().await;
    let node = Node::start(&url).await;
    assert_models_are_the_fold(&node).await;
    Bus::shared(&node).await.assert_stream_is_the_log(&node).await;
    assert!(Bus::shared(&before).await.stream().await.is_none(), "the stream of before is left behind");
}

/// Somebody with a dossier that says something personal.
struct Somebody {
    email: String,
    client: Client,
    dossier: String,
}

async fn somebody(system: &Process) -> Somebody {
    let email = format!("{}@capitune.test", Uuid::now_v7().simple());
    let body = json!({ "email": email, "password": PASSWORD, "name": "Ada Lovelace" });
    system.client().post("/api/auth/register", body).await.expect(201);
    let client = system.client().log_in(&email, PASSWORD).await;
    let dossier = client.create_dossier("A request").await.header("location").to_owned();
    Somebody { email, client, dossier }
}

async fn log_in(system: &Process, email: &str) -> u16 {
    system.client().post("/api/auth/login", json!({ "email": email, "password": PASSWORD })).await.status
}

async fn description(system: &Process, dossier: &str) -> Value {
    let auditor = system.admin().await.register_with_roles("Audrey", &["auditor"]).await;
    auditor.get(dossier).await.expect(200).body["description"].clone()
}

fn with_ledger(url: &str, nats_url: &str, ledger: &str) -> Command {
    let mut command = Process::command_on(url, nats_url, &[]);
    command.env("CAPITUNE_ERASURE_LEDGER", ledger);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_brings_nobody_back() {
    let (url, nats, place) = (database_url().await, &servers().await.nats_url, TempDir::new().unwrap());
    let ledger = format!("file://{}", place.path().display());
    // Erased before there was a ledger.
    let system = Process::api(&url, &[]).await;
    let first = somebody(&system).await;
    first.client.delete("/api/users/me").await.expect(200);
    let (second, third, admin) = (somebody(&system).await, somebody(&system).await, somebody(&system).await);
    let roles = async |system: &Process, who: &Somebody, roles: &[&str]| {
        let path = format!("/api/admin/users/{}/roles", who.client.user_id);
        system.admin().await.put(&path, json!({ "roles": roles })).await.expect(200);
    };
    roles(&system, &admin, &["applicant", "admin"]).await;
    end(system).await;
    let (backup, control) = (copy_of(&url).await, copy_of(&url).await);
    let system = Process::spawn(with_ledger(&url, nats, &ledger)).await;
    system.ready().await;
    let again = system.client().log_in(&second.email, PASSWORD).await;
    again.delete("/api/users/me").await.expect(200);
    // In the backup she is somebody who must not be erased.
    roles(&system, &admin, &["applicant"]).await;
    system.client().log_in(&admin.email, PASSWORD).await.delete("/api/users/me").await.expect(200);
    let told = || place.path().join("capitune").read_dir().unwrap().next().unwrap().unwrap().path().join("erasures");
    eventually("all are told", || async { told().read_dir().is_ok_and(|persons| persons.count() == 3) }).await;
    end(system).await;

    // Without the ledger she would be back.
    let system = Process::api(&control, &[]).await;
    assert_eq!(log_in(&system, &second.email).await, 200);
    end(system).await;

    let system = Process::spawn(with_ledger(&backup, nats, &ledger)).await;
    system.ready().await;
    for erased in [&second, &admin] {
        assert_eq!(log_in(&system, &erased.email).await, 401);
        assert!(description(&system, &erased.dossier).await.is_null());
    }
    // Nor is anything of hers readable by whoever has the database and the master key.
    let node = Node::start(&backup).await;
    let key = format!("select count(wrapped_key) from person_keys where person_id = '{}'", again.user_id);
    assert_eq!(node.ask::<i64>(&key).await, 0);
    let finished = "select count(*) from erasures where finished_at is not null";
    eventually("all of it is done", || async { node.ask::<i64>(finished).await == 3 }).await;
    // Nobody else is touched.
    assert_eq!(log_in(&system, &third.email).await, 200);
    assert_eq!(description(&system, &third.dossier).await, "Two rooms");
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_served_before_the_ledger_is_read() {
    let (url, nats, place) = (database_url().await, &servers().await.nats_url, TempDir::new().unwrap());
    let mut command = with_ledger(&url, nats, "s3://ledger");
    // Nobody listens there.
    command.env("AWS_ENDPOINT", "http://127.0.0.1:9").env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x").env("AWS_REGION", "x");
    let mut waiting = Process::spawn(command).await;
    eventually("it says what it waits for", || async { waiting.output().contains("ledger of erasures") }).await;
    sleep(Duration::from_secs(2)).await;
    assert!(!waiting.is_ready().await);
    waiting.signal("TERM");
    assert_eq!(waiting.end().await, Some(0));
    // Nor where there is no such place.
    let (status, said) = data_directory::run(with_ledger(&url, nats, "file:///proc/ledger")).await;
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("CAPITUNE_ERASURE_LEDGER"), "{said}");
    let ledger = format!("file://{}", place.path().display());
    let system = Process::spawn(with_ledger(&url, nats, &ledger)).await;
    system.ready().await;
}
