//! How soon a commit is visible: from a command's answer until the dossier read model has applied its event, in a
//! whole system, idle and at half of the load that it can bear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use commands::Commands;
use event_store::{Database, EventStore};
use projections::{NAMES, Projections, ReadPositions, Relay, Scope};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::measure::{Figure, Pace};
use crate::report::{Goal, Report, latency, number};
use crate::servers::Servers;
use crate::write_side::{edit_once, open, pick, run, streams};

const CALLERS: usize = 32;
const STREAMS: usize = 1000;
const SAMPLES: usize = 400;
/// Between two samples, so that an idle system is idle again.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// The whole system in this process, but for HTTP.
struct System {
    commands: Commands,
    positions: ReadPositions,
    ids: Arc<Vec<Uuid>>,
}

/// Both measurements.
pub async fn measure(report: &mut Report, servers: &Servers, pace: Pace) {
    let (_, database, store) = servers.store("visibility").await;
    let nats = servers.nats().await;
    let stop = CancellationToken::new();
    let relay = Relay::start(store.clone(), &database, nats.clone(), None, stop.clone());
    let positions = ReadPositions::start(&database, stop.clone());
    let projections = Projections::start(&NAMES, &store, &database, nats, positions.clone(), stop.clone());
    let system = System::start(&database, &store, positions, pace).await;
    system.judge(report, pace).await;
    stop.cancel();
    projections.stopped().await;
    relay.stopped().await;
}

impl System {
    async fn start(database: &Database, store: &EventStore, positions: ReadPositions, pace: Pace) -> Self {
        let commands = open(database, store).await;
        let ids = streams(&commands, STREAMS / pace.scale, 4).await;
        let system = Self { commands, positions, ids };
        system.settle().await;
        system
    }

    async fn judge(&self, report: &mut Report, pace: Pace) {
        sleep(Duration::from_secs(1)).await;
        let idle = self.sample(pace).await;
        let goal = Goal::within("P8", Duration::from_millis(5), idle.p50);
        report.value("idle: p50", latency(idle.p50), Some(goal));
        let goal = Goal::within("P8", Duration::from_millis(25), idle.p99);
        report.value("idle: p99", latency(idle.p99), Some(goal));
        let full = run(&self.commands, &self.ids, CALLERS, pace.time).await;
        let catching_up = self.settle().await;
        let what = format!("after full load ({} commands/s): caught up", number(full.rate));
        report.value(&what, latency(catching_up), None);
        let half = full.rate / 2.0;
        let background = self.background(half);
        let loaded = self.sample(pace).await;
        background.cancel();
        let what = format!("at half load ({} commands/s): p50", number(half));
        report.value(&what, latency(loaded.p50), None);
        let goal = Goal::within("P8", Duration::from_millis(100), loaded.p99);
        report.value("at half load: p99", latency(loaded.p99), Some(goal));
    }

    /// Commands one at a time, and how long each stays invisible.
    async fn sample(&self, pace: Pace) -> Figure {
        let mut latencies = Vec::with_capacity(SAMPLES);
        let started = Instant::now();
        for number in 0..SAMPLES / pace.scale {
            let id = pick(&self.ids, CALLERS, number);
            let position = edit_once(&self.commands, id).await;
            let committed = Instant::now();
            self.visible(Scope::Key(id), position).await;
            latencies.push(committed.elapsed());
            sleep(PAUSE).await;
        }
        Figure::from_latencies(latencies, started.elapsed())
    }

    /// Commands at a steady rate, until it is cancelled.
    fn background(&self, rate: f64) -> CancellationToken {
        let stop = CancellationToken::new();
        for caller in 0..CALLERS {
            let (commands, ids, stop) = (self.commands.clone(), self.ids.clone(), stop.clone());
            let mut tick = interval(Duration::from_secs_f64(CALLERS as f64 / rate));
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            tokio::spawn(async move {
                for number in 0.. {
                    if stop.run_until_cancelled(tick.tick()).await.is_none() {
                        break;
                    }
                    edit_once(&commands, pick(&ids, caller, number)).await;
                }
            });
        }
        stop
    }

    /// Waits until everything is visible; how long that took.
    async fn settle(&self) -> Duration {
        let started = Instant::now();
        let position = edit_once(&self.commands, self.ids[0]).await;
        self.visible(Scope::All, position).await;
        started.elapsed()
    }

    async fn visible(&self, scope: Scope, position: u64) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        self.positions.wait("dossier", scope, position, deadline).await.unwrap();
    }
}
