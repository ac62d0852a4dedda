//! Why a batch of events was not applied.

use domain::envelope::DecodeError;
use event_store::StoreError;

/// Why a projection did not move.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProjectionError {
    /// Postgres or the log did not answer; the same batch is tried again.
    #[error(transparent)]
    Transient(StoreError),
    /// The checkpoint moved or its epoch was raised: somebody else carries the partition on, or it was rebuilt.
    #[error("the checkpoint is no longer this worker's")]
    Fenced,
    /// The log no longer holds what the checkpoint stands at, or what was read after it.
    #[error("the log has lost what was read of it")]
    Lost,
    /// An event cannot be applied, however often it is tried: its aggregate is held back.
    #[error("{0}")]
    Poison(String),
    /// Neither trying again nor going on can help: the projection stops.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for ProjectionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Broken(_) | StoreError::Invalid(_) => Self::Failed(error.to_string()),
            StoreError::Lost(_) => Self::Lost,
            other => Self::Transient(other),
        }
    }
}

impl From<sqlx::Error> for ProjectionError {
    fn from(error: sqlx::Error) -> Self {
        let database = error.as_database_error();
        let code = database.and_then(|database| database.code()).unwrap_or_default();
        // A data exception or a violated constraint comes back however often the batch is tried. Its text is not told: it
        // can quote what is stored.
        if code.starts_with("22") || code.starts_with("23") {
            let what = database.and_then(|database| database.constraint()).unwrap_or("a value");
            return Self::Poison(format!("the database refuses {what} ({code})"));
        }
        Self::Transient(error.into())
    }
}

impl From<DecodeError> for ProjectionError {
    fn from(error: DecodeError) -> Self {
        match error {
            // A newer build wrote it: this one would hold back what is well.
            DecodeError::Unknown { .. } => Self::Failed(error.to_string()),
            DecodeError::Malformed { .. } => Self::Poison(error.to_string()),
        }
    }
}
