//! Migrations beside people at work: builds come and go, and nobody is held up or turned away.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tokio::time::sleep;

use crate::support::models::assert_models_are_the_fold;
use crate::support::people::{People, assert_applied_once};
use crate::support::process::Process;
use crate::support::{Node, database_url, execute, servers, with_database};

async fn start(url: &str) -> Process {
    Process::start(url, &servers().await.nats_url, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_and_dies_holds_nobody_up_and_is_made_by_the_next() {
    let url = database_url().await;
    let old = Process::api(&url, &[]).await;
    let people = People::begin(&[old.url()], 2).await;
    // Nothing that people do needs the last migration.
    execute(&url, "drop table break_glass; delete from _sqlx_migrations where version = 36").await;
    let mut reader = PgConnection::connect(&url).await.unwrap();
    // However long the people below take: the server would end an idle transaction.
    reader.execute("set idle_in_transaction_session_timeout = 0").await.unwrap();
    reader.execute("begin; lock table _sqlx_migrations in share mode").await.unwrap();
    let new = start(&url).await;
    people.work_on(60).await;
    // Longer than it may wait for a lock.
    sleep(Duration::from_secs(7)).await;
    assert!(!new.is_ready().await);
    assert!(new.output().contains("wait for a table that is in use"), "{}", new.output());
    new.kill();
    people.work_on(60).await;
    let next = start(&url).await;
    reader.execute("rollback").await.unwrap();
    next.ready().await;
    people.work_on(60).await;
    let done = people.finish().await;
    assert_eq!(done.unread, 0, "reads went unanswered");
    let node = Node::start(&url).await;
    assert_eq!(node.ask::<i64>("select count(*) from break_glass").await, 0);
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_build_starts_beside_a_newer_one() {
    let url = database_url().await;
    execute(
        &url,
        "alter table checkpoints add column of_the_next_build text;
         insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9000, 'of the next build', true, '', 1)",
    )
    .await;
    let older = Process::api(&url, &[]).await;
    let people = People::begin(&[older.url()], 2).await;
    people.work_on(20).await;
    let done = people.finish().await;
    let node = Node::start(&url).await;
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_the_fold(&node).await;
    // What was applied and is not what this build knows is another matter.
    execute(&url, "update _sqlx_migrations set checksum = 'x' where version = 3").await;
    let mut refused = start(&url).await;
    assert_ne!(refused.end().await, Some(0));
    assert!(refused.output().contains("cannot be migrated"), "{}", refused.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_and_are_killed_leave_a_whole_schema() {
    let base = &servers().await.database_url;
    execute(base, "create database killed_in_mid_migration").await;
    let url = with_database(base, "killed_in_mid_migration");
    for _ in 0..8 {
        let both = [start(&url).await, start(&url).await];
        sleep(Duration::from_millis(rand::random_range(0..800))).await;
        both.into_iter().for_each(Process::kill);
    }
    let (one, other) = (start(&url).await, start(&url).await);
    one.ready().await;
    other.ready().await;
    let schema = |url: &str| {
        let dump = std::process::Command::new("pg_dump").args(["--schema-only", "--no-owner"]).arg(url).output();
        let dump = String::from_utf8(dump.unwrap().stdout).unwrap();
        // Newer versions of the program make up a key for each dump.
        dump.lines().filter(|line| !line.contains("restrict")).map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = schema(&with_database(base, "template_capitune"));
    assert!(whole.len() > 1_000);
    assert_same_lines(&schema(&url), &whole);
}

/// Names the first line that differs, which a comparison of the whole would drown.
fn assert_same_lines(made: &[String], whole: &[String]) {
    let differing = made.iter().zip(whole).find(|(made, whole)| made != whole);
    assert_eq!(differing, None);
    assert_eq!(made.len(), whole.len());
}
