//! Making the rows of one aggregate anew, with those of all that shares its partition key, where a whole rebuild would be
//! too much: they are folded into a shadow, and take the place of the live ones while their partition stands still.

use std::time::Duration;

use event_store::{Database, EventStore, StoreError};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::filling::{Filling, LAST_STEP};
use super::shadow::{Shadow, drop_schema};
use super::tables::{TYPES, Table, tables};
use super::{Progress, RebuildError, clear, lock, unlock};
use crate::checkpoint::{self, Identity};
use crate::error::ProjectionError;
use crate::positions::partition_of;
use crate::projection::Definition;
use crate::runtime::options_in;

/// How often it is tried to meet the partition where it stands.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Rows that were made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remade {
    /// The position that they stand at.
    pub position: u64,
    /// How many there are.
    pub rows: u64,
    /// How many of those that were there before were not what the log says, or missing, or too many.
    pub changed: u64,
}

/// Makes the rows under a partition key anew. Sums over several keys stay as they are.
pub(crate) async fn run(
    definition: &'static Definition,
    key: Uuid,
    store: &EventStore,
    database: &Database,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Remade, RebuildError> {
    let mut lock = lock(definition, database).await?;
    let shadow = Shadow::named(definition.schema, "remade");
    let filling = Filling::new(definition, store, progress).of_key(key);
    let remaking = remake(filling, key, database, &shadow);
    let result = cancel.run_until_cancelled(remaking).await.unwrap_or(Err(RebuildError::Cancelled));
    clear(definition, &mut lock, &shadow).await;
    unlock(definition, lock).await;
    result
}

async fn remake(
    mut filling: Filling<'_>,
    key: Uuid,
    database: &Database,
    shadow: &Shadow,
) -> Result<Remade, RebuildError> {
    let mut owner = options_in(database.owner_options(), &shadow.name).connect().await?;
    drop_schema(&mut owner, &shadow.name).await?;
    shadow.create(&mut owner).await?;
    shadow.finish(&mut owner).await?;
    let mut connection = options_in(database.connect_options(), &shadow.name).connect().await?;
    // Whatever is under its key builds on it, and came later.
    let first = format!("{TYPES} {FIRST_EVENT}");
    let first: Option<i64> = sqlx::query_scalar(&first).bind(key.to_string()).fetch_one(&mut connection).await?;
    let mut reached = first.ok_or(RebuildError::UnknownAggregate)?.cast_unsigned() - 1;
    let partition = partition_of(key, filling.definition.partitions);
    for _ in 0..ATTEMPTS {
        let live = "select position from public.checkpoints where projection = $1 and partition = $2";
        let live: i64 =
            sqlx::query_scalar(live).bind(filling.definition.name).bind(partition).fetch_one(&mut connection).await?;
        if live.cast_unsigned() > reached {
            reached = filling.fill(&mut connection, reached, live.cast_unsigned()).await?;
        }
        match put(&mut filling, &mut connection, shadow, key, partition, reached).await {
            Ok(Some(remade)) => return Ok(remade),
            Ok(None) => {}
            Err(RebuildError::Projection(ProjectionError::Transient(error))) => {
                tracing::debug!(projection = filling.definition.name, %error, "putting rows in place is tried again");
            }
            Err(error) => return Err(error),
        }
        sleep(PAUSE).await;
    }
    Err(StoreError::Unavailable("the rows that were made could not be put in place".to_owned()).into())
}

/// The first event of an aggregate, whatever its type.
const FIRST_EVENT: &str = "
    select min(e.position) from types, lateral (
        select position from public.events
        where aggregate_type = types.name and aggregate_id = $1 order by sequence limit 1) e";

/// Puts the new rows in the place of the live ones; nothing when the partition has meanwhile gone too far ahead of them.
async fn put(
    filling: &mut Filling<'_>,
    connection: &mut PgConnection,
    shadow: &Shadow,
    key: Uuid,
    partition: i32,
    reached: u64,
) -> Result<Option<Remade>, RebuildError> {
    let definition = filling.definition;
    let mut transaction = connection.begin().await?;
    let identity = Identity::of(definition, filling.store);
    let position = checkpoint::stand_still(&mut transaction, identity, partition).await?;
    if position < reached || position - reached > u64::from(LAST_STEP) {
        return Ok(None);
    }
    let missing = u32::try_from(position - reached).unwrap_or(LAST_STEP);
    if missing > 0 {
        let tail = filling.read(reached, missing).await?;
        filling.add(tail, &mut transaction).await?;
    }
    let held = "select exists (select from public.projection_failures where projection = $1 and partition_key = $2)";
    let held: bool = sqlx::query_scalar(held).bind(definition.name).bind(key).fetch_one(&mut *transaction).await?;
    if held || filling.holds_back() {
        return Err(RebuildError::Held);
    }
    let (rows, changed) = replace(definition, &mut transaction, shadow, key).await?;
    // A batch that was computed from the rows of before is not to be applied to these.
    checkpoint::changed(&mut transaction, definition.name, partition).await?;
    sqlx::query("set local synchronous_commit = on").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Some(Remade { position, rows, changed }))
}

/// Replaces the live rows with those of the shadow, and says how many there are and how many of those before were wrong.
async fn replace(
    definition: &Definition,
    connection: &mut PgConnection,
    shadow: &Shadow,
    id: Uuid,
) -> Result<(u64, u64), sqlx::Error> {
    let tables = tables(connection, &shadow.name).await?;
    let (mut rows, mut changed) = (0, 0);
    for Table { name, key, ids, columns } in tables.iter().filter(|table| !definition.sums.contains(&&*table.name)) {
        let (live, made) = (format!("{}.{name}", shadow.live), format!("{}.{name}", shadow.name));
        // What its key says is the aggregate's, and what was made of it: whatever else is there.
        let its = ids.as_ref().map_or("$1::uuid is null".to_owned(), |ids| format!("$1::uuid in ({ids})"));
        let wrong = format!(
            "select (select count(*) from {made} m left join {live} l using ({key})
                     where l::text is distinct from m::text)
                  + (select count(*) from {live} where {its} and ({key}) not in (select {key} from {made}))"
        );
        let wrong: i64 = sqlx::query_scalar(&wrong).bind(id).fetch_one(&mut *connection).await?;
        changed += wrong.cast_unsigned();
        let delete = format!("delete from {live} where {its} or ({key}) in (select {key} from {made})");
        sqlx::query(&delete).bind(id).execute(&mut *connection).await?;
        let insert = format!("insert into {live} ({columns}) select {columns} from {made}");
        rows += sqlx::query(&insert).execute(&mut *connection).await?.rows_affected();
    }
    Ok((rows, changed))
}
