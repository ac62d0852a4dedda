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
    /// Trying again cannot help: the projection stops.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for ProjectionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Broken(_) | StoreError::Invalid(_) => Self::Failed(error.to_string()),
            other => Self::Transient(other),
        }
    }
}

impl From<sqlx::Error> for ProjectionError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|database| database.code());
        // A data exception or a violated constraint comes back however often the batch is tried.
        if code.as_deref().is_some_and(|code| code.starts_with("22") || code.starts_with("23")) {
            return Self::Failed(StoreError::from(error).to_string());
        }
        Self::Transient(error.into())
    }
}

impl From<DecodeError> for ProjectionError {
    fn from(error: DecodeError) -> Self {
        Self::Failed(error.to_string())
    }
}
