//! Partitions, by direction: what is said, or what is answered, is held up for a while or again and again.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::support::bus::{Bus, NatsServer};
use crate::support::client::{Answer, Client};
use crate::support::models::assert_models_are_the_fold;
use crate::support::people::{People, Sent, assert_applied_once};
use crate::support::process::Process;
use crate::support::proxy::{Proxy, Way};
use crate::support::{Node, database_url};

/// Longer than any deadline on the way to Postgres.
const LONG: Duration = Duration::from_secs(12);
const SHORT: Duration = Duration::from_millis(200);

async fn flap(proxy: &Proxy, way: Way) {
    for held in [true, false].repeat(10) {
        proxy.hold(way, held);
        sleep(SHORT).await;
    }
}

async fn retitle(client: &Client, dossier: &Answer, title: &str) -> Answer {
    let request = client.request(Method::PUT, &format!("/api/dossiers/{}", dossier.id()));
    client.send(request.header("Idempotency-Key", title.replace(" ", "-")).json(&json!({ "title": title }))).await
}

fn sent(title: &str, answer: &Answer) -> Sent {
    let version = answer.body["version"].as_u64().unwrap();
    Sent { title: title.to_owned(), id: answer.id(), version, position: answer.position() }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_cut_off_from_postgres_says_so_and_what_arrives_late_changes_nothing() {
    let url = database_url().await;
    let (proxy, held_up) = Proxy::start(&url).await;
    let cut_off = Process::api(&held_up, &[]).await;
    let other = Process::api(&url, &[]).await;
    let ada = cut_off.client().register("Ada").await;
    let dossier = ada.create_dossier("A request").await;
    let mut edits = vec![sent("A request", &dossier)];
    let people = People::begin(&[cut_off.url(), other.url()], 4).await;
    people.work_on(40).await;
    for (way, title) in [(Way::Requests, "Held on the way"), (Way::Answers, "Answered in vain")] {
        people.move_to(&[other.url()]);
        proxy.hold(way, true);
        let unknown = retitle(&ada, &dossier, title).await;
        assert_eq!(unknown.status, 503, "{:#}", unknown.body);
        people.work_on(40).await;
        // The key leads to the one outcome, wherever it is sent.
        let settled = retitle(&ada.at(&other.url()), &dossier, title).await.expect(200);
        edits.push(sent(title, &settled));
        sleep(LONG).await;
        proxy.hold(way, false);
        people.move_to(&[cut_off.url(), other.url()]);
        people.work_on(40).await;
        flap(&proxy, way).await;
        people.work_on(40).await;
        assert_eq!(retitle(&ada, &dossier, title).await.expect(200).position(), settled.position());
    }
    edits.extend(people.finish().await.sent);
    let node = Node::start(&url).await;
    assert_applied_once(&node, &edits).await;
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_up_to_or_from_nats_costs_freshness_only() {
    let url = database_url().await;
    let nats = NatsServer::start().await;
    let (proxy, held_up) = Proxy::of_nats(&nats.url()).await;
    let cut_off = Process::start(&url, &held_up, &[]).await;
    cut_off.ready().await;
    let other = Process::start(&url, &nats.url(), &[]).await;
    other.ready().await;
    let people = People::begin(&[cut_off.url(), other.url()], 4).await;
    people.work_on(40).await;
    for way in [Way::Requests, Way::Answers] {
        proxy.hold(way, true);
        people.work_on(60).await;
        sleep(LONG).await;
        people.work_on(60).await;
        proxy.hold(way, false);
        people.work_on(60).await;
        flap(&proxy, way).await;
        people.work_on(60).await;
    }
    let done = people.finish().await;
    assert_eq!(done.unread, 0, "reads went unanswered");
    let node = Node::start(&url).await;
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_the_fold(&node).await;
    Bus::connect(&nats.url(), &node).await.assert_stream_is_the_log(&node).await;
}
