//! Identical requests share one flight: in one process, a key's second request waits for its first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use event_store::IdempotencyKey;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

type Key = (Uuid, String);
type Turns = Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>;

/// The keys with a request under way.
#[derive(Default)]
pub(crate) struct Flights {
    keys: Arc<Turns>,
}

/// The turn of one request; it ends when this is dropped.
pub(crate) struct Flight {
    keys: Arc<Turns>,
    key: Key,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// Enters the key's flight; true when another request was in it, whose answer may stand by now.
    pub(crate) async fn enter(&self, key: &IdempotencyKey) -> (Flight, bool) {
        let key = (key.scope, key.key.clone());
        let turns = self.keys.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().clone();
        let mut flight = Flight { keys: self.keys.clone(), key, turn: None };
        let (turn, waited) = match turns.clone().try_lock_owned() {
            Ok(turn) => (turn, false),
            Err(_) => (turns.lock_owned().await, true),
        };
        flight.turn = Some(turn);
        (flight, waited)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.turn = None;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.get(&self.key).is_some_and(|turns| Arc::strong_count(turns) == 1) {
            keys.remove(&self.key);
        }
    }
}
