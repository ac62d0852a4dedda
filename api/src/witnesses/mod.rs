//! Witnesses: places outside the database that keep signed tree heads, so that a database that is rewritten as a whole is
//! found out. Object stores and directories keep one object a head; anybody else is sent each by a webhook.

mod place;
mod store;
mod webhook;

use std::time::Duration;

use event_store::audit::SignedHead;
use event_store::{EventStore, StoreError};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use place::Place;
pub use store::kept_heads;

/// How often a witness gets a head, at most, and is tried again.
const EVERY: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const PURPOSE: &str = "audit-witness";
const SIZE: &str = "capitune_audit_witness_size";
const FAILING: &str = "capitune_audit_witness_failing";

/// Why a witness did not take a head.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// It cannot be reached, or refuses.
    #[error("{0}")]
    Refused(String),
    /// It keeps another head of this size: one of the two logs is not the one that was signed.
    #[error("it keeps another head of {0} events: run `capitune audit verify`")]
    Contradicted(u64),
    /// Our own side does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sends new heads to every witness.
pub struct Witnesses {
    store: EventStore,
    writes: PgPool,
    places: Vec<Place>,
}

impl Witnesses {
    /// These places, none of which has been tried yet.
    pub fn new(store: EventStore, writes: PgPool, places: Vec<Place>) -> Self {
        Self { store, writes, places }
    }

    /// Sends heads until `stop`; one of several processes at a time to each place.
    pub async fn run(self, stop: CancellationToken) {
        // Each by itself: one that hangs keeps no other waiting.
        let kept = futures::future::join_all(self.places.iter().map(|place| self.keep(place)));
        stop.run_until_cancelled(kept).await;
    }

    async fn keep(&self, place: &Place) {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Ok(Some(head)) = self.store.tree_head().await {
                self.send(place, &head).await;
            }
        }
    }

    async fn send(&self, place: &Place, head: &SignedHead) {
        let name = place.name();
        let (size, failing) = match self.try_send(place, head).await {
            Ok(None) => return,
            Ok(Some(size)) => (Some(size), false),
            Err(error) => {
                tracing::warn!(witness = name, %error, "a witness did not take a signed head; trying again");
                (None, true)
            }
        };
        metrics::gauge!(FAILING, "witness" => name.clone()).set(f64::from(u8::from(failing)));
        if let Some(size) = size {
            metrics::gauge!(SIZE, "witness" => name).set(size as f64);
        }
    }

    /// Sends the head when it is this process's turn; its size then.
    async fn try_send(&self, place: &Place, head: &SignedHead) -> Result<Option<u64>, WitnessError> {
        let id = self.store.vault().keyed_hash(PURPOSE, place.url().as_str().as_bytes());
        let size = head.head.size;
        let Some(before) = self.take_turn(&id, size).await? else { return Ok(None) };
        match place {
            Place::Store { .. } => store::keep(place, head).await?,
            Place::Webhook { url, client } => {
                let growth = self.store.prove_consistency(before, size).await?;
                webhook::send(client, url, head, before, &growth).await?;
            }
        }
        self.accepted(&id, size).await?;
        Ok(Some(size))
    }

    /// What the place has accepted, when it lacks this head and nobody has tried for a while.
    async fn take_turn(&self, id: &[u8; 32], size: u64) -> Result<Option<u64>, StoreError> {
        // Looked at before: what is in conflict is locked, and so written to disk, also where nothing is updated.
        let turn = "insert into audit_witnesses as w (id, tried_at) select $1, clock_timestamp()
             where not exists (select from audit_witnesses where id = $1
                 and (size >= $2 or tried_at >= clock_timestamp() - make_interval(secs => $3)))
             on conflict (id) do update set tried_at = clock_timestamp()
             where w.size < $2 and w.tried_at < clock_timestamp() - make_interval(secs => $3)
             returning size";
        let before: Option<i64> = sqlx::query_scalar(turn)
            .bind(id.as_slice())
            .bind(size.cast_signed())
            .bind(EVERY.as_secs_f64())
            .fetch_optional(&self.writes)
            .await?;
        Ok(before.map(i64::cast_unsigned))
    }

    async fn accepted(&self, id: &[u8; 32], size: u64) -> Result<(), StoreError> {
        sqlx::query("update audit_witnesses set size = $2 where id = $1 and size < $2")
            .bind(id.as_slice())
            .bind(size.cast_signed())
            .execute(&self.writes)
            .await?;
        Ok(())
    }
}
