//! The write side: a command is authorised and decided on the warm state of its aggregate, queued into the next group
//! commit, and answered after that commit; when it lost a race it is decided again.

mod attempt;
mod context;
mod error;
pub mod event_sourced;
mod flights;
mod warm;

use std::sync::Arc;
use std::time::Duration;

use domain::Aggregate;
use event_store::{Database, EventStore, StoreError, StreamId};
use rand::Rng;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub use context::Context;
pub use error::CommandError;

use attempt::Next;
use event_sourced::EventRepository;
use flights::Flights;
use warm::WarmAggregates;

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Executed {
    /// The aggregate.
    pub id: Uuid,
    /// Its version after the command.
    pub version: u64,
    /// The position of its last event then.
    pub position: u64,
    /// How it came to that.
    pub outcome: Outcome,
}

/// How a command came to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its events were appended.
    Appended,
    /// Nothing had to change.
    Unchanged,
    /// It had been executed before under the same idempotency key, and was answered with this HTTP status.
    Replayed(u16),
}

/// Executes commands. Cheap to clone; one per process, since it holds the warm aggregates.
#[derive(Clone)]
pub struct Commands {
    inner: Arc<Inner>,
}

struct Inner {
    store: EventStore,
    repository: EventRepository,
    warm: WarmAggregates,
    flights: Flights,
}

impl Commands {
    /// Commands on this store, whose cold loads read from `database`.
    pub fn new(store: EventStore, database: &Database) -> Self {
        let repository = EventRepository::new(database.reads.clone(), store.clone());
        let (warm, flights) = (WarmAggregates::default(), Flights::default());
        let inner = Arc::new(Inner { store, repository, warm, flights });
        keep_forgetting(&inner);
        Self { inner }
    }

    /// Executes a command on the aggregate `id` and answers after its commit.
    ///
    /// Runs in a task of its own: a caller that goes away cancels nothing.
    ///
    /// # Errors
    /// [`CommandError`] tells whether to mend the command, to fetch the state again, or to retry.
    pub async fn execute<A: Aggregate>(
        &self,
        id: Uuid,
        command: A::Command,
        context: Context,
    ) -> Result<Executed, CommandError<A::Error>> {
        let inner = self.inner.clone();
        let task = tokio::spawn(async move { inner.execute::<A>(id, command, context).await });
        task.await.unwrap_or_else(|_| Err(CommandError::Store(StoreError::OutcomeUnknown)))
    }

    /// [`Commands::execute`] for the first command of a stream whose id was made for it, which need not be read: should
    /// there be one after all, the append notices.
    ///
    /// # Errors
    /// As [`Commands::execute`].
    pub async fn create<A: Aggregate>(
        &self,
        id: Uuid,
        command: A::Command,
        context: Context,
    ) -> Result<Executed, CommandError<A::Error>> {
        self.inner.warm.entry::<A>(id).lock().await.begin(self.inner.store.continuity().losses());
        self.execute::<A>(id, command, context).await
    }

    /// The aggregate's committed state and version, by a read that begins after this call.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn state<A: Aggregate>(&self, id: Uuid) -> Result<(A, u64), StoreError> {
        self.inner.committed_state(id).await
    }
}

/// Drops what is kept warm of those who are erased, as soon as this process learns of it.
fn keep_forgetting(inner: &Arc<Inner>) {
    let mut erasures = inner.store.vault().erasures().subscribe();
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        while erasures.changed().await.is_ok() {
            let Some(inner) = inner.upgrade() else { return };
            // There may be many.
            let forgotten = tokio::task::spawn_blocking(move || inner.warm.forget(inner.store.vault().erasures()));
            forgotten.await.ok();
        }
    });
}

impl Inner {
    async fn execute<A: Aggregate>(
        &self,
        id: Uuid,
        command: A::Command,
        context: Context,
    ) -> Result<Executed, CommandError<A::Error>> {
        let _flight = match &context.idempotency {
            Some(key) => {
                let (flight, waited) = self.flights.enter(key).await;
                if waited && let Some(executed) = self.replay(&context).await? {
                    return Ok(executed);
                }
                Some(flight)
            }
            None => None,
        };
        let mut known_head = 0;
        for attempt in 0.. {
            match self.attempt::<A>(id, &command, &context, &mut known_head).await? {
                Next::Answer(executed) => return Ok(executed),
                Next::DecideAgain => pause(attempt, context.deadline).await?,
            }
        }
        Err(CommandError::Contention)
    }

    async fn committed_state<A: Aggregate>(&self, id: Uuid) -> Result<(A, u64), StoreError> {
        let stream = StreamId { aggregate_type: A::TYPE, id };
        let entry = self.warm.entry::<A>(id);
        let head = self.store.stream_head(stream).await?;
        let mut warm = entry.lock().await;
        warm.refresh(self, id, head.version).await?;
        let (state, version) = (warm.state().clone(), warm.version());
        let commits = warm.commits();
        drop(warm);
        if commits.reached(version).await {
            return Ok((state, version));
        }
        let mut warm = entry.lock().await;
        warm.refresh(self, id, version).await?;
        Ok((warm.state().clone(), warm.version()))
    }
}

/// Waits a little, longer each time and never in step with the rival, before a command is decided again.
async fn pause<E>(attempt: u32, deadline: Instant) -> Result<(), CommandError<E>> {
    const MOST: u64 = 50;
    metrics::counter!("capitune_commands_decided_again_total").increment(1);
    let most = (1 << attempt.min(6)).min(MOST);
    let wait = rand::rng().random_range(100..=most * 1000);
    sleep(Duration::from_micros(wait)).await;
    if Instant::now() >= deadline {
        return Err(CommandError::Contention);
    }
    Ok(())
}
