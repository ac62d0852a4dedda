//! Sweeping away what was kept for a while: markers of batches, answers under idempotency keys, and most signed heads.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval_at};
use uuid::{NoContext, Timestamp, Uuid};

use crate::{EventStore, Inner, StoreError};

const EVERY: Duration = Duration::from_secs(300);
/// Far longer than a statement may wait that could still bring a batch in.
const BATCHES_KEPT: Duration = Duration::from_secs(3600);
/// Clients are promised a day.
const ANSWERS_KEPT: Duration = Duration::from_secs(48 * 3600);
/// For how long every signed head is kept; of those before, the last of each hour.
const HEADS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Rows deleted by one statement, at most, so that none holds locks for long.
const CHUNK: i64 = 10_000;

impl EventStore {
    /// Deletes the markers of batches, the answers under idempotency keys and the signed heads that are past their time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database does not answer.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        sweep(&self.inner.writes).await
    }
}

/// Sweeps now and then, as long as the store is in use.
pub(crate) fn keep_swept(store: &Arc<Inner>) {
    let store: Weak<Inner> = Arc::downgrade(store);
    let mut tick = interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(async move {
        loop {
            tick.tick().await;
            let Some(writes) = store.upgrade().map(|store| store.writes.clone()) else { return };
            if let Err(error) = sweep(&writes).await {
                tracing::warn!(%error, "old batches, answers and heads could not be swept; trying again later");
            }
        }
    });
}

async fn sweep(writes: &PgPool) -> Result<(), StoreError> {
    // Batch ids are UUIDv7: in their order they are as old as their time, by the clock of whoever made them up.
    let oldest = chrono::Utc::now() - BATCHES_KEPT;
    let oldest = Timestamp::from_unix(NoContext, oldest.timestamp().cast_unsigned(), 0);
    let batches = "delete from appended_batches where batch_id in (
                       select batch_id from appended_batches
                       where batch_id < $1 and recorded_at < clock_timestamp() - make_interval(secs => $2)
                       order by batch_id limit $3)";
    let (oldest, kept) = (Uuid::new_v7(oldest), BATCHES_KEPT.as_secs_f64());
    while sqlx::query(batches).bind(oldest).bind(kept).bind(CHUNK).execute(writes).await?.rows_affected() > 0 {}
    let answers = "delete from idempotency_records where (scope, key) in (
                       select scope, key from idempotency_records
                       where recorded_at < clock_timestamp() - make_interval(secs => $1) order by recorded_at limit $2)";
    let kept = ANSWERS_KEPT.as_secs_f64();
    while sqlx::query(answers).bind(kept).bind(CHUNK).execute(writes).await?.rows_affected() > 0 {}
    let heads = "delete from audit_heads where size in (
                     select size from (
                         select size, lead(signed_at) over (order by size) as next, signed_at from audit_heads
                         where signed_at < clock_timestamp() - make_interval(secs => $1)) as old
                     where date_trunc('hour', next) = date_trunc('hour', signed_at) limit $2)";
    let kept = HEADS_KEPT.as_secs_f64();
    while sqlx::query(heads).bind(kept).bind(CHUNK).execute(writes).await?.rows_affected() > 0 {}
    Ok(())
}
