//! How the projections are, for those who run the instance.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};

const REPORT_EVERY: Duration = Duration::from_secs(1);

/// One projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ProjectionStatus {
    /// Its name.
    pub name: String,
    /// The version of its rows.
    pub version: i32,
    /// The lowest position of its partitions.
    pub position: i64,
    /// The log's last position.
    pub head: i64,
    /// How many events it is behind.
    pub lag: i64,
    /// `running`, or `failed` when one of its partitions has stopped.
    pub status: String,
    /// How many failures it holds events back for, and how many of its partitions have stopped.
    pub failed: i64,
    /// How many failures it holds events back for.
    pub held: i64,
    /// Why the first of them stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What the last verification of a projection in the background found.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Verification {
    /// The projection.
    pub projection: String,
    /// The position as of which rows and log were compared; 0 before that was ever done.
    pub position: i64,
    /// How many rows were compared.
    pub rows: i64,
    /// How many of them were not what the log says.
    pub drifted: i64,
    /// The first of those.
    pub drift: Option<String>,
    /// When that was.
    pub verified_at: DateTime<Utc>,
}

/// What the last verifications in the background found.
///
/// # Errors
/// When the database does not answer.
pub async fn verifications(pool: &PgPool) -> Result<Vec<Verification>, sqlx::Error> {
    let found = "select projection, position, rows, drifted, drift, verified_at from projection_verifications";
    sqlx::query_as(found).fetch_all(pool).await
}

/// Every projection that was ever started, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn status(pool: &PgPool) -> Result<Vec<ProjectionStatus>, sqlx::Error> {
    sqlx::query_as(
        "select c.projection as name, max(c.version) as version, min(c.position) as position, log.head,
                log.head - min(c.position) as lag,
                case when bool_or(c.status = 'failed') then 'failed' else 'running' end as status,
                count(*) filter (where c.status = 'failed') + held.failures as failed, held.failures as held,
                min(c.failure) as failure
         from checkpoints c, (select coalesce(max(position), 0) as head from events) log,
              lateral (select count(*) as failures from projection_failures f where f.projection = c.projection) held
         group by c.projection, log.head, held.failures order by c.projection",
    )
    .fetch_all(pool)
    .await
}

/// Reports as metrics how these projections are, for ever. It is read from the database: one that stands still moves no
/// gauge by itself.
pub(crate) async fn report(pool: PgPool, names: Vec<&'static str>) {
    let mut tick = interval(REPORT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Ok(projections) = status(&pool).await else { continue };
        for projection in projections {
            let Some(name) = names.iter().find(|name| **name == projection.name) else { continue };
            metrics::gauge!("capitune_projection_position", "projection" => *name).set(projection.position as f64);
            metrics::gauge!("capitune_projection_lag", "projection" => *name).set(projection.lag as f64);
            let stopped = if projection.status == "failed" { 1.0 } else { 0.0 };
            metrics::gauge!("capitune_projection_failed", "projection" => *name).set(stopped);
            metrics::gauge!("capitune_projection_held", "projection" => *name).set(projection.held as f64);
        }
        for verification in verifications(&pool).await.unwrap_or_default() {
            let Some(name) = names.iter().find(|name| **name == verification.projection) else { continue };
            metrics::gauge!("capitune_projection_drift", "projection" => *name).set(verification.drifted as f64);
        }
    }
}
