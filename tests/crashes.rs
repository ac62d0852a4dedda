//! Killed at random moments under load: no acknowledged command is lost, none is applied twice, the read models are
//! the fold of the log.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::bus::Bus;
use crate::support::data_directory::DataDirectory;
use crate::support::models::assert_models_are_as_made_anew;
use crate::support::people::{People, assert_applied_once};
use crate::support::process::Process;
use crate::support::{Node, database_url, servers};

async fn a_moment() {
    sleep(Duration::from_millis(rand::random_range(0..300))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_system_killed_loses_nothing_and_applies_nothing_twice() {
    let directory = DataDirectory::new();
    let mut system = directory.start().await;
    let people = People::begin(&[system.url()], 6).await;
    for round in 0..5 {
        people.work_on(25).await;
        a_moment().await;
        match round {
            // Asked to end, it ends in order under load as well.
            2 => {
                system.signal("TERM");
                assert_eq!(system.end().await, Some(0), "{}", system.output());
            }
            _ => system.kill(),
        }
        if round % 2 == 0 {
            directory.kill_processes();
        }
        system = directory.start().await;
        people.move_to(&[system.url()]);
    }
    people.work_on(25).await;
    let done = people.finish().await;
    let node = directory.node().await;
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_as_made_anew(&node).await;
    system.signal("TERM");
    assert_eq!(system.end().await, Some(0), "{}", system.output());
    assert_eq!(directory.processes(), [0; 0], "left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_servers_killed_lose_nothing_and_come_back() {
    let directory = DataDirectory::new();
    let system = directory.start().await;
    let people = People::begin(&[system.url()], 6).await;
    for _ in 0..3 {
        people.work_on(25).await;
        a_moment().await;
        directory.kill_processes();
    }
    people.work_on(25).await;
    let done = people.finish().await;
    let node = directory.node().await;
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_as_made_anew(&node).await;
    Bus::connect(&directory.attached().nats_url, &node).await.assert_stream_is_the_log(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_system_that_was_killed() {
    let directory = DataDirectory::new();
    let system = directory.start().await;
    assert!(directory.processes().len() > 2);
    system.kill();
    directory.is_left().await;
}

/// Kills the process of one role again and again, while those of the others go on.
async fn kill(role: &str, rounds: usize) {
    let url = database_url().await;
    let nats_url = &servers().await.nats_url;
    let mut others = Vec::new();
    for other in ["api", "relay", "worker"].into_iter().filter(|other| *other != role) {
        others.push(Process::start(&url, nats_url, &[other]).await);
    }
    let mut victim = Process::start(&url, nats_url, &[role]).await;
    let api = |victim: &Process| if role == "api" { victim.url() } else { others[0].url() };
    if role == "api" {
        victim.ready().await
    } else {
        others[0].ready().await
    };
    let people = People::begin(&[api(&victim)], 6).await;
    for _ in 0..rounds {
        people.work_on(25).await;
        a_moment().await;
        victim.kill();
        victim = Process::start(&url, nats_url, &[role]).await;
        people.move_to(&[api(&victim)]);
    }
    people.work_on(25).await;
    let done = people.finish().await;
    let node = Node::start(&url).await;
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_as_made_anew(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_process_killed_loses_nothing_and_applies_nothing_twice() {
    kill("api", 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_process_killed_leaves_no_gap() {
    kill("relay", 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_process_killed_loses_no_event_and_applies_none_twice() {
    kill("worker", 3).await;
}
