//! The only file that knows cqrs-es: every aggregate of ours as one of its aggregates, and our store as its event
//! repository, whose reads are postgres-es's and whose writes are the appender's.

use std::time::Duration;

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError, ReplayStream, SerializedEvent, SerializedSnapshot};
use domain::{Aggregate, DomainEvent};
use event_store::{Append, EventStore, Lineage, NewEvent, StoreError, StreamId};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Inner;
use crate::warm::Persons;

const DEADLINE: Duration = Duration::from_secs(10);

/// An aggregate of ours, as cqrs-es wants it.
#[derive(Debug, Clone, Default)]
pub struct EventSourced<A>(pub A);

/// A domain event of ours, as cqrs-es wants it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent, bound = "E: DomainEvent")]
pub struct Recorded<E>(pub E);

impl<E: DomainEvent> cqrs_es::DomainEvent for Recorded<E> {
    fn event_type(&self) -> String {
        self.0.event_type().to_owned()
    }

    fn event_version(&self) -> String {
        self.0.schema_version().to_string()
    }
}

impl<A: Aggregate> cqrs_es::Aggregate for EventSourced<A> {
    const TYPE: &'static str = A::TYPE;
    type Command = A::Command;
    type Event = Recorded<A::Event>;
    type Error = A::Error;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in self.0.decide(command)? {
            sink.write(Recorded(event), self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.0.apply(&event.0);
    }
}

// cqrs-es serialises aggregates for its snapshots only, which its event-store mode never takes.
impl<A> Serialize for EventSourced<A> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("aggregates are not snapshotted by cqrs-es"))
    }
}

impl<'de, A> Deserialize<'de> for EventSourced<A> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("aggregates are not snapshotted by cqrs-es"))
    }
}

/// The event repository: reads by postgres-es, writes by group commit, snapshots and its replay streams refused.
pub struct EventRepository {
    reads: PostgresEventRepository,
    store: EventStore,
}

impl EventRepository {
    /// A repository that reads from `pool` and appends to `store`.
    pub fn new(pool: PgPool, store: EventStore) -> Self {
        Self { reads: PostgresEventRepository::new(pool), store }
    }
}

impl PersistedEventRepository for EventRepository {
    async fn get_events<A: cqrs_es::Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.reads.get_events::<A>(aggregate_id).await
    }

    async fn get_last_events<A: cqrs_es::Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.reads.get_last_events::<A>(aggregate_id, last_sequence).await
    }

    async fn get_snapshot<A: cqrs_es::Aggregate>(
        &self,
        _: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: cqrs_es::Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        if snapshot_update.is_some() {
            return Err(refused("snapshots are not taken here"));
        }
        let Some(first) = events.first() else { return Ok(()) };
        let append = Append {
            stream: StreamId { aggregate_type: A::TYPE, id: first.aggregate_id.parse().map_err(unknown)? },
            expected_version: first.sequence as u64 - 1,
            known: false,
            losses: self.store.continuity().losses(),
            events: events.iter().map(new_event).collect(),
            unchanged_position: 0,
            idempotency: None,
            claims: Vec::new(),
            persons: Vec::new(),
            lineage: Lineage::default(),
            deadline: Instant::now() + DEADLINE,
        };
        let appended = self.store.append(append).await.map_err(unknown)?;
        appended.map(|_| ()).map_err(|_| PersistenceError::OptimisticLockError)
    }

    // postgres-es unwraps database errors in a task of its own and then ends the stream as if it were whole.
    async fn stream_events<A: cqrs_es::Aggregate>(&self, _: &str) -> Result<ReplayStream, PersistenceError> {
        Err(refused("replay the log by position instead"))
    }

    async fn stream_all_events<A: cqrs_es::Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        Err(refused("replay the log by position instead"))
    }
}

fn new_event(event: &SerializedEvent) -> NewEvent {
    NewEvent {
        event_id: Uuid::now_v7(),
        event_type: event.event_type.clone().into(),
        schema_version: event.event_version.parse().unwrap_or(1),
        payload: event.payload.to_string(),
        metadata: event.metadata.to_string(),
    }
}

fn refused(reason: &str) -> PersistenceError {
    PersistenceError::UnknownError(reason.into())
}

fn unknown(error: impl std::error::Error + Send + Sync + 'static) -> PersistenceError {
    PersistenceError::UnknownError(Box::new(error))
}

impl Inner {
    /// Applies the stream's events after version `after` to `state`, adds to `persons` whose data is in them, and
    /// returns the version reached.
    pub(crate) async fn load<A: Aggregate>(
        &self,
        stream: StreamId,
        state: &mut A,
        persons: &mut Persons,
        after: u64,
    ) -> Result<u64, StoreError> {
        if after > 0 {
            return self.load_tail(stream, state, persons, after).await;
        }
        let id = stream.id.to_string();
        // postgres-es does not say which events these are; the stream's head does, so that their loss is noticed.
        let (events, head) =
            tokio::join!(self.repository.get_events::<EventSourced<A>>(&id), self.store.stream_head(stream));
        let events = events.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let head = head?;
        let mut version = 0;
        for event in events {
            version += 1;
            if event.sequence as u64 != version {
                return Err(StoreError::Broken(format!("{} {} lacks version {version}", A::TYPE, stream.id)));
            }
            let (payload, of) = self.store.vault().open_payload(stream, &event.payload.to_string()).await?;
            persons.add(&of);
            let schema_version = event.event_version.parse().unwrap_or(0);
            state.apply(&decode::<A>(&event.event_type, schema_version, &payload)?);
        }
        if head.version < version {
            self.store.stream_head(stream).await?;
        }
        Ok(version)
    }

    /// postgres-es's own tail read writes the version into the statement, a new one to prepare for every version.
    async fn load_tail<A: Aggregate>(
        &self,
        stream: StreamId,
        state: &mut A,
        persons: &mut Persons,
        after: u64,
    ) -> Result<u64, StoreError> {
        let mut version = after;
        for event in self.store.read_stream(stream, after).await? {
            version = event.version;
            let (payload, of) = self.store.vault().open_payload(stream, event.payload.get()).await?;
            persons.add(&of);
            state.apply(&decode::<A>(&event.event_type, event.schema_version, &payload)?);
        }
        Ok(version)
    }
}

fn decode<A: Aggregate>(event_type: &str, schema_version: u32, payload: &str) -> Result<A::Event, StoreError> {
    if !A::Event::knows(event_type, schema_version) {
        return Err(StoreError::Broken(format!("{event_type} version {schema_version} is unknown to this build")));
    }
    A::Event::decode(event_type, schema_version, payload)
        .map_err(|error| StoreError::Broken(format!("{event_type} does not have its promised shape: {error}")))
}
