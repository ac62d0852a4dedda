//! What can go wrong between the store and its callers.

/// A failure of the store, as opposed to a refusal of a command.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database did not answer; nothing was applied.
    #[error("the event store is unavailable: {0}")]
    Unavailable(String),
    /// The connection or the deadline was lost in mid-commit; the same idempotency key settles it later.
    #[error("the outcome of the append is not known yet")]
    OutcomeUnknown,
    /// Postgres refuses the content itself.
    #[error("the event store cannot hold this: {0}")]
    Invalid(String),
    /// A position or version is missing where the log is contiguous by construction: a reader must stop.
    #[error("the log is broken: {0}")]
    Broken(String),
    /// The log no longer holds an event that was read from it: a fail-over took its tail away.
    #[error("the log has lost what was read of it: {0}")]
    Lost(String),
    /// A personal value could not be sealed or opened.
    #[error("the vault refused: {0}")]
    Vault(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // The text of a database error can quote stored values; its code cannot.
        match &error {
            sqlx::Error::Database(database) => {
                Self::Unavailable(format!("database error {}", database.code().unwrap_or_default()))
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}
