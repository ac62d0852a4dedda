//! Rebuilding a projection without stopping its readers: a shadow of its schema is filled from the log in bulk, is
//! checked against a second fold, and takes the place of the live rows in one transaction. Those are kept for a while.

pub(crate) mod aggregate;
mod compare;
mod filling;
mod retired;
mod shadow;
mod state;
mod tables;
pub(crate) mod verify;

use std::time::Duration;

use event_store::{Database, EventStore, StoreError};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::checkpoint::Identity;
use crate::error::ProjectionError;
use crate::projection::Definition;
use crate::quarantine::Quarantine;
use crate::runtime::options_in;
pub use aggregate::Remade;
use compare::compare;
pub use compare::{Drift, DriftKind};
use filling::{Filling, LAST_STEP, Sample};
use shadow::{Shadow, drop_schema};

pub use retired::{Retired, retired};
pub(crate) use retired::{outdated, roll_back, sweep};
pub(crate) use state::requested;
pub use state::{RebuildState, cancel_rebuild, rebuilds, request_rebuild};

/// How long taking over may wait for a lock before it lets the readers behind it pass and tries again.
const LOCK_TIMEOUT: &str = "200ms";
const TAKE_OVER_ATTEMPTS: usize = 50;
/// What the schema of a second fold is called, after the live one.
const CHECK: &str = "check";

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// The position that the new rows stood at when they took over.
    pub position: u64,
}

/// Why a rebuild did not take over.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another rebuild or verification of the same projection runs.
    #[error("a rebuild or verification of this projection is running already")]
    Running,
    /// It was cancelled; the live rows stand.
    #[error("it was cancelled")]
    Cancelled,
    /// There is no projection of that name.
    #[error("there is no such projection")]
    Unknown,
    /// The new rows are not what a second fold makes of the log; the old rows stand.
    #[error("{0} of the new rows are not what a second fold of the log says, the first of them {1}")]
    Drifted(u64, String),
    /// No event of such an aggregate was recorded.
    #[error("there is no such aggregate")]
    UnknownAggregate,
    /// An event of the aggregate cannot be applied: it is to be retried or skipped.
    #[error("an event of the aggregate cannot be applied")]
    Held,
    /// There are no earlier rows to go back to.
    #[error("no earlier rows are kept")]
    NothingRetired,
    /// The earlier rows are of another version.
    #[error("the earlier rows are of version {0}: go back with the build that made them")]
    OtherVersion(i32),
    /// It failed; the old rows stand.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
}

impl From<StoreError> for RebuildError {
    fn from(error: StoreError) -> Self {
        Self::Projection(error.into())
    }
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Projection(error.into())
    }
}

/// Told how many events are done, of how many.
pub type Progress = dyn Fn(u64, u64) + Send + Sync;

/// Carries out a rebuild that was asked for, unless somebody else does or it is not wanted any more.
pub(crate) async fn run_asked(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    cancel: &CancellationToken,
) -> Result<(), RebuildError> {
    let mut lock = lock(definition, database).await?;
    // Somebody may have been at it when it was looked for.
    let result = match state::is_wanted(&mut lock, definition.name).await {
        Ok(true) => locked(definition, store, database, cancel, &|_, _| {}, &mut lock).await.map(|_| ()),
        Ok(false) => Ok(()),
        Err(error) => Err(error.into()),
    };
    unlock(definition, lock).await;
    result
}

/// Rebuilds a projection from the log, or goes on with a rebuild that the same build was interrupted in.
pub(crate) async fn run(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Rebuilt, RebuildError> {
    let mut lock = lock(definition, database).await?;
    let result = locked(definition, store, database, cancel, progress, &mut lock).await;
    unlock(definition, lock).await;
    result
}

async fn locked(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    cancel: &CancellationToken,
    progress: &Progress,
    lock: &mut PgConnection,
) -> Result<Rebuilt, RebuildError> {
    let shadow = Shadow::named(definition.schema, "next");
    let building = build(definition, store, database, &shadow, progress);
    let result = cancel.run_until_cancelled(building).await.unwrap_or(Err(RebuildError::Cancelled));
    if let Err(error) = &result {
        clear(definition, lock, &Shadow::named(definition.schema, CHECK)).await;
        // What was cancelled is gone on with; what a build that fails has made is not.
        if !matches!(error, RebuildError::Cancelled) {
            clear(definition, lock, &shadow).await;
            give_up(definition, lock, error).await;
        }
    }
    result
}

async fn give_up(definition: &Definition, connection: &mut PgConnection, error: &RebuildError) {
    if let Err(error) = state::end(connection, definition.name, Some(&error.to_string())).await {
        tracing::warn!(projection = definition.name, %error, "that a rebuild failed could not be written down");
    }
}

/// A connection that nobody rebuilds or verifies the projection beside.
async fn lock(definition: &Definition, database: &Database) -> Result<PgConnection, RebuildError> {
    let mut lock = database.owner_options().connect().await?;
    let locked: bool =
        sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended('capitune.rebuild.' || $1, 0))")
            .bind(definition.name)
            .fetch_one(&mut lock)
            .await?;
    if locked { Ok(lock) } else { Err(RebuildError::Running) }
}

/// Now: a connection that is closed gives its locks back some time after.
async fn unlock(definition: &Definition, mut lock: PgConnection) {
    if let Err(error) = lock.execute("select pg_advisory_unlock_all()").await {
        // What went wrong with it changes no result.
        tracing::debug!(projection = definition.name, %error, "the lock of the rebuild goes with its connection");
    }
}

/// Clears away a shadow that nothing is made of any more.
async fn clear(definition: &Definition, connection: &mut PgConnection, shadow: &Shadow) {
    if let Err(error) = drop_schema(connection, &shadow.name).await {
        tracing::info!(projection = definition.name, schema = shadow.name, %error, "left to the next rebuild");
    }
}

async fn build(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    shadow: &Shadow,
    progress: &Progress,
) -> Result<Rebuilt, RebuildError> {
    let mut connection = options_in(database.owner_options(), &shadow.name).connect().await?;
    let head = store.head().await?;
    let begun = state::begin(&mut connection, Identity::of(definition, store), shadow, head).await?;
    if begun == 0 {
        drop_schema(&mut connection, &shadow.name).await?;
        forget_failures(&mut connection, &shadow.name).await?;
        shadow.create(&mut connection).await?;
    }
    let quarantine = Quarantine::load_all(&mut connection, &shadow.name).await?;
    let mut filling = Filling::new(definition, store, progress).recorded(&shadow.name, quarantine);
    let mut position = filling.fill(&mut connection, begun, head).await?;
    shadow.finish(&mut connection).await?;
    #[cfg(not(feature = "sabotage-unchecked-rebuild"))]
    check(definition, store, database, shadow, position).await?;
    retired::forget(&mut connection, definition, &shadow.retired()).await?;
    sqlx::query(&format!("set lock_timeout = '{LOCK_TIMEOUT}'")).execute(&mut connection).await?;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    for _ in 0..TAKE_OVER_ATTEMPTS {
        position = filling.fill(&mut connection, position, store.head().await?).await?;
        match take_over(&mut filling, &mut connection, shadow, position).await {
            Ok(Some(position)) => return Ok(Rebuilt { position }),
            Ok(None) => {}
            Err(RebuildError::Projection(ProjectionError::Transient(error))) => {
                tracing::debug!(projection = definition.name, %error, "taking over is tried again");
                filling.restore(&mut connection).await?;
                sleep(backoff.pause()).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Unavailable("the rebuilt rows could not take over".to_owned()).into())
}

/// Folds a sample of the log a second time, in batches as they are live, and compares: rows that depend on how the log
/// was cut up never take over.
async fn check(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    shadow: &Shadow,
    position: u64,
) -> Result<(), RebuildError> {
    let again = Shadow::named(definition.schema, CHECK);
    let mut connection = options_in(database.owner_options(), &again.name).connect().await?;
    drop_schema(&mut connection, &again.name).await?;
    again.create(&mut connection).await?;
    let sample = Sample::of(position);
    let quiet = |_, _| {};
    Filling::new(definition, store, &quiet).compared(sample).fill(&mut connection, 0, position).await?;
    let found = compare(definition, &mut connection, [&shadow.name, &again.name], sample, position).await?;
    drop_schema(&mut connection, &again.name).await?;
    match found.drifts.first() {
        None => Ok(()),
        Some(first) => Err(RebuildError::Drifted(found.drifted, format!("{} {}", first.table, first.key))),
    }
}

/// Puts the shadow in the place of the live schema, and its position in the checkpoints, in one transaction; nothing
/// when the log has meanwhile grown too far ahead of it. Renaming locks no table, so that no reader waits.
async fn take_over(
    filling: &mut Filling<'_>,
    connection: &mut PgConnection,
    shadow: &Shadow,
    position: u64,
) -> Result<Option<u64>, RebuildError> {
    let (definition, identity) = (filling.definition, Identity::of(filling.definition, filling.store));
    let mut transaction = connection.begin().await?;
    sqlx::query("select from public.checkpoints where projection = $1 order by partition for update")
        .bind(identity.name)
        .execute(&mut *transaction)
        .await?;
    // The live rows stand still now: whatever they show, the new rows must show too.
    let tail = filling.read(position, LAST_STEP + 1).await?;
    if tail.to - position > u64::from(LAST_STEP) {
        return Ok(None);
    }
    let to = tail.to;
    filling.add(tail, &mut transaction).await?;
    retired::keep(&mut transaction, definition, shadow).await?;
    let (live, next) = (shadow.live, &shadow.name);
    transaction.execute(format!("alter schema {next} rename to {live}").as_str()).await?;
    replace_checkpoints(&mut transaction, identity, shadow, to).await?;
    state::end(&mut transaction, definition.name, None).await?;
    // Unlike a batch, this must not be undone by a crash after readers saw it.
    sqlx::query("set local synchronous_commit = on").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Some(to))
}

async fn replace_checkpoints(
    connection: &mut PgConnection,
    identity: Identity,
    shadow: &Shadow,
    position: u64,
) -> Result<(), sqlx::Error> {
    let outdated = "delete from public.checkpoints where projection = $1 and partition >= $2";
    sqlx::query(outdated).bind(identity.name).bind(identity.partitions).execute(&mut *connection).await?;
    sqlx::query(
        "insert into public.checkpoints (projection, partition, version, log_id, generation, position, event_id)
         select $1, partition, $2, $3, $4, $6, (select event_id from public.events where position = $6)
         from generate_series(0, $5 - 1) as partition
         on conflict (projection, partition) do update set
             version = excluded.version, log_id = excluded.log_id, generation = excluded.generation,
             position = excluded.position, event_id = excluded.event_id, epoch = checkpoints.epoch + 1, status = 'running', failure = null",
    )
    .bind(identity.name)
    .bind(identity.version)
    .bind(identity.log.id)
    .bind(identity.log.generation)
    .bind(identity.partitions)
    .bind(position.cast_signed())
    .execute(&mut *connection)
    .await?;
    take_over_failures(connection, &shadow.name, identity.name).await
}

async fn forget_failures(connection: &mut PgConnection, projection: &str) -> Result<(), sqlx::Error> {
    let forget = "delete from public.projection_failures where projection = $1";
    sqlx::query(forget).bind(projection).execute(connection).await?;
    Ok(())
}

/// What was held back under one name is held back under another, in whose checkpoints it shows.
async fn take_over_failures(connection: &mut PgConnection, from: &str, to: &str) -> Result<(), sqlx::Error> {
    let rename = "update public.projection_failures set projection = $2 where projection = $1";
    sqlx::query(rename).bind(from).bind(to).execute(&mut *connection).await?;
    let show = "update public.checkpoints c set held_from = (
            select min(f.position) from public.projection_failures f
            where f.projection = c.projection and f.partition = c.partition)
        where c.projection = $1";
    sqlx::query(show).bind(to).execute(connection).await?;
    Ok(())
}
