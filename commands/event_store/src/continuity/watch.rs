//! Looks once a second whether the log still holds what this process has seen, and after a loss finds out how far back
//! it goes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::audit::SignedHead;
use crate::{Inner, StoreError};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the watch remembers between two looks.
#[derive(Default)]
struct Watch {
    /// The losses whose extent is known.
    examined: u64,
    /// The newest signed head that was seen.
    head: Option<SignedHead>,
}

/// Watches as long as the store is in use.
pub(crate) fn keep_watched(store: &Arc<Inner>) {
    let mut losses = store.continuity.subscribe();
    let store: Weak<Inner> = Arc::downgrade(store);
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(async move {
        let mut watch = Watch::default();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                changed = losses.changed() => if changed.is_err() { return },
            }
            let Some(store) = store.upgrade() else { return };
            if let Err(error) = watch.look(&store).await {
                tracing::debug!(%error, "whether the log is as it was could not be looked at; trying again soon");
            }
        }
    });
}

impl Watch {
    async fn look(&mut self, store: &Inner) -> Result<(), StoreError> {
        compare(store).await?;
        let losses = store.continuity.losses();
        if losses > self.examined {
            self.examine(store).await?;
            self.examined = losses;
        }
        store.continuity.remember();
        self.head = store.last_head().await?;
        Ok(())
    }

    /// Finds out how far back a loss goes, and records the signed head that was lost with it.
    async fn examine(&mut self, store: &Inner) -> Result<(), StoreError> {
        store.vault.forget_keys();
        let kept_to = store.continuity.find_kept(&store.reads).await?;
        tracing::error!(kept_to, "the log is as this process had seen it up to here, and begins anew behind it");
        if let Some(head) = self.head.take_if(|head| head.head.size > kept_to) {
            store.record_lost_head(&head, kept_to).await?;
        }
        Ok(())
    }
}

/// Compares the newest event that was seen with the log, and takes note of the log's last one.
async fn compare(store: &Inner) -> Result<(), StoreError> {
    let seen = store.continuity.newest();
    let (holds, head): (bool, Option<(i64, Uuid)>) = {
        let (holds, position, event_id): (bool, Option<i64>, Option<Uuid>) = sqlx::query_as(
            "select $2::uuid is null or exists (select from events where position = $1 and event_id = $2),
                    head.position, head.event_id
             from (select) one left join (
                 select position, event_id from events order by position desc limit 1) head on true",
        )
        .bind(seen.map(|(position, _)| position.cast_signed()))
        .bind(seen.map(|(_, event_id)| event_id))
        .fetch_one(&store.reads)
        .await?;
        (holds, position.zip(event_id))
    };
    if let (false, Some(seen)) = (holds, seen) {
        store.continuity.lost(seen);
    }
    if let Some((position, event_id)) = head {
        store.continuity.saw(position.cast_unsigned(), event_id);
    }
    Ok(())
}
