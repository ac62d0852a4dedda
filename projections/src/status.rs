//! How the projections are, for those who run the instance.

use std::time::Duration;

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
    /// How many of its partitions have stopped.
    pub failed: i64,
    /// Why the first of them stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
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
                count(*) filter (where c.status = 'failed') as failed, min(c.failure) as failure
         from checkpoints c, (select coalesce(max(position), 0) as head from events) log
         group by c.projection, log.head order by c.projection",
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
            let failed = if projection.failed > 0 { 1.0 } else { 0.0 };
            metrics::gauge!("capitune_projection_failed", "projection" => *name).set(failed);
        }
    }
}
