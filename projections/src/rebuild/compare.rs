//! Comparing rows with what the log makes of them once more.

use sqlx::PgConnection;

use super::RebuildError;
use super::filling::Sample;
use super::tables::{TYPES, Table, tables};
use crate::projection::Definition;

/// What is told of the rows of one table, at most.
const TOLD: i64 = 100;

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

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// How many rows were compared.
    pub(super) rows: u64,
    /// How many of them drifted.
    pub(super) drifted: u64,
    /// The first of those, table by table.
    pub(super) drifts: Vec<Drift>,
}

/// Compares the tables of one schema with those of another, which were made of a sample of the log up to `position`. Of
/// less than the whole, rows that other keys share in say nothing, and surplus rows are not looked for.
pub(super) async fn compare(
    definition: &Definition,
    connection: &mut PgConnection,
    [rows, made]: [&str; 2],
    sample: Sample,
    position: u64,
) -> Result<Compared, RebuildError> {
    let mut compared = Compared::default();
    for Table { name: table, key, .. } in tables(connection, made).await? {
        let (rows, made) = (format!("{rows}.{table}"), format!("{made}.{table}"));
        if sample.is_whole() {
            // Whether anything differs takes no memory to find out.
            let sums = |of: &str| {
                format!("(select count(*) as rows, sum(hashtextextended(t::text, 0)::numeric) as sum from {of} t)")
            };
            let same = format!(
                "select r.rows, r.rows = m.rows and r.sum is not distinct from m.sum from {} r, {} m",
                sums(&rows),
                sums(&made)
            );
            let (count, same): (i64, bool) = sqlx::query_as(&same).fetch_one(&mut *connection).await?;
            compared.rows += count.cast_unsigned();
            if same {
                continue;
            }
        } else if definition.sums.contains(&table.as_str()) {
            continue;
        } else {
            let count = format!("select count(*) from {made}");
            compared.rows += sqlx::query_scalar::<_, i64>(&count).fetch_one(&mut *connection).await?.cast_unsigned();
        }
        drifts(connection, &mut compared, &table, &key, [&rows, &made], sample, position).await?;
    }
    Ok(compared)
}

async fn drifts(
    connection: &mut PgConnection,
    compared: &mut Compared,
    table: &str,
    key: &str,
    [rows, made]: [&str; 2],
    sample: Sample,
    position: u64,
) -> Result<(), RebuildError> {
    let join = if sample.is_whole() { "full" } else { "right" };
    let found: Vec<(String, bool, bool, i64)> = sqlx::query_as(&format!(
        "select row({key})::text, r is null, m is null, count(*) over ()
         from {rows} r {join} join {made} m using ({key})
         where r::text is distinct from m::text order by 1 limit {TOLD}"
    ))
    .fetch_all(&mut *connection)
    .await?;
    compared.drifted += found.first().map_or(0, |(.., count)| count.cast_unsigned());
    for (key, missing, surplus, _) in found {
        let kind = match (missing, surplus) {
            (true, _) => DriftKind::Missing,
            (_, true) => DriftKind::Surplus,
            _ => DriftKind::Different,
        };
        let event: Option<(i64, String)> = sqlx::query_as(&format!("{TYPES} {LAST_EVENT}"))
            .bind(&key)
            .bind(position.cast_signed())
            .fetch_optional(&mut *connection)
            .await?;
        let event = event.map(|(position, event_type)| (position.cast_unsigned(), event_type));
        compared.drifts.push(Drift { table: table.to_owned(), key, kind, event });
    }
    Ok(())
}

/// The last event, up to a position, of the aggregates that a key names.
const LAST_EVENT: &str = "
    select e.position, e.event_type
    from regexp_matches($1, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 'g') as id,
         types, lateral (
             select position, event_type from public.events
             where aggregate_type = types.name and aggregate_id = id[1] and position <= $2
             order by sequence desc limit 1) e
    order by e.position desc limit 1";
