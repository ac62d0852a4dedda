//! Identical requests share one flight: in one process, a key's second request waits for its first.

use std::sync::Arc;

use event_store::IdempotencyKey;
use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

const FLIGHTS: u64 = 10_000;

pub(crate) struct Flights {
    keys: Cache<(Uuid, String), Arc<Mutex<()>>>,
}

impl Default for Flights {
    fn default() -> Self {
        Self { keys: Cache::new(FLIGHTS) }
    }
}

impl Flights {
    /// Enters the key's flight; true when another request was in it, whose answer may stand by now.
    pub(crate) async fn enter(&self, key: &IdempotencyKey) -> (OwnedMutexGuard<()>, bool) {
        let flight = self.keys.get_with((key.scope, key.key.clone()), Arc::default);
        match flight.clone().try_lock_owned() {
            Ok(guard) => (guard, false),
            Err(_) => (flight.lock_owned().await, true),
        }
    }
}
