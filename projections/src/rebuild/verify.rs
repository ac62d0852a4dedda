//! Verifying a projection: its rows are made anew beside the live ones, and compared with them as of one position.

use std::time::Duration;

use event_store::{Database, EventStore, StoreError};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::compare::{Drift, compare};
use super::filling::{Filling, LAST_STEP, Sample};
use super::shadow::{Shadow, drop_schema};
use super::{Progress, RebuildError, clear, lock, unlock};
use crate::projection::Definition;
use crate::runtime::options_in;

/// How often it is tried to meet the live rows at one position.
const ATTEMPTS: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// How much of the log the rows are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it: every row, and whether there are others.
    Whole,
    /// A sample, another each time, that takes seconds to fold.
    Sampled,
}

/// What verifying found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The position as of which live rows and log were compared.
    pub position: u64,
    /// How many rows were compared.
    pub rows: u64,
    /// How many of them are not what the log says.
    pub drifted: u64,
    /// The first of those, table by table.
    pub drifts: Vec<Drift>,
}

/// Compares the live rows with what the log makes of them; nobody who reads or writes notices.
pub(crate) async fn run(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    extent: Extent,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Verified, RebuildError> {
    // A rebuild would take the live rows away in the middle.
    let mut lock = lock(definition, database).await?;
    let shadow = Shadow::named(definition.schema, "verified");
    let filling = Filling::new(definition, store, progress);
    let verifying = verify(filling, database, &shadow, extent);
    let result = cancel.run_until_cancelled(verifying).await.unwrap_or(Err(RebuildError::Cancelled));
    clear(definition, &mut lock, &shadow).await;
    unlock(definition, lock).await;
    result
}

async fn verify(
    filling: Filling<'_>,
    database: &Database,
    shadow: &Shadow,
    extent: Extent,
) -> Result<Verified, RebuildError> {
    let definition = filling.definition;
    let mut making = options_in(database.owner_options(), &shadow.name).connect().await?;
    drop_schema(&mut making, &shadow.name).await?;
    shadow.create(&mut making).await?;
    let mut comparing = database.owner_options().options([("statement_timeout", "0")]).connect().await?;
    let sample = match extent {
        Extent::Whole => Sample::Whole,
        Extent::Sampled => Sample::of(filling.store.head().await?),
    };
    // What cannot be applied is missing here as it is missing there.
    let mut filling = filling.compared(sample);
    let mut reached = 0;
    for _ in 0..ATTEMPTS {
        // Never beyond the live rows, wherever they stand still.
        let live: i64 = sqlx::query_scalar("select min(position) from public.checkpoints where projection = $1")
            .bind(definition.name)
            .fetch_one(&mut making)
            .await?;
        let live = live.cast_unsigned();
        let head = filling.store.head().await?;
        if live > head {
            let ahead = format!("its checkpoints are at {live}, the log ends at {head}: it is about to be rebuilt");
            return Err(StoreError::Lost(ahead).into());
        }
        if live > reached {
            reached = filling.fill(&mut making, reached, live).await?;
        }
        if let Some(position) = meet(&mut filling, database, &mut making, &mut comparing, reached).await? {
            let schemas = [shadow.live, &shadow.name];
            let compared = compare(definition, &mut comparing, schemas, sample, position).await?;
            comparing.execute("commit").await?;
            return Ok(Verified { position, rows: compared.rows, drifted: compared.drifted, drifts: compared.drifts });
        }
        sleep(PAUSE).await;
    }
    let apart = "its partitions do not come to one position: is one of them stopped?".to_owned();
    Err(StoreError::Unavailable(apart).into())
}

/// Brings the new rows to where the live ones are, and opens a transaction that sees both there; nothing when the log has
/// grown too far ahead of the new ones.
async fn meet(
    filling: &mut Filling<'_>,
    database: &Database,
    making: &mut PgConnection,
    comparing: &mut PgConnection,
    reached: u64,
) -> Result<Option<u64>, RebuildError> {
    let mut holding = database.owner_options().connect().await?;
    let mut held = holding.begin().await?;
    let positions: Vec<i64> = sqlx::query_scalar(
        "select position from public.checkpoints where projection = $1 order by partition for update",
    )
    .bind(filling.definition.name)
    .fetch_all(&mut *held)
    .await?;
    // Partitions move one by one: only where all are is one position that of all rows.
    let Some(position) = positions.first().filter(|first| positions.iter().all(|other| other == *first)) else {
        return Ok(None);
    };
    let position = position.cast_unsigned();
    if position < reached || position - reached > u64::from(LAST_STEP) {
        return Ok(None);
    }
    let missing = u32::try_from(position - reached).unwrap_or(u32::MAX);
    if missing > 0 {
        let tail = filling.read(reached, missing).await?;
        let mut transaction = making.begin().await?;
        filling.add(tail, &mut transaction).await?;
        transaction.commit().await?;
    }
    // What it sees first, it sees to its end.
    comparing
        .execute("begin isolation level repeatable read, read only; select count(*) from public.checkpoints")
        .await?;
    held.rollback().await?;
    Ok(Some(position))
}
