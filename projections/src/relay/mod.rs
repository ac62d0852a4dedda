//! The relay: publishes the log to JetStream, where a message's sequence is its event's position. The stream's last
//! sequence is the relay's only checkpoint, and the expected one in every message fences off a second relay.

mod health;
mod publish;
mod replicas;
mod stream;

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, jetstream};
use event_store::{APPENDED, Database, EventStore, StoreError};
use futures::future::join;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::listen::listen;
pub use health::stream_trouble;
use publish::Publisher;
use replicas::Replicas;

/// After as many events as this the next ones are let gather this long: fewer, larger batches leave the commands their
/// share of the machine.
const BUSY: u64 = 8;
const BUSY_PACE: Duration = Duration::from_millis(10);
/// Covers wake-ups that were lost.
const POLL: Duration = Duration::from_millis(500);
/// How often a relay that stands by asks whether it may lead.
const STAND_BY: Duration = Duration::from_secs(1);
/// How often the lag is reported, whatever else the relay is doing.
const REPORT_EVERY: Duration = Duration::from_secs(1);
const LEADER_CHECK: Duration = Duration::from_secs(1);
/// The advisory lock of the relay that leads.
const LEADER: i64 = 4_701_966_824;

/// What the relay is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayStatus {
    /// Whether NATS is there.
    pub connected: bool,
    /// Whether this process's relay is the one that publishes.
    pub leading: bool,
    /// The last position that it saw acknowledged.
    pub position: u64,
    /// [`event_store::Continuity::losses`] when it last compared the stream with the log.
    pub losses: u64,
}

/// Why publishing was interrupted; it starts over with a look at the stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("NATS is away")]
    Away,
    #[error("nats-server {0} is too old: 2.10 or newer is required")]
    TooOld(String),
    #[error("the stream could not be {0}: {1}")]
    Stream(&'static str, String),
    #[error("the event at {0} was not accepted: {1}")]
    Refused(u64, String),
    #[error("this relay no longer leads")]
    Deposed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The relay of one process.
pub struct Relay {
    status: watch::Receiver<RelayStatus>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Starts to publish until `cancel`, whenever NATS is there and no other relay leads, to a stream that `replicas`
    /// nats-servers keep; as many as the cluster allows when no number is given.
    pub fn start(
        store: EventStore,
        database: &Database,
        client: Client,
        replicas: Option<usize>,
        cancel: CancellationToken,
    ) -> Self {
        let (appended, head) = watch::channel(0);
        listen(database, APPENDED, cancel.clone(), move |payload| {
            appended.send_replace(payload.parse().unwrap_or(0));
        });
        let status = watch::Sender::new(RelayStatus::default());
        let receiver = status.subscribe();
        let reporting = report_lag(store.clone(), receiver.clone());
        let replicas = Replicas::new(replicas);
        let leader = Leader { store, database: database.clone(), client, replicas, status, head };
        let task = tokio::spawn(async move {
            cancel.run_until_cancelled(join(leader.run(), reporting)).await;
        });
        Self { status: receiver, task }
    }

    /// What it is doing, as it changes.
    pub fn status(&self) -> watch::Receiver<RelayStatus> {
        self.status.clone()
    }

    /// Resolves when it has stopped.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the relay ended unexpectedly");
        }
    }
}

struct Leader {
    store: EventStore,
    database: Database,
    client: Client,
    replicas: Replicas,
    status: watch::Sender<RelayStatus>,
    head: watch::Receiver<u64>,
}

impl Leader {
    async fn run(mut self) {
        loop {
            match self.elect().await {
                Ok(Some(mut lock)) => self.lead(&mut lock).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the relay could not ask for the lead"),
            }
            self.set(|status| status.leading = false);
            sleep(STAND_BY.mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }

    /// For economy only: two relays at once would be kept apart by the stream itself.
    async fn elect(&self) -> Result<Option<PgConnection>, StoreError> {
        let mut connection = self.database.connect_options().connect().await?;
        let won: bool =
            sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LEADER).fetch_one(&mut connection).await?;
        Ok(won.then_some(connection))
    }

    /// Publishes until the lead is lost.
    async fn lead(&mut self, lock: &mut PgConnection) {
        tracing::info!("the relay leads");
        self.set(|status| status.leading = true);
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            let started = Instant::now();
            let Err(error) = self.publish(lock).await;
            self.set(|status| status.connected = self.client.connection_state() == State::Connected);
            match error {
                RelayError::Deposed => return tracing::warn!("the relay lost the lead"),
                RelayError::Away => tracing::debug!("the relay waits for NATS"),
                RelayError::TooOld(_) => tracing::error!(%error, "nothing is published"),
                error => tracing::warn!(%error, "the relay starts over"),
            }
            if started.elapsed() > Duration::from_secs(5) {
                backoff.reset();
            }
            if !is_alive(lock).await {
                return tracing::warn!("the relay lost the lead");
            }
            sleep(backoff.pause()).await;
        }
    }

    async fn publish(&mut self, lock: &mut PgConnection) -> Result<std::convert::Infallible, RelayError> {
        if self.client.connection_state() != State::Connected {
            return Err(RelayError::Away);
        }
        if !self.client.is_server_compatible(2, 10, 0) {
            return Err(RelayError::TooOld(self.client.server_info().version));
        }
        let connects = self.connects();
        let mut context = jetstream::new(self.client.clone());
        context.set_timeout(Duration::from_secs(2));
        let losses = self.store.continuity().losses();
        let last = stream::agree(&context, &self.store, &self.database, self.replicas).await?;
        let mut publisher = Publisher::new(context, self.store.clone(), last);
        self.reached(last.position);
        self.set(|status| status.losses = losses);
        let mut checked = Instant::now();
        loop {
            // A server that was away may have come back with another stream, or with none.
            if self.client.connection_state() != State::Connected || self.connects() != connects {
                return Err(RelayError::Away);
            }
            if self.store.continuity().losses() != losses {
                return Err(StoreError::Lost("the stream is compared with it again".to_owned()).into());
            }
            self.head.borrow_and_update();
            let (before, started) = (publisher.acknowledged(), Instant::now());
            let more = publisher.publish_next().await?;
            self.reached(publisher.acknowledged());
            if checked.elapsed() > LEADER_CHECK {
                if !is_alive(lock).await {
                    return Err(RelayError::Deposed);
                }
                checked = Instant::now();
            }
            if !more {
                publisher.settle().await?;
                self.reached(publisher.acknowledged());
                if publisher.acknowledged() >= before + BUSY {
                    sleep_until(started + BUSY_PACE).await;
                }
                // A lost wake-up, or the end of the listening, is covered by the poll.
                let _ = timeout(POLL, self.head.changed()).await;
            }
        }
    }

    /// How many times the connection was made.
    fn connects(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    fn reached(&self, position: u64) {
        self.set(|status| (status.connected, status.position) = (true, position));
        metrics::gauge!("capitune_relay_position").set(position as f64);
    }

    fn set(&self, change: impl FnOnce(&mut RelayStatus)) {
        self.status.send_if_modified(|status| {
            let before = *status;
            change(status);
            *status != before
        });
        metrics::gauge!("capitune_relay_connected").set(if self.status.borrow().connected { 1.0 } else { 0.0 });
    }
}

/// Reports how far the last acknowledged position is behind the log, for ever: a stream that takes nothing must show.
async fn report_lag(store: EventStore, status: watch::Receiver<RelayStatus>) {
    let mut tick = interval(REPORT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Ok(head) = store.head().await {
            let acknowledged = status.borrow().position;
            metrics::gauge!("capitune_relay_lag").set(head.saturating_sub(acknowledged) as f64);
        }
    }
}

/// Whether the connection, and the lock that it holds, are still there.
async fn is_alive(lock: &mut PgConnection) -> bool {
    matches!(timeout(Duration::from_secs(5), lock.ping()).await, Ok(Ok(())))
}
