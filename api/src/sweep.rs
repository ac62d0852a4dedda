//! Rows that are past their time go, now and then, a few at a time.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(3600);

/// Runs `delete`, which takes away some rows of `what`, every hour until none is left, and until `stop`.
pub fn keep_swept(writes: PgPool, what: &'static str, delete: &'static str, stop: CancellationToken) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(async move {
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = sweep(&writes, delete).await {
                tracing::warn!(%error, what, "what is past its time could not be swept; trying again later");
            }
        }
    });
}

async fn sweep(writes: &PgPool, delete: &str) -> Result<(), sqlx::Error> {
    while sqlx::query(delete).execute(writes).await?.rows_affected() > 0 {}
    Ok(())
}
