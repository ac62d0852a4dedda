//! What projections hold back, for those who run the instance: to be seen, tried again, or skipped.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::EventEnvelope;
use event_store::{Database, EventStore, StoreError};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use tokio::time::sleep;
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::checkpoint::{self, Identity};
use crate::error::ProjectionError;
use crate::projection::Definition;
use crate::quarantine::{Quarantine, apply_around};
use crate::runtime::options_in;

/// Events read from the log at once.
const CHUNK: u32 = 10_000;
/// How often it is tried while others hold the same rows.
const ATTEMPTS: usize = 5;

/// An event that a projection could not apply, with what is held back behind it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Failure {
    /// Its own id.
    pub id: Uuid,
    /// The projection.
    pub projection: String,
    /// The aggregate's type.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// The first event that is held back.
    pub position: i64,
    /// What happened there.
    pub event_type: String,
    /// Why it cannot be applied.
    pub reason: String,
    /// When it was found.
    pub failed_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was tried last.
    pub tried_at: DateTime<Utc>,
}

/// What to do with the event that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Try it again, and all that is behind it.
    Retry,
    /// Leave it out, and try all that is behind it.
    Skip,
}

/// Why nothing was released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// There is no such failure, or not any more.
    #[error("there is no such failure")]
    Unknown,
    /// The rows stand where they stood.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
}

impl From<sqlx::Error> for ReleaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Projection(error.into())
    }
}

impl From<StoreError> for ReleaseError {
    fn from(error: StoreError) -> Self {
        Self::Projection(error.into())
    }
}

const COLUMNS: &str = "id, projection, aggregate_type, aggregate_id, position, event_type, reason, failed_at, attempts, \
                       tried_at";

/// Up to `limit` failures of a projection after the one with the id `after`, the oldest first.
///
/// # Errors
/// When the database does not answer.
pub async fn failures(
    pool: &PgPool,
    projection: &str,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Failure>, sqlx::Error> {
    let query = format!(
        "select {COLUMNS} from projection_failures
         where projection = $1 and id > coalesce($2, '00000000-0000-0000-0000-000000000000') order by id limit $3"
    );
    sqlx::query_as(&query).bind(projection).bind(after).bind(i64::from(limit)).fetch_all(pool).await
}

/// Applies what is held back behind a failure, once more or without the event itself. What fails then is told: the same
/// event, or one after it.
pub(crate) async fn release(
    definition: &'static Definition,
    id: Uuid,
    release: Release,
    store: &EventStore,
    database: &Database,
) -> Result<Option<Failure>, ReleaseError> {
    let mut connection = options_in(database.connect_options(), definition.schema).connect().await?;
    let mut held = Held::default();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    for _ in 1..ATTEMPTS {
        match attempt(definition, id, release, store, &mut connection, &mut held).await {
            Err(ReleaseError::Projection(ProjectionError::Transient(error))) => {
                tracing::debug!(projection = definition.name, %error, "a release is tried again");
                sleep(backoff.pause()).await;
            }
            done => return done,
        }
    }
    attempt(definition, id, release, store, &mut connection, &mut held).await
}

/// The events that are held back behind a failure, as far as the log was read.
#[derive(Default)]
struct Held {
    events: Vec<Arc<EventEnvelope>>,
    read_to: u64,
}

impl Held {
    async fn read(
        &mut self,
        definition: &Definition,
        store: &EventStore,
        key: Uuid,
        (from, to): (u64, u64),
    ) -> Result<(), ReleaseError> {
        self.read_to = self.read_to.max(from - 1);
        while self.read_to < to {
            let limit = u32::try_from(to - self.read_to).unwrap_or(CHUNK).min(CHUNK);
            let events = store.read_log(self.read_to, limit).await?;
            let Some(last) = events.last() else { break };
            self.read_to = last.position;
            let behind =
                |event: &EventEnvelope| (definition.interested)(event) && event.partition_key().ok() == Some(key);
            self.events.extend(events.into_iter().filter(behind).map(Arc::new));
        }
        Ok(())
    }
}

async fn attempt(
    definition: &'static Definition,
    id: Uuid,
    release: Release,
    store: &EventStore,
    connection: &mut PgConnection,
    held: &mut Held,
) -> Result<Option<Failure>, ReleaseError> {
    let standing = "select f.partition, f.partition_key, f.position, c.position from public.projection_failures f
        join public.checkpoints c on c.projection = f.projection and c.partition = f.partition
        where f.id = $1 and f.projection = $2";
    let standing = sqlx::query_as::<_, (i32, Uuid, i64, i64)>(standing).bind(id).bind(definition.name);
    let found = standing.fetch_optional(&mut *connection).await?;
    let (partition, key, first, reached) = found.ok_or(ReleaseError::Unknown)?;
    // Most of it before the partition stands still.
    held.read(definition, store, key, (first.cast_unsigned(), reached.cast_unsigned())).await?;
    let mut transaction = connection.begin().await?;
    let identity = Identity::of(definition, store);
    let reached = checkpoint::stand_still(&mut transaction, identity, partition).await?;
    let still = "select exists (select from public.projection_failures where id = $1 and position = $2)";
    if !sqlx::query_scalar(still).bind(id).bind(first).fetch_one(&mut *transaction).await? {
        return Err(ReleaseError::Unknown);
    }
    held.read(definition, store, key, (first.cast_unsigned(), reached)).await?;
    let skipped = match release {
        Release::Retry => None,
        Release::Skip => Some(first.cast_unsigned()),
    };
    let events = held.events.iter().filter(|event| Some(event.position) != skipped).cloned().collect();
    let mut quarantine = Quarantine::default();
    if let Some(stop) = apply_around(definition, events, &mut quarantine, &mut transaction).await? {
        return Err(ProjectionError::Failed(stop.reason).into());
    }
    let left = settle(&mut transaction, id, quarantine).await?;
    checkpoint::changed(&mut transaction, definition.name, partition).await?;
    sqlx::query("set local synchronous_commit = on").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(left)
}

/// Strikes the failure out, or writes down what fails now in its place.
async fn settle(
    connection: &mut PgConnection,
    id: Uuid,
    quarantine: Quarantine,
) -> Result<Option<Failure>, sqlx::Error> {
    let Some(failure) = quarantine.found().pop() else {
        sqlx::query("delete from public.projection_failures where id = $1").bind(id).execute(connection).await?;
        return Ok(None);
    };
    let now = format!(
        "update public.projection_failures
         set id = case position when $2 then id else $7 end, position = $2, event_type = $3, aggregate_type = $4, aggregate_id = $5, reason = $6,
             attempts = case position when $2 then attempts + 1 else 1 end,
             failed_at = case position when $2 then failed_at else clock_timestamp() end, tried_at = clock_timestamp()
         where id = $1 returning {COLUMNS}"
    );
    sqlx::query_as(&now)
        .bind(id)
        .bind(failure.event.position.cast_signed())
        .bind(&failure.event.event_type)
        .bind(&failure.event.aggregate_type)
        .bind(failure.event.aggregate_id)
        .bind(failure.reason)
        .bind(Uuid::now_v7())
        .fetch_optional(connection)
        .await
}
