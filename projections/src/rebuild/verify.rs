//! Verifying a projection: its rows are made anew beside the live ones, and compared with them as of one position.

use std::time::Duration;

use event_store::{Database, EventStore, StoreError};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::shadow::{Shadow, drop_schema};
use super::{LAST_STEP, Progress, RebuildError, alone, fill, read_chunk};
use crate::error::ProjectionError;
use crate::projection::Definition;
use crate::runtime::options_in;

/// How often it is tried to meet the live rows at one position.
const ATTEMPTS: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);
/// What is told of the rows of one table, at most.
const TOLD: i64 = 100;

/// What verifying found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The position as of which live rows and log were compared.
    pub position: u64,
    /// How many live rows there are.
    pub rows: u64,
    /// How many rows are not what the log says.
    pub drifted: u64,
    /// The first of them, table by table.
    pub drifts: Vec<Drift>,
}

/// A row that is not what the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Its table.
    pub table: String,
    /// Its key, as Postgres writes it.
    pub key: String,
    /// What is wrong with it.
    pub kind: DriftKind,
    /// The last event that it should show, by position and type, where its key names an aggregate.
    pub event: Option<(u64, String)>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftKind {
    /// The log says something else.
    Different,
    /// The log calls for it, and it is not there.
    Missing,
    /// The log knows nothing of it.
    Surplus,
}

/// Compares the live rows with what the log makes of them; nobody who reads or writes notices.
pub(crate) async fn run(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Verified, RebuildError> {
    let shadow = Shadow::named(definition.schema, "verified");
    let verifying = verify(definition, store, database, &shadow, progress);
    // A rebuild would take the live rows away in the middle.
    alone(definition, database, cancel, &shadow, verifying).await
}

async fn verify(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
    shadow: &Shadow,
    progress: &Progress,
) -> Result<Verified, RebuildError> {
    let mut making = options_in(database.owner_options(), &shadow.name).connect().await?;
    drop_schema(&mut making, &shadow.name).await?;
    shadow.create(&mut making).await?;
    let mut comparing = database.owner_options().options([("statement_timeout", "0")]).connect().await?;
    let mut reached = 0;
    for _ in 0..ATTEMPTS {
        // Never beyond the live rows, wherever they stand still.
        let live: i64 = sqlx::query_scalar("select min(position) from public.checkpoints where projection = $1")
            .bind(definition.name)
            .fetch_one(&mut making)
            .await?;
        let live = live.cast_unsigned();
        if live > reached {
            reached = fill(definition, store, &mut making, (reached, live), progress).await?;
        }
        if let Some(position) = meet(definition, store, database, &mut making, &mut comparing, reached).await? {
            return compare(shadow, &mut comparing, position).await;
        }
        sleep(PAUSE).await;
    }
    let apart = "its partitions do not come to one position: is one of them stopped?".to_owned();
    Err(ProjectionError::Transient(StoreError::Unavailable(apart)).into())
}

/// Brings the new rows to where the live ones are, and opens a transaction that sees both there; nothing when the log has
/// grown too far ahead of the new ones.
async fn meet(
    definition: &'static Definition,
    store: &EventStore,
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
    .bind(definition.name)
    .fetch_all(&mut *held)
    .await?;
    // Partitions move one by one: only where all are is one position that of all rows.
    let Some(position) = positions.first().filter(|first| positions.iter().all(|other| other == *first)) else {
        return Ok(None);
    };
    let position = position.cast_unsigned();
    if position < reached || position - reached > LAST_STEP as u64 {
        return Ok(None);
    }
    let missing = u32::try_from(position - reached).unwrap_or(u32::MAX);
    if missing > 0 {
        let tail = read_chunk(definition, store, reached, missing).await?;
        let mut transaction = making.begin().await?;
        tail.batch.apply(&mut transaction).await?;
        transaction.commit().await?;
    }
    // What it sees first, it sees to its end.
    comparing
        .execute("begin isolation level repeatable read, read only; select count(*) from public.checkpoints")
        .await?;
    held.rollback().await?;
    Ok(Some(position))
}

async fn compare(shadow: &Shadow, connection: &mut PgConnection, position: u64) -> Result<Verified, RebuildError> {
    let mut verified = Verified { position, rows: 0, drifted: 0, drifts: Vec::new() };
    let tables: Vec<(String, String)> = sqlx::query_as(TABLES).bind(shadow.live).fetch_all(&mut *connection).await?;
    for (table, key) in tables {
        let (live, made) = (format!("{}.{table}", shadow.live), format!("{}.{table}", shadow.name));
        // Whether anything differs takes no memory to find out.
        let (rows, same): (i64, bool) = sqlx::query_as(&format!(
            "select l.rows, l.rows = m.rows and l.sum is not distinct from m.sum
             from (select count(*) as rows, sum(hashtextextended(t::text, 0)::numeric) as sum from {live} t) l,
                  (select count(*) as rows, sum(hashtextextended(t::text, 0)::numeric) as sum from {made} t) m"
        ))
        .fetch_one(&mut *connection)
        .await?;
        verified.rows += rows.cast_unsigned();
        if !same {
            drifts(connection, &mut verified, &table, &key, [&live, &made]).await?;
        }
    }
    connection.execute("commit").await?;
    Ok(verified)
}

/// The tables of a schema, each with the columns of its primary key.
const TABLES: &str = "
    select t.relname::text, string_agg(quote_ident(a.attname), ', ' order by array_position(i.indkey, a.attnum))
    from pg_class t join pg_namespace n on n.oid = t.relnamespace
    join pg_index i on i.indrelid = t.oid and i.indisprimary
    join pg_attribute a on a.attrelid = t.oid and a.attnum = any (i.indkey)
    where n.nspname = $1 and t.relkind = 'r' group by t.relname order by t.relname";

async fn drifts(
    connection: &mut PgConnection,
    verified: &mut Verified,
    table: &str,
    key: &str,
    [live, made]: [&str; 2],
) -> Result<(), RebuildError> {
    let found: Vec<(String, bool, bool, i64)> = sqlx::query_as(&format!(
        "select coalesce(l.key, m.key), l.key is null, m.key is null, count(*) over ()
         from (select row({key})::text as key, md5(t::text) as sum from {live} t) l
         full join (select row({key})::text as key, md5(t::text) as sum from {made} t) m on m.key = l.key
         where l.sum is distinct from m.sum order by 1 limit {TOLD}"
    ))
    .fetch_all(&mut *connection)
    .await?;
    verified.drifted += found.first().map_or(0, |(.., count)| count.cast_unsigned());
    for (key, missing, surplus, _) in found {
        let kind = match (missing, surplus) {
            (true, _) => DriftKind::Missing,
            (_, true) => DriftKind::Surplus,
            _ => DriftKind::Different,
        };
        let event: Option<(i64, String)> = sqlx::query_as(LAST_EVENT)
            .bind(&key)
            .bind(verified.position.cast_signed())
            .fetch_optional(&mut *connection)
            .await?;
        let event = event.map(|(position, event_type)| (position.cast_unsigned(), event_type));
        verified.drifts.push(Drift { table: table.to_owned(), key, kind, event });
    }
    Ok(())
}

/// The last event, up to a position, of the aggregates that a key names. Types are few, and found one after the other.
const LAST_EVENT: &str = "
    with recursive types as (
        select (select aggregate_type from public.events order by aggregate_type limit 1) as name
        union all
        select (select aggregate_type from public.events e where e.aggregate_type > types.name
                order by aggregate_type limit 1)
        from types where types.name is not null)
    select e.position, e.event_type
    from regexp_matches($1, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 'g') as id,
         types, lateral (
             select position, event_type from public.events
             where aggregate_type = types.name and aggregate_id = id[1] and position <= $2
             order by sequence desc limit 1) e
    order by e.position desc limit 1";
