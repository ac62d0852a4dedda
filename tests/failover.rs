//! Fail-overs: a standby takes over from a primary that was killed, and has all of the log or lacks its tail.

use std::time::Duration;

use projections::NAMES;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::bus::Bus;
use crate::support::client::Client;
use crate::support::data_directory;
use crate::support::front::Front;
use crate::support::models::assert_models_are_the_fold;
use crate::support::people::{People, assert_applied_once};
use crate::support::process::Process;
use crate::support::replication::{Server, url_through};
use crate::support::{Node, PATIENCE, eventually, servers};

/// Fail-overs that one system goes through.
const ROUNDS: u32 = 20;

/// A primary behind a front, and processes that reach it through that.
struct Cluster {
    primary: Server,
    front: Front,
    system: Process,
    api: Process,
}

impl Cluster {
    async fn start() -> Self {
        let primary = Server::primary().await;
        let front = Front::start(primary.port()).await;
        let url = url_through(&front);
        let system = Process::api(&url, &[]).await;
        let api = Process::api(&url, &["api"]).await;
        Self { primary, front, system, api }
    }

    fn url(&self) -> String {
        url_through(&self.front)
    }

    async fn fail_over_to(&mut self, standby: Server) {
        self.primary.kill();
        self.front.refuse();
        standby.promote().await;
        self.front.point_to(standby.port());
        self.primary = standby;
    }

    /// Waits until a head of the log's very end is signed.
    async fn sealed(&self) -> u64 {
        let end = "select coalesce(max(position), 0) from events";
        let sealed = "select coalesce(max(size), 0) from audit_heads";
        eventually("the log is sealed", || async {
            self.primary.ask::<i64>(end).await == self.primary.ask::<i64>(sealed).await
        })
        .await;
        self.primary.ask::<i64>(sealed).await.cast_unsigned()
    }
}

/// Somebody's dossiers, each with the version that it has now.
struct Somebody {
    client: Client,
    dossiers: Vec<(String, u64)>,
    /// How often they were edited: each time another process edits a dossier.
    turn: usize,
}

impl Somebody {
    async fn open(&mut self) {
        let location = self.client.create_dossier("A request").await.header("location").to_owned();
        self.dossiers.push((location, 1));
    }

    /// Edits the dossiers, at one process after the other, until each is answered; the version goes up by one each time.
    async fn edit(&mut self, urls: &[String], title: &str) {
        self.turn += 1;
        for (number, (dossier, version)) in self.dossiers.iter_mut().enumerate() {
            let client = self.client.at(&urls[(number + self.turn) % urls.len()]);
            let started = Instant::now();
            loop {
                let request = client.request(reqwest::Method::PUT, dossier).json(&json!({ "title": title }));
                match client
                    .try_send(request.header("Idempotency-Key", format!("{}-{number}", title.replace(' ', "-"))))
                    .await
                {
                    Ok(answer) if answer.status == StatusCode::OK => {
                        *version += 1;
                        assert_eq!(answer.body["version"], *version, "{dossier}: {:#}", answer.body);
                        break;
                    }
                    Ok(answer) => assert_eq!(answer.status, 503, "{dossier}: {:#}", answer.body),
                    Err(_) => {}
                }
                assert!(started.elapsed() < PATIENCE, "{dossier} is not answered any more");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn readiness(process: &Process) -> Value {
    let Ok(answer) = reqwest::get(format!("{}/health/ready", process.url())).await else { return Value::Null };
    answer.json().await.unwrap_or_default()
}

async fn says_that_it_lost(process: &Process) -> bool {
    let trouble = readiness(process).await["trouble"].to_string();
    trouble.contains("the log lost events")
}

/// Asserts that `capitune` with these arguments ends well, and gives what it said.
async fn run(url: &str, arguments: &[&str]) -> String {
    let command = Process::command_on(url, &servers().await.nats_url, arguments);
    let (status, said) = data_directory::run(command).await;
    assert_eq!(status, Some(0), "{arguments:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_loses_its_tail_takes_everything_that_was_made_of_it_back() {
    let mut cluster = Cluster::start().await;
    let urls = [cluster.system.url(), cluster.api.url()];
    let mut somebody = Somebody { client: Client::new(&urls[0]).register("Ada").await, dossiers: Vec::new(), turn: 0 };
    let mut lost_heads = 0;
    for round in 1..=ROUNDS {
        let link = Front::start(cluster.primary.port()).await;
        let standby = cluster.primary.standby_behind(&link).await;
        somebody.open().await;
        somebody.edit(&urls, &format!("kept {round}")).await;
        standby.catch_up_with(&cluster.primary).await;
        link.hold(true);
        let kept = somebody.dossiers.clone();
        for lost in 0..rand::random_range(1..4) {
            somebody.open().await;
            somebody.edit(&urls, &format!("lost {round} {lost}")).await;
        }
        if round % 4 == 0 {
            cluster.sealed().await;
            // Every process looks at the newest head once a second.
            sleep(Duration::from_millis(1500)).await;
            lost_heads += 1;
        } else {
            sleep(Duration::from_millis(rand::random_range(0..300))).await;
        }
        cluster.fail_over_to(standby).await;
        somebody.dossiers = kept;
        // At each of the processes, which may all remember what was lost.
        for turn in 1..=urls.len() {
            somebody.edit(&urls, &format!("anew {round} {turn}")).await;
        }
        for process in [&cluster.system, &cluster.api] {
            eventually("the loss is reported", || says_that_it_lost(process)).await;
            process.ready().await;
        }
    }
    let node = Node::start(&cluster.url()).await;
    assert_models_are_the_fold(&node).await;
    Bus::shared(&node).await.assert_stream_is_the_log(&node).await;
    assert_eq!(node.ask::<i64>("select count(*) from projection_failures").await, 0, "something was quarantined");
    let verify: Vec<&str> = std::iter::once("verify").chain(NAMES).collect();
    run(&cluster.url(), &verify).await;
    let said = run(&cluster.url(), &["audit", "verify"]).await;
    assert!(said.matches("was lost with the log's tail").count() >= lost_heads, "{said}");
    let metrics = reqwest::get(format!("{}/metrics", urls[1])).await.unwrap().text().await.unwrap();
    let losses = metrics.lines().find_map(|line| line.strip_prefix("capitune_log_losses_total "));
    assert!(losses.is_some_and(|losses| losses.parse::<u32>().unwrap() >= ROUNDS), "{losses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_standby_that_takes_over_has_everything_that_was_answered() {
    let mut cluster = Cluster::start().await;
    let standby = cluster.primary.standby().await;
    cluster.primary.synchronous("standby").await;
    let people = People::begin(&[cluster.system.url(), cluster.api.url()], 6).await;
    people.work_on(60).await;
    cluster.fail_over_to(standby).await;
    people.work_on(60).await;
    let done = people.finish().await;
    let node = Node::start(&cluster.url()).await;
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_the_fold(&node).await;
    Bus::shared(&node).await.assert_stream_is_the_log(&node).await;
    assert!(!says_that_it_lost(&cluster.system).await, "nothing was lost");
}
