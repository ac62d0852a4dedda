//! Filling tables from the log in bulk.

use std::sync::Arc;

use domain::EventEnvelope;
use event_store::EventStore;
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Progress, RebuildError, state};
use crate::error::ProjectionError;
use crate::projection::Definition;
use crate::quarantine::{self, Decoded, Quarantine, Stop};

/// Events read at once, and applied in one transaction.
const CHUNK: u32 = 10_000;
/// The same where rows are made to be compared with those: as small as live batches are.
const SMALL: u32 = 500;
/// How many chunks may be read and decoded ahead of the one being applied.
const AHEAD: usize = 2;
/// The live rows stand still while this many events, at most, are caught up with.
pub(super) const LAST_STEP: u32 = 1_000;
/// How many events of the log a sample has, about.
const SAMPLED: u64 = 20_000;

/// Which partition keys are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    /// All of them.
    Whole,
    /// One in so many.
    OneIn { many: u64, offset: u64 },
    /// This one.
    Key(Uuid),
}

impl Sample {
    /// About so many that folding them takes seconds, of a log of this length; all of them when it is short.
    pub(super) fn of(length: u64) -> Self {
        match length.div_ceil(SAMPLED) {
            0 | 1 => Self::Whole,
            many => Self::OneIn { many, offset: rand::random_range(0..many) },
        }
    }

    pub(super) fn is_whole(self) -> bool {
        self == Self::Whole
    }

    fn has(self, event: &EventEnvelope) -> bool {
        match self {
            // What has no key is nobody's, and fails as such.
            Self::Whole => true,
            Self::OneIn { many, offset } => {
                event.partition_key().is_ok_and(|key| key.as_u128() as u64 % many == offset)
            }
            Self::Key(one) => event.partition_key().is_ok_and(|key| key == one),
        }
    }
}

/// Tables being filled.
pub(super) struct Filling<'a> {
    pub(super) definition: &'static Definition,
    pub(super) store: &'a EventStore,
    progress: &'a Progress,
    sample: Sample,
    chunk: u32,
    quarantine: Quarantine,
    /// The name under which failures are recorded; with it, how far it is.
    record: Option<&'a str>,
}

/// Some positions of the log, with the events of theirs that go into the tables.
pub(super) struct Chunk {
    events: Vec<Arc<EventEnvelope>>,
    decoded: Decoded,
    pub(super) to: u64,
}

impl<'a> Filling<'a> {
    /// Tables of this projection.
    pub(super) fn new(definition: &'static Definition, store: &'a EventStore, progress: &'a Progress) -> Self {
        let quarantine = Quarantine::default();
        Self { definition, store, progress, sample: Sample::Whole, chunk: CHUNK, quarantine, record: None }
    }

    /// To be compared with rows that were made of the log in bulk: of a sample of it, in small batches.
    pub(super) fn compared(self, sample: Sample) -> Self {
        Self { sample, chunk: SMALL, ..self }
    }

    /// With what is under one partition key.
    pub(super) fn of_key(self, key: Uuid) -> Self {
        Self { sample: Sample::Key(key), ..self }
    }

    /// So that it can be gone on with: what fails is recorded under a name, beside what failed before.
    pub(super) fn recorded(self, name: &'a str, quarantine: Quarantine) -> Self {
        Self { record: Some(name), quarantine, ..self }
    }

    /// Applies the log from after one position to another, around what cannot be applied.
    pub(super) async fn fill(
        &mut self,
        connection: &mut PgConnection,
        position: u64,
        head: u64,
    ) -> Result<u64, RebuildError> {
        let (sender, mut chunks) = mpsc::channel(AHEAD);
        let reader = Reader { definition: self.definition, store: self.store.clone(), sample: self.sample };
        let reading = tokio::spawn(reader.read_ahead(position, head, self.chunk, sender));
        let mut reached = position;
        while let Some(chunk) = chunks.recv().await {
            reached = self.apply(chunk?, head, connection).await?;
            (self.progress)(reached, head);
        }
        reading.await.map_err(|_| ProjectionError::Failed("reading the log ended unexpectedly".to_owned()))?;
        Ok(reached)
    }

    async fn apply(&mut self, chunk: Chunk, head: u64, connection: &mut PgConnection) -> Result<u64, RebuildError> {
        let Chunk { events, decoded, to } = chunk;
        if events.is_empty() && self.record.is_none() {
            return Ok(to);
        }
        let mut transaction = connection.begin().await?;
        let applied = match self.quarantine.is_empty() {
            true => quarantine::apply(decoded, &mut transaction).await,
            false => Err(ProjectionError::Poison(String::new())),
        };
        match applied {
            Err(ProjectionError::Poison(_)) => {
                transaction.rollback().await?;
                transaction = connection.begin().await?;
                self.add_around(events, &mut transaction).await?;
            }
            applied => applied?,
        }
        if self.record.is_some() {
            state::progress(&mut transaction, self.definition.name, to, head).await?;
        }
        transaction.commit().await?;
        Ok(to)
    }

    /// Whether something could not be applied.
    pub(super) fn holds_back(&self) -> bool {
        !self.quarantine.is_empty()
    }

    /// Up to `limit` positions after one.
    pub(super) async fn read(&self, after: u64, limit: u32) -> Result<Chunk, ProjectionError> {
        let reader = Reader { definition: self.definition, store: self.store.clone(), sample: self.sample };
        reader.read(after, limit).await
    }

    /// Applies a chunk in a transaction that does more.
    pub(super) async fn add(&mut self, chunk: Chunk, connection: &mut PgConnection) -> Result<(), ProjectionError> {
        self.add_around(chunk.events, connection).await
    }

    /// Forgets what was found to fail in a transaction that was rolled back, and with it what was recorded.
    pub(super) async fn restore(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if let Some(name) = self.record {
            self.quarantine = Quarantine::load_all(connection, name).await?;
        }
        Ok(())
    }

    async fn add_around(
        &mut self,
        events: Vec<Arc<EventEnvelope>>,
        connection: &mut PgConnection,
    ) -> Result<(), ProjectionError> {
        let stop = quarantine::apply_around(self.definition, events, &mut self.quarantine, connection).await?;
        if let Some(Stop { reason, .. }) = stop {
            return Err(ProjectionError::Failed(reason));
        }
        if let Some(name) = self.record {
            self.quarantine.record(connection, self.definition, name).await?;
        }
        Ok(())
    }
}

struct Reader {
    definition: &'static Definition,
    store: EventStore,
    sample: Sample,
}

impl Reader {
    async fn read_ahead(
        self,
        mut position: u64,
        head: u64,
        chunk: u32,
        chunks: mpsc::Sender<Result<Chunk, ProjectionError>>,
    ) {
        while position < head {
            let limit = u32::try_from(head - position).unwrap_or(chunk).min(chunk);
            let read = self.read(position, limit).await;
            position = read.as_ref().map_or(head, |chunk| chunk.to);
            if chunks.send(read).await.is_err() {
                return;
            }
        }
    }

    async fn read(&self, after: u64, limit: u32) -> Result<Chunk, ProjectionError> {
        let events = self.store.read_log(after, limit).await?;
        let to = events.last().map_or(after, |event| event.position);
        let wanted = |event: &EventEnvelope| (self.definition.interested)(event) && self.sample.has(event);
        let events: Vec<_> = events.into_iter().filter(wanted).map(Arc::new).collect();
        Ok(Chunk { decoded: quarantine::decode(self.definition, &events), events, to })
    }
}
