//! Evidence: sealing the log, verifying it, and proofs.

use std::time::Instant;

use event_store::audit::Sealer;
use event_store::{Database, EventStore};
use futures::StreamExt;
use sqlx::postgres::PgPoolCopyExt;

use crate::fill;
use crate::measure::{Figure, Pace, median};
use crate::report::{Goal, Report, number, rate};
use crate::servers::Servers;

const EVENTS: usize = 1_000_000;
const PROOFS: u64 = 1000;

/// The whole section.
pub async fn measure(report: &mut Report, servers: &Servers, pace: Pace) {
    report.section("Evidence");
    let (_, database, store) = servers.store("audit").await;
    report.progress("filling a log");
    fill::append(&database, &store, EVENTS / pace.scale).await;
    let head = store.head().await.unwrap();
    let started = Instant::now();
    Sealer::new(store.clone()).seal().await.unwrap();
    report.value("the sealer, catching up: events", rate(Figure::of(head, started.elapsed())), None);
    let (mut verified, mut copied, mut proofs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pace.rounds {
        verified.push(verify(&store, head).await);
        copied.push(copy(&database, head).await);
        proofs.push(prove(&store, head).await);
    }
    let (verified, copied) = (median(&verified), median(&copied));
    let goal = Goal::at_least("P13", 300_000.0, "/s", verified.rate);
    report.value("verifying the log against its heads: events", rate(verified), Some(goal));
    let ratio = number(verified.rate / copied.rate);
    let theirs = format!("COPY of the log to nowhere: {}", rate(copied));
    report.row("the same", rate(verified), theirs, ratio, None);
    report.value("proofs that an event is under a head, one after the other", rate(median(&proofs)), None);
}

async fn verify(store: &EventStore, head: u64) -> Figure {
    let started = Instant::now();
    let verified = store.verify_log(&[], &[], |_, _| {}).await.unwrap();
    assert!(verified.is_intact() && verified.sealed == head, "{verified:?}");
    Figure::of(head, started.elapsed())
}

async fn copy(database: &Database, head: u64) -> Figure {
    let started = Instant::now();
    let mut lines = database.reads.copy_out_raw("copy events to stdout (format binary)").await.unwrap();
    while let Some(line) = lines.next().await {
        line.unwrap();
    }
    Figure::of(head, started.elapsed())
}

async fn prove(store: &EventStore, head: u64) -> Figure {
    let started = Instant::now();
    for number in 0..PROOFS {
        store.prove_inclusion(1 + number * (head - 1) / PROOFS, head).await.unwrap();
    }
    Figure::of(PROOFS, started.elapsed())
}
