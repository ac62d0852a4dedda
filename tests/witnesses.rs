//! Witnesses: what is kept outside the database finds out one that was rewritten as a whole.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use event_store::audit::{Hash, SignedHead, verify_consistency};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::data_directory::run;
use crate::support::process::Process;
use crate::support::s3::ObjectStore;
use crate::support::{Node, database_url, eventually, execute, servers};

/// Relay and sealer on a database, with these witnesses.
async fn relay(url: &str, witnesses: &str, settings: &[(&str, &str)]) -> Process {
    let mut command = Process::command(&["relay"]);
    command.env("DATABASE_URL", url).env("NATS_URL", &servers().await.nats_url);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32)).env("CAPITUNE_AUDIT_WITNESSES", witnesses);
    command.envs(settings.iter().copied());
    Process::spawn(command).await
}

async fn audit(url: &str, arguments: &[&str], witnesses: &str, settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Process::command(&[&["audit"], arguments].concat());
    command.env("DATABASE_URL", url).env("NATS_URL", "nats://127.0.0.1:9");
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32)).env("CAPITUNE_AUDIT_WITNESSES", witnesses);
    command.envs(settings.iter().copied());
    run(command).await
}

async fn accepted(node: &Node) -> i64 {
    node.ask("select coalesce(max(size), 0) from audit_witnesses").await
}

/// Time to try again has come.
async fn let_try_again(url: &str) {
    execute(url, "update audit_witnesses set tried_at = tried_at - interval '1 minute'").await;
}

/// Heads reach the place, and what is rewritten later with all its evidence is found out by them.
async fn is_found_out(witness: &str, settings: &[(&str, &str)]) {
    let url = database_url().await;
    let node = Node::start(&url).await;
    node.write(3).await;
    let process = relay(&url, witness, settings).await;
    eventually("the first head is kept", async || accepted(&node).await == 6).await;
    node.write(1).await;
    eventually("a second head is sealed", async || node.ask::<i64>("select max(size) from audit_heads").await == 8)
        .await;
    let_try_again(&url).await;
    eventually("the second head is kept", async || accepted(&node).await == 8).await;
    let (code, said) = audit(&url, &["verify"], witness, settings).await;
    assert_eq!((code, said.lines().next()), (Some(0), Some("8 events, of which 8 are sealed; 4 heads")), "{said}");

    drop(process);
    let rewrite = "alter table events disable trigger all;
        update events set event_type = 'DossierAccepted' where position = 8;
        delete from audit_heads; delete from audit_tiles; delete from audit_keys";
    execute(&url, rewrite).await;
    let sealed = relay(&url, "", &[]).await;
    eventually("all is sealed anew", async || node.ask::<i64>("select count(*) from audit_heads").await == 1).await;
    drop(sealed);
    let (code, said) = audit(&url, &["verify"], "", &[]).await;
    assert_eq!(code, Some(0), "the database alone knows nothing of it any more: {said}");
    let (code, said) = audit(&url, &["verify"], witness, settings).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the head of 8 events was not signed by a key of this log"), "{said}");

    // Whoever is told of the other history notices, too.
    let process = relay(&url, witness, settings).await;
    execute(&url, "update audit_witnesses set size = 0, tried_at = '-infinity'").await;
    eventually("the contradiction is told", async || process.output().contains("it keeps another head of 8 events"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_keeps_every_head_and_finds_out_a_rewritten_database() {
    let store = ObjectStore::shared().await;
    is_found_out(&store.url(), &store.settings()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_keeps_every_head_and_finds_out_a_rewritten_database() {
    let directory = tempfile::tempdir().unwrap();
    is_found_out(&format!("file://{}", directory.path().join("heads").display()), &[]).await;
}

/// Somebody who keeps what they are told, and refuses when they are told to.
struct Listener {
    url: String,
    told: Arc<Mutex<Vec<Value>>>,
    refuses: Arc<Mutex<bool>>,
}

impl Listener {
    async fn start() -> Self {
        let (told, refuses) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<Mutex<bool>>::default());
        let (keeps, refusing) = (told.clone(), refuses.clone());
        let hear = move |Json(head): Json<Value>| async move {
            if *refusing.lock().unwrap() {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            keeps.lock().unwrap().push(head);
            StatusCode::NO_CONTENT
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/heads?token=secret-of-ours", listener.local_addr().unwrap());
        let router = Router::new().route("/heads", post(hear));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, told, refuses }
    }

    fn told(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }
}

fn head(told: &Value) -> SignedHead {
    told["note"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_of_every_head_with_the_proof_that_it_continues_the_last() {
    let (listener, stuck) = (Listener::start().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = database_url().await;
    let node = Node::start(&url).await;
    node.write(3).await;
    // One that never answers keeps nobody waiting.
    let witnesses = format!("{} http://{}/", listener.url, stuck.local_addr().unwrap());
    let processes = [relay(&url, &witnesses, &[]).await, relay(&url, &witnesses, &[]).await];
    eventually("the first head is told", async || listener.told().len() == 1).await;
    // What is refused comes again.
    *listener.refuses.lock().unwrap() = true;
    for _ in 0..2 {
        node.write(1).await;
        let sealed =
            async || node.ask::<bool>("select (select max(size) from audit_heads) = max(position) from events").await;
        eventually("it is sealed", sealed).await;
        let_try_again(&url).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    eventually("the refusal is told", async || {
        processes.iter().any(|process| process.output().contains("it answered 503"))
    })
    .await;
    *listener.refuses.lock().unwrap() = false;
    let_try_again(&url).await;
    eventually("the newest head is told", async || listener.told().len() == 2).await;
    let told = listener.told();
    let (first, second) = (head(&told[0]), head(&told[1]));
    assert_eq!((first.head.size, second.head.size), (6, 10));
    assert_eq!((&told[0]["previousSize"], &told[1]["previousSize"]), (&0.into(), &6.into()));
    assert_eq!(told[1]["head"]["rootHash"], second.head.root.to_string());
    let path: Vec<Hash> =
        told[1]["consistency"].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().parse().unwrap()).collect();
    assert!(verify_consistency(6, 10, first.head.root, second.head.root, &path));
    for process in &processes {
        assert!(!process.output().contains("secret-of-ours"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_is_none_is_refused_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let under_a_file = format!("file://{}/heads", Path::new(file.path()).display());
    for nonsense in ["nonsense", "ftp://example.org/", &under_a_file, "https://example.org nonsense"] {
        let (code, said) = audit("postgres://127.0.0.1:9/x", &["keys"], nonsense, &[]).await;
        assert_eq!(code, Some(2), "{nonsense}");
        assert!(said.contains("CAPITUNE_AUDIT_WITNESSES"), "{said}");
    }
}
