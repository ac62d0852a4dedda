//! The rows that a rebuild replaced: kept for a while in a schema of their own, so that one can go back to them.

use chrono::{DateTime, Utc};
use event_store::{Database, EventStore};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool};

use super::shadow::{Shadow, drop_schema};
use super::{RebuildError, Rebuilt, forget_failures, lock, take_over_failures, unlock};
use crate::checkpoint::Identity;
use crate::projection::Definition;

/// How long they are kept.
const WINDOW: &str = "24 hours";

/// Rows that one can go back to.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Retired {
    /// The projection.
    pub projection: String,
    /// The version of the rows.
    pub version: i32,
    /// Where they stand.
    pub position: i64,
    /// Until when they are kept.
    pub until: DateTime<Utc>,
}

/// What there is to go back to.
///
/// # Errors
/// When the database does not answer.
pub async fn retired(pool: &PgPool) -> Result<Vec<Retired>, sqlx::Error> {
    let kept = format!(
        "select projection, version, (select min(position) from unnest(positions) position) as position,
                retired_at + interval '{WINDOW}' as until
         from projection_retired"
    );
    sqlx::query_as(&kept).fetch_all(pool).await
}

/// Keeps the live rows, whose checkpoints are locked, under another name.
pub(super) async fn keep(
    connection: &mut PgConnection,
    definition: &Definition,
    shadow: &Shadow,
) -> Result<(), sqlx::Error> {
    let retired = shadow.retired();
    connection.execute(format!("alter schema {} rename to {retired}", shadow.live).as_str()).await?;
    forget_failures(connection, &retired).await?;
    take_over_failures(connection, definition.name, &retired).await?;
    let forget = "delete from public.projection_retired where projection = $1";
    sqlx::query(forget).bind(definition.name).execute(&mut *connection).await?;
    // Checkpoints that contradict each other are nothing to go back to.
    sqlx::query(
        "insert into public.projection_retired (projection, version, log_id, generation, positions)
         select projection, min(version), min(log_id::text)::uuid, min(generation), array_agg(position order by partition)
         from public.checkpoints where projection = $1
         group by projection having count(distinct (version, log_id, generation)) = 1",
    )
    .bind(definition.name)
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts the rows that were replaced back in their place; those that replaced them are kept in turn. What was recorded
/// since is applied to them as to any rows that are behind.
pub(crate) async fn roll_back(
    definition: &'static Definition,
    store: &EventStore,
    database: &Database,
) -> Result<Rebuilt, RebuildError> {
    let lock = lock(definition, database).await?;
    let result = swap(Identity::of(definition, store), definition, database).await;
    unlock(definition, lock).await;
    result
}

async fn swap(identity: Identity, definition: &Definition, database: &Database) -> Result<Rebuilt, RebuildError> {
    let mut connection = database.owner_options().options([("lock_timeout", "2s")]).connect().await?;
    let mut transaction = connection.begin().await?;
    sqlx::query("select from public.checkpoints where projection = $1 order by partition for update")
        .bind(definition.name)
        .execute(&mut *transaction)
        .await?;
    let kept = "select version, positions from public.projection_retired
        where projection = $1 and log_id = $2 and generation = $3 and to_regnamespace($4) is not null";
    let shadow = Shadow::named(definition.schema, "rolled_back");
    let kept: Option<(i32, Vec<i64>)> = sqlx::query_as(kept)
        .bind(identity.name)
        .bind(identity.log.id)
        .bind(identity.log.generation)
        .bind(shadow.retired())
        .fetch_optional(&mut *transaction)
        .await?;
    let (version, positions) = kept.ok_or(RebuildError::NothingRetired)?;
    if version != identity.version || positions.len() != identity.partitions.unsigned_abs() as usize {
        return Err(RebuildError::OtherVersion(version));
    }
    // Out of the way, before the live rows come to be where it is.
    let step_aside = format!("alter schema {} rename to {}", shadow.retired(), shadow.name);
    transaction.execute(step_aside.as_str()).await?;
    let failures = "update public.projection_failures set projection = $2 where projection = $1";
    sqlx::query(failures).bind(shadow.retired()).bind(&shadow.name).execute(&mut *transaction).await?;
    keep(&mut transaction, definition, &shadow).await?;
    let come_back = format!("alter schema {} rename to {}", shadow.name, shadow.live);
    transaction.execute(come_back.as_str()).await?;
    sqlx::query(
        "update public.checkpoints set version = $2, position = ($3::bigint[])[partition + 1], epoch = epoch + 1,
             status = 'running', failure = null
         where projection = $1",
    )
    .bind(identity.name)
    .bind(identity.version)
    .bind(&positions)
    .execute(&mut *transaction)
    .await?;
    take_over_failures(&mut transaction, &shadow.name, identity.name).await?;
    transaction.commit().await?;
    let position = positions.into_iter().min().unwrap_or(0).cast_unsigned();
    Ok(Rebuilt { position })
}

/// Those of these projections whose earlier rows were kept long enough.
pub(crate) async fn outdated(pool: &PgPool, names: &[&str]) -> Result<Vec<String>, sqlx::Error> {
    let outdated = format!(
        "select projection from projection_retired
         where projection = any($1) and retired_at < clock_timestamp() - interval '{WINDOW}'"
    );
    sqlx::query_scalar(&outdated).bind(names).fetch_all(pool).await
}

/// Does away with the earlier rows.
pub(crate) async fn sweep(definition: &'static Definition, database: &Database) -> Result<(), RebuildError> {
    let mut lock = lock(definition, database).await?;
    let retired = Shadow::named(definition.schema, "next").retired();
    let swept = forget(&mut lock, definition, &retired).await;
    unlock(definition, lock).await;
    Ok(swept?)
}

/// Does away with the earlier rows, and with the word that there are any.
pub(super) async fn forget(
    connection: &mut PgConnection,
    definition: &Definition,
    retired: &str,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    drop_schema(&mut transaction, retired).await?;
    forget_failures(&mut transaction, retired).await?;
    let gone = "delete from public.projection_retired where projection = $1";
    sqlx::query(gone).bind(definition.name).execute(&mut *transaction).await?;
    transaction.commit().await
}
