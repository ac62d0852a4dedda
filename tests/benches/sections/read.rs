//! The read side: relay, live projection, rebuild, and how soon a commit is visible.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use event_store::{APPENDED, Database, EventStore};
use futures::StreamExt;
use projections::{Projections, ReadPositions, Relay, Scope};
use sqlx::postgres::PgPoolCopyExt;
use tokio_util::sync::CancellationToken;

use crate::fill;
use crate::measure::{Figure, Pace, median};
use crate::report::{Goal, Report, number, rate, thousands};
use crate::servers::{Servers, execute};
use crate::visibility;

const EVENTS: usize = 200_000;
/// Dossiers whose events are committed at once while the live projection is measured: 1,000 events.
const LIVE_DOSSIERS: usize = 200;
const DOSSIER: &str = "dossier";
const PATIENCE: Duration = Duration::from_secs(120);

/// The read side of one database.
struct ReadSide {
    url: String,
    database: Database,
    store: EventStore,
    nats: async_nats::Client,
}

/// The whole section.
pub async fn measure(report: &mut Report, servers: &Servers, pace: Pace) {
    report.section("The read side");
    let (url, database, store) = servers.store("read_side").await;
    let side = ReadSide { url, database, store, nats: servers.nats().await };
    report.progress("filling a log");
    fill::append(&side.database, &side.store, EVENTS / pace.scale).await;
    side.relay(report, pace).await;
    side.projection(report, pace).await;
    side.rebuild(report, pace).await;
    report.section("From the commit until the read model shows it");
    visibility::measure(report, servers, pace).await;
}

impl ReadSide {
    /// Publishes the whole log, each time into a stream made anew.
    async fn relay(&self, report: &mut Report, pace: Pace) {
        let head = self.store.head().await.unwrap();
        let mut figures = Vec::new();
        for _ in 0..pace.rounds {
            self.delete_streams().await;
            let stop = CancellationToken::new();
            let started = Instant::now();
            let relay = Relay::start(self.store.clone(), &self.database, self.nats.clone(), None, stop.clone());
            reach(&relay, head).await;
            figures.push(Figure::of(head, started.elapsed()));
            stop.cancel();
            relay.stopped().await;
        }
        let figure = median(&figures);
        let goal = Goal::at_least("P9", 50_000.0, "/s", figure.rate);
        report.value("relay: events published", rate(figure), Some(goal));
    }

    async fn delete_streams(&self) {
        let context = jetstream::new(self.nats.clone());
        let names: Vec<_> = context.stream_names().collect().await;
        for name in names {
            context.delete_stream(name.unwrap()).await.unwrap();
        }
    }

    /// One worker: first the log as it stands, then events as they are committed, relayed and delivered.
    async fn projection(&self, report: &mut Report, pace: Pace) {
        let stop = CancellationToken::new();
        let relay = Relay::start(self.store.clone(), &self.database, self.nats.clone(), None, stop.clone());
        let head = self.store.head().await.unwrap();
        reach(&relay, head).await;
        let positions = ReadPositions::start(&self.database, stop.clone());
        let started = Instant::now();
        let projections = Projections::start(
            &[DOSSIER],
            &self.store,
            &self.database,
            self.nats.clone(),
            positions.clone(),
            stop.clone(),
        );
        self.applied(&positions, head).await;
        let catching_up = Figure::of(head, started.elapsed());
        report.value("one worker catching up: events applied", rate(catching_up), None);
        let mut figures = Vec::new();
        for _ in 0..pace.rounds {
            figures.push(self.live(&positions, EVENTS / 4 / pace.scale).await);
        }
        let figure = median(&figures);
        let goal = Goal::at_least("P10", 20_000.0, "/s", figure.rate);
        let what = "one worker, live (commit, relay, JetStream, rows): events applied";
        report.value(what, rate(figure), Some(goal));
        stop.cancel();
        projections.stopped().await;
        relay.stopped().await;
    }

    async fn live(&self, positions: &ReadPositions, events: usize) -> Figure {
        let blocks = fill::blocks(&self.store, events, LIVE_DOSSIERS).await;
        let count: usize = blocks.iter().map(|block| block.events).sum();
        let mut head = self.store.head().await.unwrap();
        let started = Instant::now();
        for block in blocks {
            head += block.events as u64;
            fill::write(&self.database, block).await;
            sqlx::query("select pg_notify($1, $2)")
                .bind(APPENDED)
                .bind(head.to_string())
                .execute(&self.database.writes)
                .await
                .unwrap();
        }
        self.applied(positions, head).await;
        Figure::of(count as u64, started.elapsed())
    }

    async fn applied(&self, positions: &ReadPositions, head: u64) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        positions.wait(DOSSIER, Scope::All, head, deadline).await.unwrap();
    }

    /// Rebuilds the dossier read model, and copies the rows that came out of it into tables like its own.
    async fn rebuild(&self, report: &mut Report, pace: Pace) {
        let head = self.store.head().await.unwrap();
        let stop = CancellationToken::new();
        let (mut rebuilds, mut copies, mut rows) = (Vec::new(), Vec::new(), 0);
        for _ in 0..pace.rounds {
            let started = Instant::now();
            let rebuilt = projections::rebuild(DOSSIER, &self.store, &self.database, &stop, &|_, _| {});
            assert_eq!(rebuilt.await.unwrap().position, head);
            let elapsed = started.elapsed();
            let (copied, copying) = self.copy().await;
            rows = copied;
            rebuilds.push((Figure::of(head, elapsed), Figure::of(rows, elapsed)));
            copies.push(Figure::of(rows, copying));
        }
        let (events, rebuilt): (Vec<_>, Vec<_>) = rebuilds.into_iter().unzip();
        let (events, rebuilt, copied) = (median(&events), median(&rebuilt), median(&copies));
        let goal = Goal::at_least("P11", 50_000.0, "/s", events.rate);
        report.value("rebuild of the dossier read model: events", rate(events), Some(goal));
        let theirs = format!("COPY of the same rows into the same tables: {}", rate(copied));
        let ratio = events.rate / copied.rate;
        let goal = Goal::at_least("P11", 0.5, "", ratio);
        report.row("the same", rate(events), theirs.clone(), number(ratio), Some(goal));
        let ratio = number(rebuilt.rate / copied.rate);
        let what = format!("the same, counting only the {} rows that remain", thousands(rows));
        report.row(&what, rate(rebuilt), theirs, ratio, None);
    }

    async fn copy(&self) -> (u64, Duration) {
        const COLUMNS: &str = "id, owner_id, organization_id, category, title, description, fields, status, origin, \
                               reviewer_id, open_change_request, decision, archived, version, created_at, \
                               updated_at, submitted_at, decided_at";
        let out = format!("copy dossier.dossiers ({COLUMNS}) to stdout");
        let mut rows = Vec::new();
        let mut lines = self.database.writes.copy_out_raw(&out).await.unwrap();
        while let Some(line) = lines.next().await {
            rows.extend_from_slice(&line.unwrap());
        }
        execute(&self.url, "drop table if exists copied; create table copied (like dossier.dossiers including all)")
            .await;
        let into = format!("copy copied ({COLUMNS}) from stdin");
        let started = Instant::now();
        let mut copy = self.database.writes.copy_in_raw(&into).await.unwrap();
        copy.send(rows).await.unwrap();
        let copied = copy.finish().await.unwrap();
        (copied, started.elapsed())
    }
}

async fn reach(relay: &Relay, head: u64) {
    let mut status = relay.status();
    let reached = status.wait_for(|status| status.connected && status.position >= head);
    tokio::time::timeout(PATIENCE, reached).await.expect("the relay publishes").unwrap();
}
