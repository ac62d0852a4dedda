//! Continuity: whether the log still holds what this process has seen committed. A fail-over to a standby that was behind
//! takes the log's tail away and gives its positions to other events, so places are compared by event id.

mod watch;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::watch::{Receiver, Sender};
use uuid::Uuid;

pub(crate) use watch::keep_watched;

use crate::StoreError;

/// Counts the times that the log was found to have lost events that this process had seen.
const LOSSES: &str = "capitune_log_losses_total";
/// 1 from such a loss on until streams, read models and memory agree with the log again.
const RECOVERING: &str = "capitune_log_recovering";
/// Places remembered to find out how far back a loss goes: one a second while the log grows.
const REMEMBERED: usize = 3600;

/// A place in the log, named by its position and by the event there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The position; 0 before the first event.
    pub position: u64,
    /// The event at that position; none at 0, and where it is not known.
    pub event_id: Option<Uuid>,
}

impl Cursor {
    /// Before the first event.
    pub const START: Self = Self { position: 0, event_id: None };

    /// A place that was seen.
    pub fn at(position: u64, event_id: Uuid) -> Self {
        Self { position, event_id: Some(event_id) }
    }

    /// A place of which only the position is known.
    pub fn position(position: u64) -> Self {
        Self { position, event_id: None }
    }
}

/// Events that this process had seen committed and that the log no longer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// When this process noticed.
    pub noticed_at: DateTime<Utc>,
    /// The newest position that this process had seen.
    pub seen_to: u64,
    /// The last position up to which the log is known to be as this process had seen it; none until that is found out.
    pub kept_to: Option<u64>,
    /// Whether streams, read models and memory agree with the log again.
    pub recovered: bool,
}

/// What this process has seen of the log, and the losses that it has noticed.
pub struct Continuity {
    known: Mutex<Known>,
    losses: Sender<u64>,
}

#[derive(Default)]
struct Known {
    newest: Option<(u64, Uuid)>,
    remembered: VecDeque<(u64, Uuid)>,
    loss: Option<Loss>,
}

impl Default for Continuity {
    fn default() -> Self {
        metrics::counter!(LOSSES).increment(0);
        metrics::gauge!(RECOVERING).set(0.0);
        Self { known: Mutex::default(), losses: Sender::new(0) }
    }
}

impl Continuity {
    /// How many losses this process has noticed: what was read before the last of them may be of lost events.
    pub fn losses(&self) -> u64 {
        *self.losses.borrow()
    }

    /// Reports each loss as this process notices it.
    pub fn subscribe(&self) -> Receiver<u64> {
        self.losses.subscribe()
    }

    /// The last loss.
    pub fn loss(&self) -> Option<Loss> {
        self.known().loss.clone()
    }

    /// Marks that everything in reach of this process agrees with the log again.
    pub fn recovered(&self) {
        if let Some(loss) = &mut self.known().loss {
            loss.recovered = true;
        }
        metrics::gauge!(RECOVERING).set(0.0);
    }

    /// Takes note of a committed event.
    pub(crate) fn saw(&self, position: u64, event_id: Uuid) {
        let newest = &mut self.known().newest;
        if newest.is_none_or(|(known, _)| known < position) {
            *newest = Some((position, event_id));
        }
    }

    /// The newest event that this process has seen.
    pub(crate) fn newest(&self) -> Option<(u64, Uuid)> {
        self.known().newest
    }

    /// Notes that the log does not hold this event, once however many find it missing.
    pub(crate) fn lost(&self, seen: (u64, Uuid)) {
        let mut known = self.known();
        if known.newest != Some(seen) {
            return;
        }
        known.newest = None;
        let loss = Loss { noticed_at: Utc::now(), seen_to: seen.0, kept_to: None, recovered: false };
        known.loss = Some(loss);
        drop(known);
        tracing::error!(position = seen.0, event = %seen.1, "the log has lost events that this process saw committed");
        metrics::counter!(LOSSES).increment(1);
        metrics::gauge!(RECOVERING).set(1.0);
        self.losses.send_modify(|losses| *losses += 1);
    }

    fn remember(&self) {
        let mut known = self.known();
        let Some(newest) = known.newest else { return };
        if known.remembered.back() == Some(&newest) {
            return;
        }
        if known.remembered.len() == REMEMBERED {
            known.remembered.pop_front();
        }
        known.remembered.push_back(newest);
    }

    /// Finds the last remembered place that the log still holds, and forgets those behind it.
    async fn find_kept(&self, reads: &PgPool) -> Result<u64, StoreError> {
        let (positions, events): (Vec<i64>, Vec<Uuid>) =
            self.known().remembered.iter().map(|(position, event)| (position.cast_signed(), *event)).unzip();
        let kept: i64 = sqlx::query_scalar(
            "select coalesce(max(e.position), 0) from unnest($1::bigint[], $2::uuid[]) as seen (position, event_id)
             join events e on e.position = seen.position and e.event_id = seen.event_id",
        )
        .bind(positions)
        .bind(events)
        .fetch_one(reads)
        .await?;
        let mut known = self.known();
        known.remembered.retain(|(position, _)| *position <= kept.cast_unsigned());
        if let Some(loss) = &mut known.loss {
            loss.kept_to = Some(kept.cast_unsigned());
        }
        Ok(kept.cast_unsigned())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_noted_once_and_only_of_the_newest_event() {
        let continuity = Continuity::default();
        let (older, newer) = ((4, Uuid::from_u128(4)), (7, Uuid::from_u128(7)));
        continuity.saw(newer.0, newer.1);
        continuity.saw(older.0, older.1);
        assert_eq!(continuity.newest(), Some(newer));
        continuity.lost(older);
        assert_eq!(continuity.losses(), 0);
        continuity.lost(newer);
        continuity.lost(newer);
        assert_eq!((continuity.losses(), continuity.newest()), (1, None));
        let loss = continuity.loss().unwrap();
        assert_eq!((loss.seen_to, loss.kept_to, loss.recovered), (7, None, false));
        continuity.recovered();
        assert!(continuity.loss().unwrap().recovered);
    }
}
