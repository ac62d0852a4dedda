//! Why a command was not executed, by what the caller may do about it.

use domain::Denial;
use event_store::StoreError;

/// A command that was not executed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError<E> {
    /// The aggregate refuses: mend the command or let it be.
    #[error("{0}")]
    Rejected(E),
    /// The policy refuses.
    #[error("not allowed")]
    Denied(Denial),
    /// The aggregate is not at the version that the caller insists on: fetch it again.
    #[error("the version is {current} now")]
    VersionMismatch {
        /// Its version now.
        current: u64,
    },
    /// The idempotency key came with another request before.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// A value that must be unique belongs to somebody else.
    #[error("the value is taken")]
    ClaimTaken,
    /// A person whose data the command carries was erased.
    #[error("the person was erased")]
    PersonErased,
    /// The race for the aggregate was lost until the deadline: retry.
    #[error("too many commands at once on one aggregate")]
    Contention,
    /// The event store failed: retry, with the same key.
    #[error(transparent)]
    Store(#[from] StoreError),
}
