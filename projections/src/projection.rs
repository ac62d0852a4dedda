//! What a projection is.

use std::sync::Arc;
use std::time::Duration;

use domain::EventEnvelope;
use domain::envelope::DecodeError;
use futures::future::BoxFuture;
use sqlx::PgConnection;

use crate::error::ProjectionError;

/// One event with what it says.
pub struct Recorded<E> {
    /// The event as recorded.
    pub envelope: Arc<EventEnvelope>,
    /// The domain event, personal values sealed.
    pub event: E,
}

/// A batch being applied.
pub type Applying<'a> = BoxFuture<'a, Result<(), ProjectionError>>;

/// How far apart batches that are not full begin, which costs nobody who waits for one event alone. Fewer and larger
/// transactions leave commands their share.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// While few events come.
    pub few: Duration,
    /// While many do.
    pub many: Duration,
}

/// A read model kept up to date from the log: its identity, and how a batch of facts changes its rows.
///
/// Its tables stand in a Postgres schema of its own, alone; a rebuild fills a copy of that schema.
pub trait Projection: 'static {
    /// Its stored name; never renamed.
    const NAME: &'static str;
    /// Raised when its rows are to be made anew from the log.
    const VERSION: i32;
    /// How many workers could share it; an event belongs to the partition of its partition key.
    const PARTITIONS: i32;
    /// The Postgres schema of its tables.
    const SCHEMA: &'static str;
    /// Those of its tables whose rows add up what stands under several partition keys.
    const SUMS: &'static [&'static str] = &[];
    /// How far apart its batches begin.
    const PACE: Pace = Pace { few: Duration::from_millis(3), many: Duration::from_millis(20) };
    /// The domain event, or the sum of domain events, that it follows.
    type Event: Send + Sync;

    /// Whether the event is of an aggregate that it follows.
    fn interested(event: &EventEnvelope) -> bool;

    /// The domain event of an event that it is interested in.
    ///
    /// # Errors
    /// [`DecodeError`] when this build does not know the event: the projection stops.
    fn decode(event: &EventEnvelope) -> Result<Self::Event, DecodeError>;

    /// Applies a batch, in log order, to the tables in the connection's search path.
    ///
    /// # Errors
    /// [`ProjectionError`]: the transaction is rolled back, and tried again unless the error says that it cannot help.
    fn apply<'a>(batch: &'a [Recorded<Self::Event>], connection: &'a mut PgConnection) -> Applying<'a>;
}

type Decoding = Result<Box<dyn Batch>, DecodeError>;

/// A projection without its type, so that the runtime is compiled once.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) version: i32,
    pub(crate) partitions: i32,
    pub(crate) schema: &'static str,
    pub(crate) sums: &'static [&'static str],
    pub(crate) pace: Pace,
    pub(crate) interested: fn(&EventEnvelope) -> bool,
    pub(crate) decode: fn(Vec<Arc<EventEnvelope>>) -> Decoding,
}

/// Decoded events that are to be applied.
pub(crate) trait Batch: Send + Sync {
    fn apply<'a>(&'a self, connection: &'a mut PgConnection) -> Applying<'a>;
}

struct Decoded<P: Projection>(Vec<Recorded<P::Event>>);

impl<P: Projection> Batch for Decoded<P> {
    fn apply<'a>(&'a self, connection: &'a mut PgConnection) -> Applying<'a> {
        P::apply(&self.0, connection)
    }
}

impl Definition {
    pub(crate) const fn of<P: Projection>() -> Self {
        Self {
            name: P::NAME,
            version: P::VERSION,
            partitions: P::PARTITIONS,
            schema: P::SCHEMA,
            sums: P::SUMS,
            pace: P::PACE,
            interested: P::interested,
            decode: decode::<P>,
        }
    }
}

fn decode<P: Projection>(envelopes: Vec<Arc<EventEnvelope>>) -> Decoding {
    let decoded = envelopes.into_iter().map(|envelope| {
        let event = P::decode(&envelope)?;
        Ok(Recorded { envelope, event })
    });
    Ok(Box::new(Decoded::<P>(decoded.collect::<Result<_, _>>()?)))
}
