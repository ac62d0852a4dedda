//! How far the read models are, and waiting for one to reach a position.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_store::Database;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::listen::listen;

/// Postgres channel on which workers announce the checkpoints they moved.
pub const CHECKPOINTS: &str = "capitune_checkpoints";

/// Covers announcements that were lost.
const POLL: Duration = Duration::from_millis(500);
/// How soon rows that are behind their checkpoint are looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The partition of a key.
pub fn partition_of(key: Uuid, partitions: i32) -> i32 {
    let (high, low) = key.as_u64_pair();
    let mixed = (high ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (mixed % u64::from(partitions.max(1).unsigned_abs())) as i32
}

/// Which checkpoints a read depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// That of the partition of this key: the id of a dossier or an account, the post of a comment.
    Key(Uuid),
    /// The lowest of all partitions: a list.
    All,
}

/// How far what was read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached {
    /// All events up to it are applied, but for those that are held back.
    pub position: u64,
    /// From this one on, some of what was read is held back: an event could not be applied.
    pub held_from: Option<u64>,
}

impl From<u64> for Reached {
    fn from(position: u64) -> Self {
        Self { position, held_from: None }
    }
}

impl Reached {
    /// The last position up to which nothing is missing.
    pub fn complete_to(self) -> u64 {
        self.held_from.map_or(self.position, |held_from| self.position.min(held_from - 1))
    }

    /// The same for a reader of what stands under one key, all of which is held back or none.
    fn in_scope(self, scope: Scope) -> Self {
        match scope {
            Scope::Key(_) => Self { position: self.complete_to(), ..self },
            Scope::All => self,
        }
    }
}

/// The read model did not reach the position in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the read model is at position {reached}, {wanted} was asked for")]
pub struct Lagging {
    /// How far it was.
    pub reached: u64,
    /// How far it was to be.
    pub wanted: u64,
}

/// The positions of every projection, kept up to date from this process, from others, and by a slow poll.
#[derive(Clone)]
pub struct ReadPositions {
    projections: Arc<BTreeMap<&'static str, watch::Sender<Vec<u64>>>>,
}

impl ReadPositions {
    /// Starts to follow the checkpoints until `cancel`.
    pub fn start(database: &Database, cancel: CancellationToken) -> Self {
        let projections = crate::PARTITIONS
            .iter()
            .map(|(name, partitions)| (*name, watch::Sender::new(vec![0; partitions.unsigned_abs() as usize])));
        let positions = Self { projections: Arc::new(projections.collect()) };
        let heard = positions.clone();
        listen(database, CHECKPOINTS, cancel.clone(), move |payload| heard.hear(payload));
        let (polled, reads) = (positions.clone(), database.reads.clone());
        tokio::spawn(async move { cancel.run_until_cancelled(polled.poll(reads)).await });
        positions
    }

    /// Waits until `projection` has applied everything in `scope` up to `position`.
    ///
    /// # Errors
    /// [`Lagging`] when it has not at `deadline`.
    pub async fn wait(&self, projection: &str, scope: Scope, position: u64, deadline: Instant) -> Result<(), Lagging> {
        let lagging = |reached| Lagging { reached, wanted: position };
        let sender = self.projections.get(projection).ok_or_else(|| lagging(0))?;
        if reached(&sender.borrow(), scope) >= position {
            return Ok(());
        }
        let mut receiver = sender.subscribe();
        let waited = timeout_at(deadline, receiver.wait_for(|positions| reached(positions, scope) >= position)).await;
        match waited {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(lagging(reached(&sender.borrow(), scope))),
        }
    }

    /// Reads at `position` or later: waits, runs `query`, which answers with its rows and how far they were, and goes on
    /// waiting should that be lower (the commit of a checkpoint is lost in a crash of Postgres, an event is held back).
    ///
    /// # Errors
    /// [`ReadError`] when the read model did not get there before `deadline`, or when the query fails.
    pub async fn read<T, F>(
        &self,
        projection: &str,
        scope: Scope,
        position: u64,
        deadline: Instant,
        mut query: impl FnMut() -> F,
    ) -> Result<(T, Reached), ReadError>
    where
        F: Future<Output = Result<(T, Reached), sqlx::Error>>,
    {
        loop {
            self.wait(projection, scope, position, deadline).await?;
            let (rows, reached) = query().await?;
            let reached = reached.in_scope(scope);
            if reached.position >= position {
                return Ok((rows, reached));
            }
            if Instant::now() >= deadline {
                return Err(Lagging { reached: reached.position, wanted: position }.into());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Takes over positions that were reached.
    pub(crate) fn raise(&self, projection: &str, partitions: impl IntoIterator<Item = i32>, position: u64) {
        let Some(sender) = self.projections.get(projection) else { return };
        sender.send_if_modified(|positions| {
            let mut raised = false;
            for partition in partitions {
                let known = usize::try_from(partition).ok().and_then(|partition| positions.get_mut(partition));
                if let Some(known) = known.filter(|known| **known < position) {
                    *known = position;
                    raised = true;
                }
            }
            raised
        });
    }

    fn hear(&self, payload: &str) {
        let announced: Vec<(String, i32, u64)> = serde_json::from_str(payload).unwrap_or_default();
        for (projection, partition, position) in announced {
            self.raise(&projection, [partition], position);
        }
    }

    async fn poll(&self, reads: PgPool) {
        let mut tick = interval(POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let before: BTreeMap<_, _> =
                self.projections.iter().map(|(name, sender)| (*name, sender.borrow().clone())).collect();
            let query = "select projection, partition, position from checkpoints";
            match sqlx::query_as::<_, (String, i32, i64)>(query).fetch_all(&reads).await {
                Ok(rows) => rows.into_iter().for_each(|row| self.reconcile(&before, row)),
                Err(error) => tracing::debug!(%error, "the checkpoints could not be read"),
            }
        }
    }

    /// A stored checkpoint below what was known before it was read has gone back; one below what became known since
    /// has not.
    fn reconcile(&self, before: &BTreeMap<&'static str, Vec<u64>>, row: (String, i32, i64)) {
        let (projection, partition, stored) = (row.0, row.1, row.2.cast_unsigned());
        let Ok(index) = usize::try_from(partition) else { return };
        let known = before.get(projection.as_str()).and_then(|positions| positions.get(index));
        if known.is_none_or(|known| stored >= *known) {
            return self.raise(&projection, [partition], stored);
        }
        if let Some(sender) = self.projections.get(projection.as_str()) {
            sender.send_modify(|positions| positions[index] = stored);
        }
    }
}

fn reached(positions: &[u64], scope: Scope) -> u64 {
    match scope {
        Scope::All => positions.iter().copied().min().unwrap_or(0),
        Scope::Key(key) => {
            let partitions = i32::try_from(positions.len()).unwrap_or(i32::MAX);
            positions.get(partition_of(key, partitions).unsigned_abs() as usize).copied().unwrap_or(0)
        }
    }
}

/// Why a read did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The read model was not there in time.
    #[error(transparent)]
    Lagging(#[from] Lagging),
    /// The database did not answer the query.
    #[error("the read model could not be read")]
    Database(#[from] sqlx::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(known: &[u64]) -> ReadPositions {
        let sender = watch::Sender::new(known.to_vec());
        ReadPositions { projections: Arc::new(BTreeMap::from([("dossier", sender)])) }
    }

    #[test]
    fn a_key_keeps_its_partition() {
        let key = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0007);
        assert_eq!((partition_of(key, 1), partition_of(key, 8)), (0, partition_of(key, 8)));
        let mut partitions: Vec<i32> = (0..1000).map(|n| partition_of(Uuid::from_u128(n), 8)).collect();
        partitions.sort_unstable();
        partitions.dedup();
        assert_eq!(partitions, (0..8).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_list_waits_for_its_slowest_partition() {
        let positions = positions(&[9, 4]);
        let soon = Instant::now() + Duration::from_millis(10);
        let lagging = Lagging { reached: 4, wanted: 9 };
        assert_eq!(positions.wait("dossier", Scope::All, 9, soon).await, Err(lagging));
        positions.raise("dossier", [1], 9);
        assert_eq!(positions.wait("dossier", Scope::All, 9, soon).await, Ok(()));
    }

    #[test]
    fn an_announcement_never_takes_a_position_back() {
        let positions = positions(&[9, 4]);
        positions.hear(r#"[["dossier",0,3],["dossier",1,7],["unknown",0,5]]"#);
        positions.hear("not an announcement");
        assert_eq!(*positions.projections["dossier"].borrow(), [9, 7]);
    }

    #[test]
    fn a_stored_checkpoint_that_went_back_is_believed_unless_it_was_read_too_early() {
        let positions = positions(&[9, 9]);
        let before = BTreeMap::from([("dossier", vec![9, 4])]);
        positions.reconcile(&before, ("dossier".to_owned(), 0, 5));
        positions.reconcile(&before, ("dossier".to_owned(), 1, 5));
        assert_eq!(*positions.projections["dossier"].borrow(), [5, 9]);
    }
}
