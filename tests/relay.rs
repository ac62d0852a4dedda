//! The relay: a message's sequence is its event's position, whatever is done to JetStream.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::bus::{Bus, NatsServer};
use crate::support::models::assert_models_are_the_fold;
use crate::support::people::{People, assert_applied_once};
use crate::support::process::Process;
use crate::support::{Node, PATIENCE, database_url, execute, servers, whole_log};

/// Of the relay that leads.
const LEAD: &str = "from pg_locks where locktype = 'advisory' and granted
                    and (classid::bigint << 32 | objid::bigint) = 4701966824
                    and database = (select oid from pg_database where datname = current_database())";
/// `wrong last sequence`.
const WRONG_LAST_SEQUENCE: u64 = 10071;
/// As long as a client lets pass between two pings.
const STUCK: Duration = Duration::from_secs(60);

async fn start_relay(url: &str) -> Process {
    Process::start(url, &servers().await.nats_url, &["relay"]).await
}

async fn create_dossiers(node: &Node, number: usize) {
    let owner = node.applicant().await;
    let tasks = (0..number).map(|_| {
        let node = node.clone();
        tokio::spawn(async move { node.create_dossier(&owner).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_that_publish_at_once_leave_no_gap_and_no_duplicate() {
    let url = database_url().await;
    let relays = [start_relay(&url).await, start_relay(&url).await];
    let node = Node::start(&url).await;
    let bus = Bus::shared(&node).await;
    let started = Instant::now();
    let said = |what: &str| relays.iter().filter(|relay| relay.output().contains(what)).count();
    // Until both have led, and one was told that the other was faster.
    while said("the relay leads") < 2 || said("code 10071") == 0 {
        assert!(started.elapsed() < PATIENCE, "they never met");
        create_dossiers(&node, 60).await;
        // The one that leads loses its lock and does not know yet; the other takes the lead and publishes as well.
        execute(&url, &format!("select pg_terminate_backend(pid) {LEAD}")).await;
        sleep(Duration::from_millis(rand::random_range(0..400))).await;
    }
    bus.assert_stream_is_the_log(&node).await;
    let first = bus.stream().await.unwrap().cached_info().state.first_sequence;
    assert_eq!(first, 1, "the stream was made anew, although nothing was wrong with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_behind_is_refused_by_the_stream() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let bus = Bus::shared(&node).await;
    let _relay = start_relay(&url).await;
    create_dossiers(&node, 20).await;
    bus.published(&node).await;
    let log = whole_log(&node.store).await;
    for stale in [&log[0], &log[10], &log[19]] {
        let mut headers = bus.headers(stale);
        headers.insert("Nats-Expected-Last-Sequence", (stale.position - 1).to_string());
        let payload = serde_json::to_string(stale).unwrap();
        let answer = bus.publish(bus.subject(stale), headers, payload).await;
        assert_eq!(answer["error"]["err_code"], WRONG_LAST_SEQUENCE, "{answer:#}");
    }
    bus.assert_stream_is_the_log(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_purged_a_moment_ago_is_filled_again_completely() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let bus = Bus::shared(&node).await;
    let relay = start_relay(&url).await;
    create_dossiers(&node, 150).await;
    bus.published(&node).await;
    relay.kill();
    bus.stream().await.unwrap().purge().await.unwrap();
    // No projection has run yet: everything is still needed.
    let _relay = start_relay(&url).await;
    create_dossiers(&node, 5).await;
    bus.assert_stream_is_the_log(&node).await;
    let state = bus.stream().await.unwrap().cached_info().state.clone();
    assert_eq!((state.first_sequence, state.messages), (1, 155));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_the_stream_commands_and_reads_go_on_and_the_models_are_the_fold() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let node = Node::start(&url).await;
    let bus = Bus::shared(&node).await;
    let people = People::begin(&[system.url()], 4).await;
    for _ in 0..2 {
        people.work_on(30).await;
        bus.context.delete_stream(bus.name()).await.unwrap();
        people.work_on(30).await;
        with_stream(&bus, async |stream| stream.purge().await.unwrap().success).await;
        people.work_on(30).await;
        with_stream(&bus, async |stream| {
            let state = &stream.cached_info().state;
            state.messages < 10 || stream.delete_message(state.last_sequence - 3).await.unwrap_or(true)
        })
        .await;
        people.work_on(30).await;
        publish_foreign(&bus, &node).await;
    }
    people.work_on(50).await;
    let done = people.finish().await;
    assert_eq!(done.unread, 0, "reads went unanswered");
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_the_fold(&node).await;
    bus.assert_stream_is_the_log(&node).await;
}

async fn with_stream(bus: &Bus, change: impl AsyncFn(async_nats::jetstream::stream::Stream) -> bool) {
    loop {
        if let Some(stream) = bus.stream().await {
            return assert!(change(stream).await);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// What is no event, and an event of the log a second time, each at the sequence of the next event.
async fn publish_foreign(bus: &Bus, node: &Node) {
    let event = node.store.read_log(0, 1).await.unwrap().remove(0);
    let copy = serde_json::to_string(&event).unwrap();
    for payload in ["this is no event".to_owned(), copy] {
        let published = |answer: &Value| answer["seq"].as_u64().is_some();
        let subject = bus.subject(&event);
        let answer = bus.publish(subject, bus.headers(&event), payload).await;
        assert!(published(&answer), "{answer:#}");
        sleep(Duration::from_millis(rand::random_range(0..100))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_stopped_killed_and_restarted_empty_costs_freshness_only() {
    let url = database_url().await;
    let mut nats = NatsServer::start().await;
    let system = Process::start(&url, &nats.url(), &[]).await;
    system.ready().await;
    let people = People::begin(&[system.url()], 4).await;
    people.work_on(40).await;

    nats.signal("STOP");
    people.work_on(60).await;
    sleep(STUCK).await;
    people.work_on(60).await;
    nats.signal("CONT");
    people.work_on(60).await;

    for emptied in [false, true, true] {
        nats.kill();
        people.work_on(40).await;
        nats.restart(emptied).await;
        people.work_on(60).await;
    }
    let done = people.finish().await;
    assert_eq!(done.unread, 0, "reads went unanswered");
    let node = Node::start(&url).await;
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_the_fold(&node).await;
    Bus::connect(&nats.url(), &node).await.assert_stream_is_the_log(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_end_is_completed() {
    let url = database_url().await;
    let mut nats = NatsServer::start().await;
    let node = Node::start(&url).await;
    let bus = Bus::connect(&nats.url(), &node).await;
    let _relay = Process::start(&url, &nats.url(), &["relay"]).await;
    create_dossiers(&node, 60).await;
    bus.published(&node).await;
    nats.kill();
    let earlier = nats.copy_of_store();
    nats.restart(false).await;
    create_dossiers(&node, 60).await;
    bus.published(&node).await;
    nats.kill();
    nats.restart_on(earlier).await;
    bus.assert_stream_is_the_log(&node).await;
    let state = bus.stream().await.unwrap().cached_info().state.clone();
    assert_eq!((state.first_sequence, state.messages), (1, 120));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_never_finds_a_nats_server_accepts_commands_and_answers_reads() {
    let url = database_url().await;
    let mut nats = NatsServer::start().await;
    let nats_url = nats.url();
    nats.kill();
    let system = Process::start(&url, &nats_url, &[]).await;
    system.ready().await;
    let health = system.client().get("/health/ready").await.expect(200);
    assert_eq!((&health.body["status"], &health.body["nats"]), (&"degraded".into(), &"degraded".into()));
    let people = People::begin(&[system.url()], 2).await;
    people.work_on(20).await;
    let done = people.finish().await;
    assert_eq!(done.unread, 0, "reads went unanswered");
    let node = Node::start(&url).await;
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_the_fold(&node).await;
}
