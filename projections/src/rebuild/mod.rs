//! Rebuilding a projection without stopping its readers: a shadow of its schema is filled from the log in bulk, and
//! takes its place in one transaction.

mod shadow;
pub(crate) mod verify;

use std::sync::Arc;
use std::time::Duration;

use event_store::{Database, EventStore, StoreError};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::checkpoint::Identity;
use crate::error::ProjectionError;
use crate::projection::{Batch, Definition};
use crate::runtime::options_in;
use shadow::{Shadow, drop_schema};

/// Events read at once, and applied in one transaction.
const CHUNK: u32 = 10_000;
/// How many chunks may be read and decoded ahead of the one being applied.
const AHEAD: usize = 2;
/// The live rows stand still while this many events, at most, are caught up with.
const LAST_STEP: usize = 1_000;
/// How long taking over may wait for a lock before it lets the readers behind it pass and tries again.
const LOCK_TIMEOUT: &str = "200ms";
const TAKE_OVER_ATTEMPTS: usize = 50;

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

/// Rebuilds a projection from the log.
pub(crate) async fn run(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Rebuilt, RebuildError> {
    let shadow = Shadow::named(definition.schema, "next");
    let building = build(definition, store, database, &shadow, progress);
    alone(definition, database, cancel, &shadow, building).await
}

/// Works on a shadow while nobody else rebuilds or verifies the projection, and clears away what is left of it.
async fn alone<T>(
    definition: &Definition,
    database: &Database,
    cancel: &CancellationToken,
    shadow: &Shadow,
    work: impl Future<Output = Result<T, RebuildError>>,
) -> Result<T, RebuildError> {
    // The lock lives as long as this connection.
    let mut lock = database.owner_options().connect().await?;
    let locked: bool =
        sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended('capitune.rebuild.' || $1, 0))")
            .bind(definition.name)
            .fetch_one(&mut lock)
            .await?;
    if !locked {
        return Err(RebuildError::Running);
    }
    let result = cancel.run_until_cancelled(work).await.unwrap_or(Err(RebuildError::Cancelled));
    // What is left is a shadow that did not take over, or the rows that one replaced.
    for schema in [shadow.name.clone(), shadow.retired()] {
        if let Err(error) = drop_schema(&mut lock, &schema).await {
            tracing::info!(projection = definition.name, schema, %error, "left to the next rebuild");
        }
    }
    // Now: a connection that is closed gives its locks back some time after. What went wrong with it changes no result.
    if let Err(error) = lock.execute("select pg_advisory_unlock_all()").await {
        tracing::debug!(projection = definition.name, %error, "the lock of the rebuild goes with its connection");
    }
    result
}

async fn build(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    shadow: &Shadow,
    progress: &Progress,
) -> Result<Rebuilt, RebuildError> {
    let mut connection = options_in(database.owner_options(), &shadow.name).connect().await?;
    drop_schema(&mut connection, &shadow.name).await?;
    drop_schema(&mut connection, &shadow.retired()).await?;
    let rest = shadow.create(&mut connection).await?;
    let head = store.head().await?;
    let mut position = fill(definition, store, &mut connection, (0, head), progress).await?;
    for statement in rest {
        connection.execute(statement.as_str()).await?;
    }
    sqlx::query(&format!("set lock_timeout = '{LOCK_TIMEOUT}'")).execute(&mut connection).await?;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    for _ in 0..TAKE_OVER_ATTEMPTS {
        let head = store.head().await?;
        position = fill(definition, store, &mut connection, (position, head), progress).await?;
        match take_over(definition, store, &mut connection, shadow, position).await {
            Ok(Some(position)) => return Ok(Rebuilt { position }),
            Ok(None) => {}
            Err(ProjectionError::Transient(error)) => {
                tracing::debug!(projection = definition.name, %error, "taking over is tried again");
                sleep(backoff.pause()).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(ProjectionError::Transient(StoreError::Unavailable("the rebuilt rows could not take over".to_owned())).into())
}

struct Chunk {
    batch: Box<dyn Batch>,
    to: u64,
}

/// Applies the log in bulk, from after one position to another.
async fn fill(
    definition: &'static Definition,
    store: &EventStore,
    connection: &mut PgConnection,
    (position, head): (u64, u64),
    progress: &Progress,
) -> Result<u64, ProjectionError> {
    let (sender, mut chunks) = mpsc::channel(AHEAD);
    let reading = tokio::spawn(read_ahead(definition, store.clone(), position, head, sender));
    let mut reached = position;
    while let Some(chunk) = chunks.recv().await {
        let chunk: Chunk = chunk?;
        let mut transaction = connection.begin().await?;
        chunk.batch.apply(&mut transaction).await?;
        transaction.commit().await?;
        reached = chunk.to;
        progress(reached, head);
    }
    reading.await.map_err(|_| ProjectionError::Failed("reading the log ended unexpectedly".to_owned()))?;
    Ok(reached)
}

async fn read_ahead(
    definition: &'static Definition,
    store: EventStore,
    mut position: u64,
    head: u64,
    chunks: mpsc::Sender<Result<Chunk, ProjectionError>>,
) {
    while position < head {
        let limit = u32::try_from(head - position).unwrap_or(CHUNK).min(CHUNK);
        let chunk = read_chunk(definition, &store, position, limit).await;
        position = chunk.as_ref().map_or(head, |chunk| chunk.to);
        if chunks.send(chunk).await.is_err() {
            return;
        }
    }
}

async fn read_chunk(
    definition: &Definition,
    store: &EventStore,
    after: u64,
    limit: u32,
) -> Result<Chunk, ProjectionError> {
    let events = store.read_log(after, limit).await?;
    let to = events.last().map_or(after, |event| event.position);
    let share = events.into_iter().filter(definition.interested).map(Arc::new).collect();
    let batch = (definition.decode)(share)?;
    Ok(Chunk { batch, to })
}

/// Puts the shadow in the place of the live schema, and its position in the checkpoints, in one transaction; nothing
/// when the log has meanwhile grown too far ahead of it. Renaming locks no table, so that no reader waits.
async fn take_over(
    definition: &'static Definition,
    store: &EventStore,
    connection: &mut PgConnection,
    shadow: &Shadow,
    position: u64,
) -> Result<Option<u64>, ProjectionError> {
    let identity = Identity::of(definition, store);
    let mut transaction = connection.begin().await?;
    sqlx::query("select from public.checkpoints where projection = $1 order by partition for update")
        .bind(identity.name)
        .execute(&mut *transaction)
        .await?;
    // The live rows stand still now: whatever they show, the new rows must show too.
    let tail = read_chunk(definition, store, position, LAST_STEP as u32 + 1).await?;
    if tail.to - position > LAST_STEP as u64 {
        return Ok(None);
    }
    tail.batch.apply(&mut transaction).await?;
    let (live, next, retired) = (shadow.live, &shadow.name, shadow.retired());
    let rename = format!("alter schema {live} rename to {retired}; alter schema {next} rename to {live}");
    transaction.execute(rename.as_str()).await?;
    replace_checkpoints(&mut transaction, identity, tail.to).await?;
    // Unlike a batch, this must not be undone by a crash after readers saw it.
    sqlx::query("set local synchronous_commit = on").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Some(tail.to))
}

async fn replace_checkpoints(
    connection: &mut PgConnection,
    identity: Identity,
    position: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from public.checkpoints where projection = $1 and partition >= $2")
        .bind(identity.name)
        .bind(identity.partitions)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "insert into public.checkpoints (projection, partition, version, log_id, generation, position)
         select $1, partition, $2, $3, $4, $6 from generate_series(0, $5 - 1) as partition
         on conflict (projection, partition) do update set
             version = excluded.version, log_id = excluded.log_id, generation = excluded.generation,
             position = excluded.position, epoch = checkpoints.epoch + 1, status = 'running', failure = null",
    )
    .bind(identity.name)
    .bind(identity.version)
    .bind(identity.log.id)
    .bind(identity.log.generation)
    .bind(identity.partitions)
    .bind(position.cast_signed())
    .execute(connection)
    .await?;
    Ok(())
}
