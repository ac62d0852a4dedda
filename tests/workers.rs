//! Workers share the projections out among them: one falls, stops or wakes too late, and nothing is lost, applied twice
//! or undone.

use std::time::Duration;

use projections::dossier::by_id;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::time::sleep;

use crate::support::models::{assert_models_are_as_made_anew, assert_models_are_the_fold, caught_up};
use crate::support::process::Process;
use crate::support::{Node, database_url, eventually, execute};

/// Longer than a lease outlives its worker.
const LEASE: Duration = Duration::from_millis(6500);

/// How many partitions of the dossiers each worker holds, the fewest first.
async fn shares(node: &Node) -> Vec<i64> {
    let query = "select count(*) from projection_leases where projection = 'dossier' and lease_until > now()
                 group by owner order by 1";
    sqlx::query_scalar(query).fetch_all(&node.database.reads).await.unwrap()
}

async fn shared_by(node: &Node, expected: &[i64]) {
    eventually("the partitions are shared out", || async { shares(node).await == expected }).await;
}

/// The positions of all partitions, in a fixed order.
async fn checkpoints(node: &Node) -> Vec<i64> {
    let query = "select position from checkpoints order by projection, partition";
    sqlx::query_scalar(query).fetch_all(&node.database.reads).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_the_partitions_and_one_takes_over_when_the_other_is_killed() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let (first, _second) = (Process::worker(&url).await, Process::worker(&url).await);
    shared_by(&node, &[4, 4]).await;
    node.write(30).await;
    assert_models_are_the_fold(&node).await;
    first.kill();
    node.write(30).await;
    assert_models_are_the_fold(&node).await;
    shared_by(&node, &[8]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_in_order_leaves_its_partitions_to_the_others_at_once() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let (mut first, _second) = (Process::worker(&url).await, Process::worker(&url).await);
    shared_by(&node, &[4, 4]).await;
    first.signal("TERM");
    assert_eq!(first.end().await, Some(0), "{}", first.output());
    let left: i64 = node.ask("select count(*) from projection_workers where projection = 'dossier'").await;
    assert_eq!(left, 1);
    node.write(10).await;
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_wakes_after_another_took_over_changes_nothing() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let zombie = Process::worker(&url).await;
    let writer = tokio::spawn({
        let node = node.clone();
        async move { node.write(20).await }
    });
    shared_by(&node, &[8]).await;
    zombie.signal("STOP");
    writer.await.unwrap();
    let _heir = Process::worker(&url).await;
    sleep(LEASE).await;
    node.write(20).await;
    caught_up(&node).await;
    shared_by(&node, &[8]).await;
    let epochs: i64 = node.ask("select sum(epoch)::bigint from checkpoints").await;
    zombie.signal("CONT");
    let mut before = checkpoints(&node).await;
    for _ in 0..100 {
        node.write(1).await;
        let now = checkpoints(&node).await;
        assert!(before.iter().zip(&now).all(|(before, now)| before <= now), "a checkpoint went back");
        before = now;
    }
    assert_models_are_as_made_anew(&node).await;
    let now: i64 = node.ask("select sum(epoch)::bigint from checkpoints").await;
    assert!(now >= epochs);
    assert!(!zombie.output().contains("has stopped"), "{}", zombie.output());
}

/// Waits until a worker's statement waits for a lock.
async fn blocked_at(node: &Node, statement: &str) {
    let blocked = format!(
        "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
         and pid <> pg_backend_pid() and query like '%{statement}%'"
    );
    // What others do is for the owner to see.
    eventually(&blocked, async || {
        let mut owner = node.database.owner_options().connect().await.unwrap();
        sqlx::query_scalar(&blocked).fetch_one(&mut owner).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_partitions_in_mid_batch_changes_nothing() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let _worker = Process::worker(&url).await;
    let owner = node.applicant().await;
    node.create_dossier(&owner).await;
    caught_up(&node).await;
    let mut rival = PgConnection::connect(&url).await.unwrap();
    let mut taking_over = rival.begin().await.unwrap();
    let hold = "select from checkpoints where projection = 'dossier' order by partition for update";
    taking_over.execute(hold).await.unwrap();
    let lost = node.create_dossier(&owner).await;
    // Its rows are written, and not yet committed.
    blocked_at(&node, "update public.checkpoints").await;
    let take_over =
        format!("update checkpoints set epoch = epoch + 1, position = {} where projection = 'dossier'", lost.position);
    taking_over.execute(take_over.as_str()).await.unwrap();
    taking_over.commit().await.unwrap();
    let next = node.create_dossier(&owner).await;
    caught_up(&node).await;
    // Only the one who holds the partition may apply the event: this rival did not.
    let models = node.models_for(&[domain::Role::Auditor]);
    assert_eq!(by_id(&models, lost.id).await.unwrap().0, None);
    assert!(by_id(&models, next.id).await.unwrap().0.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_mid_batch_loses_no_event_and_applies_none_twice() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let worker = Process::worker(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    caught_up(&node).await;
    let mut blocker = PgConnection::connect(&url).await.unwrap();
    let mut blocking = blocker.begin().await.unwrap();
    blocking.execute("lock table dossier.dossiers in share row exclusive mode").await.unwrap();
    node.retitle(dossier.id, &owner, "The second").await;
    blocked_at(&node, "insert into dossiers").await;
    worker.kill();
    blocking.rollback().await.unwrap();
    let _worker = Process::worker(&url).await;
    // Of another dossier: a third title would hide that the second was lost.
    node.create_dossier(&owner).await;
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stopped_in_mid_batch_holds_nobody_up_for_ever_and_changes_nothing_when_it_wakes() {
    let url = database_url().await;
    let node = Node::start(&url).await;
    let zombie = Process::worker(&url).await;
    let owner = node.applicant().await;
    let dossier = node.create_dossier(&owner).await;
    caught_up(&node).await;
    let mut blocker = PgConnection::connect(&url).await.unwrap();
    let mut blocking = blocker.begin().await.unwrap();
    blocking.execute("lock table dossier.dossiers in share row exclusive mode").await.unwrap();
    node.retitle(dossier.id, &owner, "The second").await;
    blocked_at(&node, "insert into dossiers").await;
    zombie.signal("STOP");
    // Its transaction now holds the row, and nobody goes on with it.
    blocking.rollback().await.unwrap();
    let _heir = Process::worker(&url).await;
    node.retitle(dossier.id, &owner, "The third").await;
    assert_models_are_the_fold(&node).await;
    zombie.signal("CONT");
    node.retitle(dossier.id, &owner, "The fourth").await;
    node.write(10).await;
    assert_models_are_as_made_anew(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_leases_ran_out_while_its_connections_were_lost_goes_on() {
    let url = database_url().await;
    let _worker = Process::worker(&url).await;
    let node = Node::start(&url).await;
    node.write(5).await;
    caught_up(&node).await;
    execute(
        &url,
        "update projection_leases set lease_until = now() - interval '1 second';
         select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .await;
    let node = Node::start(&url).await;
    node.write(5).await;
    assert_models_are_the_fold(&node).await;
}
