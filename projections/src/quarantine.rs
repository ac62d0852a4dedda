//! Quarantine: an event that cannot be applied is held back, with every later event of its partition key behind it,
//! while all others go on. The key, not the aggregate, because rows under one key build on each other: a comment's count
//! on its post.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use domain::EventEnvelope;
use futures::FutureExt;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::error::ProjectionError;
use crate::positions::partition_of;
use crate::projection::{Batch, Definition};

/// Keys that one projection holds back, at most: where more fail, it is not the events that are broken.
const MOST: usize = 1_000;

/// The partition keys that a projection holds back.
#[derive(Default)]
pub(crate) struct Quarantine {
    keys: BTreeSet<Uuid>,
    /// What was found on the way and is not recorded yet.
    found: Vec<Failure>,
}

/// The first event of its partition key that is held back.
pub(crate) struct Failure {
    pub(crate) event: Arc<EventEnvelope>,
    key: Uuid,
    pub(crate) reason: String,
}

/// A batch that may have turned out not to be readable.
pub(crate) type Decoded = Result<Box<dyn Batch>, ProjectionError>;

/// The event that a projection cannot go beyond, and why.
pub(crate) struct Stop {
    pub(crate) position: u64,
    pub(crate) reason: String,
}

impl Quarantine {
    /// What is recorded of these partitions. Read after their epochs: a release raises them.
    pub(crate) async fn load(
        connection: &mut PgConnection,
        projection: &str,
        partitions: &[i32],
    ) -> Result<Self, sqlx::Error> {
        let recorded = "select partition_key from public.projection_failures
            where projection = $1 and partition = any($2)";
        let keys: Vec<Uuid> =
            sqlx::query_scalar(recorded).bind(projection).bind(partitions).fetch_all(connection).await?;
        Ok(Self { keys: keys.into_iter().collect(), found: Vec::new() })
    }

    /// What is recorded under this name.
    pub(crate) async fn load_all(connection: &mut PgConnection, name: &str) -> Result<Self, sqlx::Error> {
        let recorded = "select partition_key from public.projection_failures where projection = $1";
        let keys: Vec<Uuid> = sqlx::query_scalar(recorded).bind(name).fetch_all(connection).await?;
        Ok(Self { keys: keys.into_iter().collect(), found: Vec::new() })
    }

    /// Whether the event is one of those that are held back.
    pub(crate) fn holds(&self, event: &EventEnvelope) -> bool {
        !self.keys.is_empty() && event.partition_key().is_ok_and(|key| self.keys.contains(&key))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What was found to fail, and is not recorded yet.
    pub(crate) fn found(self) -> Vec<Failure> {
        self.found
    }

    fn hold(&mut self, event: Arc<EventEnvelope>, reason: String) -> Result<(), Stop> {
        let stop = |reason| Stop { position: event.position, reason };
        if self.keys.len() >= MOST {
            return Err(stop(format!("more than {MOST} failures, the last of them: {reason}")));
        }
        let key = event.partition_key().map_err(|error| stop(error.to_string()))?;
        self.keys.insert(key);
        self.found.push(Failure { event, key, reason });
        Ok(())
    }

    /// Records what was found under a name, in the transaction that moves beyond it what goes by that name.
    pub(crate) async fn record(
        &mut self,
        connection: &mut PgConnection,
        definition: &Definition,
        name: &str,
    ) -> Result<(), sqlx::Error> {
        for Failure { event, key, reason } in self.found.drain(..) {
            tracing::error!(
                projection = name,
                position = event.position,
                event_type = event.event_type,
                reason,
                "an event cannot be applied, and is held back with what follows it"
            );
            sqlx::query(
                "with held as (
                     update public.checkpoints set held_from = least(held_from, $7)
                     where projection = $2 and partition = $3)
                 insert into public.projection_failures (id, projection, partition, partition_key, aggregate_type,
                     aggregate_id, position, event_type, reason)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(Uuid::now_v7())
            .bind(name)
            .bind(partition_of(key, definition.partitions))
            .bind(key)
            .bind(&event.aggregate_type)
            .bind(event.aggregate_id)
            .bind(event.position.cast_signed())
            .bind(&event.event_type)
            .bind(reason)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

/// What events say, to be applied together.
///
/// # Errors
/// [`ProjectionError`] when one of them cannot be read.
pub(crate) fn decode(definition: &Definition, events: &[Arc<EventEnvelope>]) -> Decoded {
    let decoding = || (definition.decode)(events.to_vec());
    Ok(catch_unwind(AssertUnwindSafe(decoding)).map_err(|_| panicked())??)
}

/// Applies what was decoded.
///
/// # Errors
/// [`ProjectionError`]: the transaction must be rolled back.
pub(crate) async fn apply(decoded: Decoded, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let batch = decoded?;
    // A panic must not end the projection while its leases are kept.
    AssertUnwindSafe(batch.apply(connection)).catch_unwind().await.unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> ProjectionError {
    ProjectionError::Poison("applying it panicked".to_owned())
}

/// Applies events around those that cannot be, which it finds by halving, in the transaction that is open. What it tells
/// of instead is the first that the projection cannot go beyond: all before it is applied, and nothing after.
///
/// # Errors
/// [`ProjectionError`] that is no event's fault: the transaction must be rolled back.
pub(crate) async fn apply_around(
    definition: &Definition,
    events: Vec<Arc<EventEnvelope>>,
    quarantine: &mut Quarantine,
    connection: &mut PgConnection,
) -> Result<Option<Stop>, ProjectionError> {
    let mut parts = vec![events];
    while let Some(mut part) = parts.pop() {
        part.retain(|event| !quarantine.holds(event));
        let Some(first) = part.first().cloned() else { continue };
        let mut savepoint = connection.begin().await?;
        match apply(decode(definition, &part), &mut savepoint).await {
            Ok(()) => savepoint.commit().await?,
            Err(ProjectionError::Poison(_) | ProjectionError::Failed(_)) if part.len() > 1 => {
                savepoint.rollback().await?;
                let rest = part.split_off(part.len() / 2);
                parts.extend([rest, part]);
            }
            Err(ProjectionError::Poison(reason)) => {
                savepoint.rollback().await?;
                #[cfg(feature = "sabotage-skip-poison")]
                let _ = (first, reason);
                #[cfg(not(feature = "sabotage-skip-poison"))]
                if let Err(stop) = quarantine.hold(first, reason) {
                    return Ok(Some(stop));
                }
            }
            Err(ProjectionError::Failed(reason)) => {
                savepoint.rollback().await?;
                return Ok(Some(Stop { position: first.position, reason }));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
