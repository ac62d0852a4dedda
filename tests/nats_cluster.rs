//! A cluster of three nats-servers: how many of them keep the stream, and what is reported while they cannot.

use serde_json::Value;

use crate::support::bus::{Bus, NatsCluster};
use crate::support::process::Process;
use crate::support::{Node, database_url, eventually};

async fn readiness(process: &Process) -> Value {
    let Ok(answer) = reqwest::get(format!("{}/health/ready", process.url())).await else { return Value::Null };
    answer.json().await.unwrap_or_default()
}

/// A metric of the process, by its name.
async fn metric(process: &Process, name: &str) -> Option<f64> {
    let text = reqwest::get(format!("{}/metrics", process.url())).await.ok()?.text().await.ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

async fn copies(bus: &Bus) -> usize {
    bus.stream().await.map_or(0, |stream| stream.cached_info().config.num_replicas)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_three_copies_of_the_stream_and_says_when_it_cannot() {
    let (url, mut cluster) = (database_url().await, NatsCluster::start().await);
    let node = Node::start(&url).await;
    let bus = Bus::connect(&cluster.url(), &node).await;
    // A number that is set counts, also for a stream that is there.
    let mut command = Process::command_on(&url, &cluster.url(), &[]);
    command.env("CAPITUNE_NATS_REPLICAS", "1");
    let system = Process::spawn(command).await;
    system.ready().await;
    eventually("the stream is there", || async { copies(&bus).await == 1 }).await;
    system.kill();
    let system = Process::start(&url, &cluster.url(), &[]).await;
    system.ready().await;
    eventually("a cluster keeps three copies", || async { copies(&bus).await == 3 }).await;
    eventually("all is well", || async { readiness(&system).await["nats"] == "ok" }).await;
    // Without a majority the stream has no leader: what is appended is not acknowledged, and shows.
    cluster.kill(0);
    cluster.kill(1);
    let people = system.client().register("Ada").await;
    for _ in 0..20 {
        people.create_dossier("A request").await;
    }
    let trouble = || async { readiness(&system).await };
    eventually("the stream is in trouble", || async { trouble().await["nats"] == "degraded" }).await;
    eventually("the lag is the whole distance", || async {
        metric(&system, "capitune_relay_lag").await.is_some_and(|lag| lag >= 20.0)
    })
    .await;
    cluster.restart(0).await;
    cluster.restart(1).await;
    eventually("the lag is worked off", || async { metric(&system, "capitune_relay_lag").await == Some(0.0) }).await;
    eventually("all is well again", || async { readiness(&system).await["nats"] == "ok" }).await;
    let bus = Bus::connect(&cluster.url_of(2), &node).await;
    bus.assert_stream_is_the_log(&node).await;
}
