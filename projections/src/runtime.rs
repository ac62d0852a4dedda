//! The runtime of every projection: batches in order, rows and checkpoint in one transaction, exactly once in effect.

use std::sync::Arc;
use std::time::Duration;

use domain::EventEnvelope;
use event_store::{Cursor, Database, EventStore};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::announcer::Announcer;
use crate::backoff::Backoff;
use crate::checkpoint::{self, Held, Identity, Standing};
use crate::error::ProjectionError;
use crate::lease::HeldPartitions;
use crate::positions::partition_of;
use crate::projection::Definition;
use crate::quarantine::{self, Quarantine, Stop};
use crate::rebuild::{self, RebuildError};
use crate::subscription::{Feed, Subscription};

/// Events in one live batch, at most.
const BATCH: usize = 500;
/// As many events as this at once are many.
const BUSY: usize = 8;
/// How long a projection rests after events none of which was its own, unless one comes: all that it had to do was to say
/// that it knows.
const REST: Duration = Duration::from_millis(50);
/// How often a projection that holds no partition looks whether it does.
const HOLDING_NOTHING: Duration = Duration::from_secs(1);
/// How often a projection that stopped looks whether it was rebuilt.
const STOPPED: Duration = Duration::from_secs(2);

/// Options of a connection whose unqualified names are the tables in `schema`. Its commits need not be waited for:
/// rows and checkpoint are lost together, and applied again.
pub(crate) fn options_in(options: PgConnectOptions, schema: &str) -> PgConnectOptions {
    options.options([("search_path", format!("{schema},public")), ("synchronous_commit", "off".to_owned())])
}

/// What the projections of one process share.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) id: Uuid,
    pub(crate) store: EventStore,
    pub(crate) database: Database,
    pub(crate) feed: Feed,
    pub(crate) announcer: Announcer,
    pub(crate) held: watch::Receiver<HeldPartitions>,
}

/// Carries a projection on until `cancel`, whatever happens to Postgres and NATS meanwhile.
pub(crate) async fn run(definition: &'static Definition, worker: Worker, cancel: CancellationToken) {
    let runner = Runner {
        definition,
        identity: Identity::of(definition, &worker.store),
        subscription: Subscription::new(worker.store.clone(), worker.feed.clone()),
        worker,
        held: Vec::new(),
        quarantine: Quarantine::default(),
        careful: false,
    };
    // Dropped in mid-batch, it takes its connection with it, and Postgres rolls back.
    cancel.run_until_cancelled(runner.run(&cancel)).await;
}

struct Runner {
    definition: &'static Definition,
    worker: Worker,
    identity: Identity,
    subscription: Subscription,
    held: Vec<Held>,
    quarantine: Quarantine,
    /// Whether the last batch failed for what is in it: it is applied again, around what cannot be.
    careful: bool,
}

impl Runner {
    async fn run(mut self, cancel: &CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            let started = Instant::now();
            let Err(error) = self.session(cancel).await;
            if started.elapsed() > Duration::from_secs(10) {
                backoff.reset();
            }
            match error {
                ProjectionError::Fenced => {
                    tracing::info!(projection = self.definition.name, "its checkpoints changed hands")
                }
                ProjectionError::Lost => {
                    tracing::warn!(
                        projection = self.definition.name,
                        "the log has lost its tail; what was read of it is dropped"
                    );
                    sleep(backoff.pause()).await;
                }
                ProjectionError::Transient(error) => {
                    metrics::counter!("capitune_projection_retries_total", "projection" => self.definition.name)
                        .increment(1);
                    tracing::warn!(projection = self.definition.name, %error, "a batch is tried again");
                    sleep(backoff.pause()).await;
                }
                ProjectionError::Poison(_) | ProjectionError::Failed(_) if !self.careful => self.careful = true,
                ProjectionError::Poison(reason) | ProjectionError::Failed(reason) => self.stop(&reason).await,
            }
        }
    }

    /// Works on one connection until something goes wrong.
    async fn session(&mut self, cancel: &CancellationToken) -> Result<std::convert::Infallible, ProjectionError> {
        let mut connection =
            options_in(self.worker.database.connect_options(), self.definition.schema).connect().await?;
        self.prepare(&mut connection, cancel).await?;
        self.take_over(&mut connection).await?;
        let mut leases = self.worker.held.clone();
        loop {
            let Some((group, limit)) = self.lowest() else {
                // Leases that had run out may have been renewed since, which is no change.
                let _ = timeout(HOLDING_NOTHING, changed(&mut leases)).await;
                self.take_over(&mut connection).await?;
                continue;
            };
            let from = group[0].at;
            tokio::select! {
                events = self.subscription.next(from, limit) => {
                    let (events, started) = (events?, Instant::now());
                    let count = events.len();
                    let (to, applied) = self.apply(&mut connection, &group, from, events).await?;
                    self.moved(&group, to);
                    let Definition { pace, interested, .. } = *self.definition;
                    match (count, applied) {
                        (count, _) if count == limit => {}
                        (_, 0) => self.subscription.rest(started + REST, interested).await,
                        (..BUSY, _) => sleep_until(started + pace.few).await,
                        (BUSY.., _) => sleep_until(started + pace.many).await,
                    }
                }
                () = changed(&mut leases) => self.take_over(&mut connection).await?,
            }
        }
    }

    /// Makes sure that the rows are of this log and this build before anything is added to them.
    async fn prepare(&self, connection: &mut PgConnection, cancel: &CancellationToken) -> Result<(), ProjectionError> {
        loop {
            match checkpoint::prepare(connection, self.identity).await? {
                Standing::Current => return Ok(()),
                Standing::Superseded => {
                    tracing::warn!(
                        projection = self.definition.name,
                        "a newer build carries it on; this one stands by"
                    );
                    sleep(STOPPED).await;
                }
                Standing::Outdated => {
                    tracing::info!(
                        projection = self.definition.name,
                        "its rows are of another version or log; it is rebuilt"
                    );
                    let (store, database) = (&self.worker.store, &self.worker.database);
                    match rebuild::run(self.definition, store, database, cancel, &|_, _| {}).await {
                        Ok(_) => {}
                        Err(RebuildError::Running) => sleep(STOPPED).await,
                        Err(RebuildError::Projection(error)) => return Err(error),
                        Err(RebuildError::Cancelled) => return Err(ProjectionError::Fenced),
                        Err(error) => return Err(ProjectionError::Failed(error.to_string())),
                    }
                }
            }
        }
    }

    /// Carries on what this worker holds now.
    async fn take_over(&mut self, connection: &mut PgConnection) -> Result<(), ProjectionError> {
        self.held = self.read_held(connection).await?;
        let partitions: Vec<i32> = self.held.iter().map(|held| held.partition).collect();
        self.quarantine = Quarantine::load(connection, self.definition.name, &partitions).await?;
        Ok(())
    }

    async fn read_held(&self, connection: &mut PgConnection) -> Result<Vec<Held>, ProjectionError> {
        checkpoint::held(connection, self.identity, self.worker.id).await
    }

    /// The partitions that are the furthest behind, and how far they may go before the next ones join them.
    fn lowest(&self) -> Option<(Vec<Held>, usize)> {
        let lowest = self.held.iter().min_by_key(|held| held.at.position)?.at;
        let group = self.held.iter().filter(|held| held.at == lowest).copied().collect();
        let ahead = self.held.iter().filter(|held| held.at.position > lowest.position);
        let distance = ahead.map(|held| held.at.position - lowest.position).min();
        let limit = distance.map_or(BATCH, |distance| BATCH.min(usize::try_from(distance).unwrap_or(BATCH)));
        Some((group, limit))
    }

    /// Applies the group's share of `events` and moves its checkpoints over all of them: how far, and how many it applied.
    async fn apply(
        &mut self,
        connection: &mut PgConnection,
        group: &[Held],
        from: Cursor,
        events: Vec<Arc<EventEnvelope>>,
    ) -> Result<(Cursor, u64), ProjectionError> {
        let started = Instant::now();
        let to = events.last().map_or(from, place);
        let (definition, name) = (self.definition, self.definition.name);
        let careful = self.careful.then(|| events.iter().map(place).collect::<Vec<_>>());
        let share = self.share(group, events)?;
        let count = share.len() as u64;
        if count == 0 {
            checkpoint::advance(connection, name, group, from, to).await?;
            return Ok((to, 0));
        }
        if let Some(places) = careful {
            let to = self.apply_carefully(connection, group, from, &places, share).await?;
            return Ok((to, count));
        }
        #[cfg(feature = "sabotage-acknowledge-before-commit")]
        checkpoint::advance(connection, name, group, from, to).await?;
        let mut transaction = connection.begin().await?;
        quarantine::apply(quarantine::decode(definition, &share), &mut transaction).await?;
        #[cfg(not(feature = "sabotage-acknowledge-before-commit"))]
        checkpoint::advance(&mut transaction, name, group, from, to).await?;
        transaction.commit().await?;
        metrics::counter!("capitune_projection_events_total", "projection" => name).increment(count);
        metrics::histogram!("capitune_projection_batch_seconds", "projection" => name)
            .record(started.elapsed().as_secs_f64());
        Ok((to, count))
    }

    /// The same around what cannot be applied, up to where the projection cannot go on; `places` are those of all events
    /// that were read.
    async fn apply_carefully(
        &mut self,
        connection: &mut PgConnection,
        group: &[Held],
        from: Cursor,
        places: &[Cursor],
        share: Vec<Arc<EventEnvelope>>,
    ) -> Result<Cursor, ProjectionError> {
        let mut transaction = connection.begin().await?;
        let stop = quarantine::apply_around(self.definition, share, &mut self.quarantine, &mut transaction).await?;
        self.quarantine.record(&mut transaction, self.definition, self.definition.name).await?;
        let reached = |to: &&Cursor| stop.as_ref().is_none_or(|stop| to.position < stop.position);
        let to = places.iter().rfind(reached).copied().unwrap_or(from);
        if to != from {
            checkpoint::advance(&mut transaction, self.definition.name, group, from, to).await?;
        }
        transaction.commit().await?;
        match stop {
            Some(Stop { reason, .. }) => {
                self.moved(group, to);
                Err(ProjectionError::Failed(reason))
            }
            None => {
                self.careful = false;
                Ok(to)
            }
        }
    }

    /// The events that the group's partitions are to apply.
    fn share(
        &self,
        group: &[Held],
        events: Vec<Arc<EventEnvelope>>,
    ) -> Result<Vec<Arc<EventEnvelope>>, ProjectionError> {
        let Definition { partitions, interested, .. } = *self.definition;
        let whole = group.len() == partitions.unsigned_abs() as usize;
        let mut share = Vec::with_capacity(events.len());
        for event in events.into_iter().filter(|event| interested(event) && !self.quarantine.holds(event)) {
            let belongs = |partition| group.iter().any(|held| held.partition == partition);
            // Whose it is cannot be told, so that nobody could hold it back.
            let key = || event.partition_key().map_err(|error| ProjectionError::Failed(error.to_string()));
            if whole || belongs(partition_of(key()?, partitions)) {
                share.push(event);
            }
        }
        Ok(share)
    }

    fn moved(&mut self, group: &[Held], to: Cursor) {
        let partitions: Vec<i32> = group.iter().map(|held| held.partition).collect();
        for held in self.held.iter_mut().filter(|held| partitions.contains(&held.partition)) {
            held.at = to;
        }
        let name = self.definition.name;
        self.worker.announcer.moved(name, &partitions, to.position);
    }

    /// Stands still, loudly, until the checkpoints are another's: a rebuild, a new build, another worker.
    async fn stop(&mut self, reason: &str) {
        let name = self.definition.name;
        tracing::error!(projection = name, reason, "the projection has stopped");
        let group = self.lowest().map(|(group, _)| group).unwrap_or_default();
        let mut recorded = false;
        loop {
            match self.still_stopped(&group, reason, &mut recorded).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(projection = self.definition.name, %error, "its failure could not be recorded")
                }
            }
            sleep(STOPPED).await;
        }
        self.careful = false;
    }

    async fn still_stopped(&self, group: &[Held], reason: &str, recorded: &mut bool) -> Result<bool, ProjectionError> {
        let mut connection =
            options_in(self.worker.database.connect_options(), self.definition.schema).connect().await?;
        if !*recorded {
            checkpoint::fail(&mut connection, self.definition.name, group, reason).await?;
            *recorded = true;
        }
        Ok(self.read_held(&mut connection).await? == self.held)
    }
}

fn place(event: &Arc<EventEnvelope>) -> Cursor {
    Cursor::at(event.position, event.event_id)
}

/// Resolves when other partitions are held than before; never once the leases are no longer kept.
async fn changed(leases: &mut watch::Receiver<HeldPartitions>) {
    if leases.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
