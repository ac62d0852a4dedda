//! The log: one ordered sequence of domain events in Postgres, appended by group commit, read in order, with
//! everything personal sealed at its edge.

mod append;
mod appender;
pub mod audit;
mod batch;
mod continuity;
pub mod database;
mod erasures;
mod error;
mod heads;
mod read;
#[cfg(feature = "sabotage-unordered-cursor")]
mod sabotage;
mod seal;
mod sweep;
mod vault;

use std::sync::Arc;

use sqlx::PgPool;
use uuid::Uuid;

pub use append::{Append, Appended, Claim, IdempotencyKey, IdempotencyRecord, Lineage, NewEvent, Refusal};
pub use appender::PendingAppend;
pub use continuity::{Continuity, Cursor, Loss};
pub use database::Database;
pub use erasures::Erasures;
pub use error::StoreError;
pub use heads::StreamHead;
pub use read::LogFilter;
pub use vault::{MasterKey, Vault};

use appender::Appender;
use heads::Heads;

/// Postgres channel on which the new head of the log is announced after each commit.
pub const APPENDED: &str = "capitune_appended";

/// The identity of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The aggregate type.
    pub aggregate_type: &'static str,
    /// The aggregate's id.
    pub id: Uuid,
}

/// Which log this is. Stream names and checkpoints carry it, and nothing of another log is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogId {
    /// Made with the log.
    pub id: Uuid,
    /// Raised by every restore.
    pub generation: i32,
}

impl LogId {
    /// The log of a migrated database.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn read(database: &Database) -> Result<Self, StoreError> {
        let (id, generation) =
            sqlx::query_as("select log_id, generation from log_identity").fetch_one(&database.reads).await?;
        Ok(Self { id, generation })
    }

    /// Says that the log was restored: what may know more of it than it does itself is believed no more.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn raise_generation(database: &Database) -> Result<Self, StoreError> {
        let raise = "update log_identity set generation = generation + 1 returning log_id, generation";
        let (id, generation) = sqlx::query_as(raise).fetch_one(&database.writes).await?;
        Ok(Self { id, generation })
    }
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.id.simple(), self.generation)
    }
}

/// The event store. Cheap to clone.
#[derive(Clone)]
pub struct EventStore {
    inner: Arc<Inner>,
}

struct Inner {
    reads: PgPool,
    writes: PgPool,
    log_id: LogId,
    vault: Vault,
    continuity: Arc<Continuity>,
    appender: Appender,
    heads: Heads,
}

impl EventStore {
    /// Opens the log of a migrated database and starts the appender of this process.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer, or when `master_key` is not the one that this log was
    /// started with.
    pub async fn open(database: &Database, master_key: MasterKey) -> Result<Self, StoreError> {
        let log_id = LogId::read(database).await?;
        let vault = Vault::open(database, master_key).await?;
        #[cfg(feature = "sabotage-unordered-cursor")]
        sabotage::number_without_the_lock(database).await?;
        let continuity = Arc::new(Continuity::default());
        let inner = Arc::new(Inner {
            reads: database.reads.clone(),
            writes: database.writes.clone(),
            log_id,
            vault,
            appender: Appender::start(database, continuity.clone()),
            heads: Heads::start(database, continuity.clone()),
            continuity,
        });
        sweep::keep_swept(&inner);
        erasures::keep_watched(&inner);
        continuity::keep_watched(&inner);
        Ok(Self { inner })
    }

    /// Which log this is.
    pub fn log_id(&self) -> LogId {
        self.inner.log_id
    }

    /// What this process has seen of the log, and whether the log still holds it.
    pub fn continuity(&self) -> &Continuity {
        &self.inner.continuity
    }

    /// The vault that seals and opens what is personal.
    pub fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    /// Queues an append into the next group commit and waits for its commit.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it certainly was not applied, [`StoreError::OutcomeUnknown`] when the
    /// append's deadline passed before that could be told, [`StoreError::Invalid`] when Postgres refuses its content.
    pub async fn append(&self, append: Append) -> Result<Result<Appended, Refusal>, StoreError> {
        self.enqueue(append).await?.committed().await
    }

    /// Queues an append and returns as soon as it has its place, for a caller that must not lose its turn on a stream
    /// but waits for the commit outside of it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there was no place before the append's deadline.
    pub async fn enqueue(&self, append: Append) -> Result<PendingAppend, StoreError> {
        self.inner.appender.enqueue(append).await
    }

    /// The stream's last version and position, by a read that begins after this call.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn stream_head(&self, stream: StreamId) -> Result<StreamHead, StoreError> {
        self.inner.heads.read(stream).await
    }
}
