//! Who was forgotten lately, in this process or in another: what is still kept of them in memory is to be dropped.

use std::sync::{Arc, Weak};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::{Inner, StoreError};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An erasure commits no later than this after the time that it bears.
const MARGIN: Duration = Duration::from_secs(600);
/// Longer than anybody takes to notice.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
const KNOWN: u64 = 1_000_000;

/// The persons who were erased lately.
pub struct Erasures {
    known: Cache<Uuid, ()>,
    noted: watch::Sender<u64>,
}

impl Default for Erasures {
    fn default() -> Self {
        let known = Cache::builder().max_capacity(KNOWN).time_to_live(KNOWN_FOR).build();
        Self { known, noted: watch::Sender::new(0) }
    }
}

impl Erasures {
    /// How often this process has learned of erasures; what was looked at since the last one need not be looked at
    /// again.
    pub fn noted(&self) -> u64 {
        *self.noted.borrow()
    }

    /// Tells of each time that this process learns of erasures.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.noted.subscribe()
    }

    /// Whether this person was erased lately.
    pub fn contains(&self, person: Uuid) -> bool {
        self.known.contains_key(&person)
    }

    pub(crate) fn note(&self, persons: &[Uuid]) {
        for person in persons {
            self.known.insert(*person, ());
        }
        self.noted.send_modify(|noted| *noted += 1);
    }
}

/// Learns of the erasures of other processes, as long as the store is in use.
pub(crate) fn keep_watched(store: &Arc<Inner>) {
    let store: Weak<Inner> = Arc::downgrade(store);
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(async move {
        let (mut seen, mut looked_at) = (None, Instant::now());
        loop {
            tick.tick().await;
            let Some(store) = store.upgrade() else { return };
            let since = looked_at.elapsed() + MARGIN;
            let now = Instant::now();
            match look(&store, seen, since).await {
                Ok(erasures) => (seen, looked_at) = (Some(erasures), now),
                Err(error) => tracing::debug!(%error, "erasures could not be looked for; trying again soon"),
            }
        }
    });
}

/// How many erasures there were by now; those since `seen` are noted.
async fn look(store: &Inner, seen: Option<i64>, since: Duration) -> Result<i64, StoreError> {
    let count: i64 = sqlx::query_scalar("select erasures from log_identity").fetch_one(&store.reads).await?;
    if seen.is_some_and(|seen| seen != count) {
        let lately =
            "select person_id from person_keys where erased_at > clock_timestamp() - make_interval(secs => $1)";
        let persons: Vec<Uuid> = sqlx::query_scalar(lately).bind(since.as_secs_f64()).fetch_all(&store.reads).await?;
        store.vault.note_erased(&persons);
    }
    Ok(count)
}
