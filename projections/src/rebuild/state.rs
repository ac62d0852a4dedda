//! A rebuild as a row that every node sees: asked for on one, carried out by any, watched and cancelled from all.

use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use sqlx::{PgConnection, PgPool};
use tokio::sync::OnceCell;

use super::RebuildError;
use super::shadow::Shadow;
use crate::checkpoint::Identity;

/// How the last rebuild of a projection is.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RebuildState {
    /// The projection.
    pub projection: String,
    /// `running`, `finished`, `failed` or `cancelled`.
    pub status: String,
    /// Events applied so far.
    pub done: i64,
    /// Events to apply, as far as is known.
    pub total: i64,
    /// Why it failed.
    pub reason: Option<String>,
    /// When it was asked for.
    pub started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub updated_at: DateTime<Utc>,
}

/// How the last rebuilds are.
///
/// # Errors
/// When the database does not answer.
pub async fn rebuilds(pool: &PgPool) -> Result<Vec<RebuildState>, sqlx::Error> {
    let states = "select projection, status, done, total, reason, started_at, updated_at from projection_rebuilds";
    sqlx::query_as(states).fetch_all(pool).await
}

/// Asks whoever carries the projection on to rebuild it; a rebuild that was cancelled goes on where it was.
///
/// # Errors
/// When the database does not answer.
pub async fn request_rebuild(pool: &PgPool, projection: &str) -> Result<(), sqlx::Error> {
    let request = "insert into projection_rebuilds as r (projection) values ($1)
        on conflict (projection) do update set status = 'running', reason = null, updated_at = clock_timestamp(),
            started_at = clock_timestamp(),
            build = case r.status when 'cancelled' then r.build end,
            done = case r.status when 'cancelled' then r.done else 0 end
        where r.status <> 'running'";
    sqlx::query(request).bind(projection).execute(pool).await?;
    Ok(())
}

/// Cancels a rebuild that is under way; whether there was one.
///
/// # Errors
/// When the database does not answer.
pub async fn cancel_rebuild(pool: &PgPool, projection: &str) -> Result<bool, sqlx::Error> {
    let cancel = "update projection_rebuilds set status = 'cancelled', updated_at = clock_timestamp()
        where projection = $1 and status = 'running'";
    Ok(sqlx::query(cancel).bind(projection).execute(pool).await?.rows_affected() > 0)
}

/// Those of these projections that are to be rebuilt.
pub(crate) async fn requested(pool: &PgPool, names: &[&str]) -> Result<Vec<String>, sqlx::Error> {
    let running = "select projection from projection_rebuilds
        where status = 'running' and projection = any($1) order by started_at";
    sqlx::query_scalar(running).bind(names).fetch_all(pool).await
}

/// Whether a rebuild is to be carried out.
pub(super) async fn is_wanted(connection: &mut PgConnection, projection: &str) -> Result<bool, sqlx::Error> {
    let wanted = "select exists (select from public.projection_rebuilds where projection = $1 and status = 'running')";
    sqlx::query_scalar(wanted).bind(projection).fetch_one(connection).await
}

/// Begins, or goes on with what the same build has made so far: the position that its rows are at.
pub(super) async fn begin(
    connection: &mut PgConnection,
    identity: Identity,
    shadow: &Shadow,
    total: u64,
) -> Result<u64, sqlx::Error> {
    let begin = "with standing as (
            select projection, done from public.projection_rebuilds
            where projection = $1 and status in ('running', 'cancelled') and build = $2 and version = $3
              and log_id = $4 and generation = $5 and to_regnamespace($6) is not null)
        insert into public.projection_rebuilds as r (projection, build, version, log_id, generation, total, done)
        values ($1, $2, $3, $4, $5, $7, coalesce((select done from standing), 0))
        on conflict (projection) do update set
            status = 'running', build = $2, version = $3, log_id = $4, generation = $5, total = $7, done = excluded.done,
            reason = null, updated_at = clock_timestamp(),
            started_at = case r.status when 'running' then r.started_at else clock_timestamp() end
        returning done";
    let done: i64 = sqlx::query_scalar(begin)
        .bind(identity.name)
        .bind(build().await)
        .bind(identity.version)
        .bind(identity.log.id)
        .bind(identity.log.generation)
        .bind(&shadow.name)
        .bind(total.cast_signed())
        .fetch_one(connection)
        .await?;
    Ok(done.cast_unsigned())
}

/// Writes down how far it is, in the transaction that makes it so.
///
/// # Errors
/// [`RebuildError::Cancelled`] when it is not wanted any more.
pub(super) async fn progress(
    connection: &mut PgConnection,
    projection: &str,
    done: u64,
    total: u64,
) -> Result<(), RebuildError> {
    let progress = "update public.projection_rebuilds set done = $2, total = $3, updated_at = clock_timestamp()
        where projection = $1 and status = 'running'";
    let progress = sqlx::query(progress).bind(projection).bind(done.cast_signed()).bind(total.cast_signed());
    match progress.execute(connection).await?.rows_affected() {
        0 => Err(RebuildError::Cancelled),
        _ => Ok(()),
    }
}

/// Writes down how it ended.
pub(super) async fn end(
    connection: &mut PgConnection,
    projection: &str,
    failure: Option<&str>,
) -> Result<(), RebuildError> {
    let end =
        "update public.projection_rebuilds set status = case when $2::text is null then 'finished' else 'failed' end,
            reason = $2, updated_at = clock_timestamp()
        where projection = $1 and status = 'running'";
    match sqlx::query(end).bind(projection).bind(failure).execute(connection).await?.rows_affected() {
        0 => Err(RebuildError::Cancelled),
        _ => Ok(()),
    }
}

/// Which build this is: the digest of its program.
async fn build() -> Option<&'static str> {
    static BUILD: OnceCell<Option<String>> = OnceCell::const_new();
    let hashed = || {
        let program = std::fs::read(std::env::current_exe().ok()?).ok()?;
        Some(digest(&SHA256, &program).as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    };
    let build = BUILD.get_or_init(async || tokio::task::spawn_blocking(hashed).await.ok().flatten()).await;
    build.as_deref()
}
