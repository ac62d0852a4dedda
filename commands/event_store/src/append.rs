//! What is appended, and what comes back.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;
use uuid::Uuid;

use crate::StreamId;

/// One command's events, appended together or not at all.
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream.
    pub stream: StreamId,
    /// The version of the stream that the command was decided on; 0 for a new stream.
    pub expected_version: u64,
    /// Whether the log has shown that version to this process, so that only an append by another can outdate it.
    pub known: bool,
    /// [`Continuity::losses`](crate::Continuity::losses) when the state that the command was decided on was read; a
    /// command decided before the last loss is refused.
    pub losses: u64,
    /// The new events in order, already sealed. None when only an unchanged answer is to be remembered.
    pub events: Vec<NewEvent>,
    /// The position that an append without events answers with.
    pub unchanged_position: u64,
    /// The caller's key, when there is one.
    pub idempotency: Option<IdempotencyKey>,
    /// Claims to take or release in the same commit.
    pub claims: Vec<Claim>,
    /// The persons whose data the events seal; refused when one of them was erased.
    pub persons: Vec<Uuid>,
    /// What else was decided on the same cached state.
    pub lineage: Lineage,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

/// One event to record.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// UUIDv7.
    pub event_id: Uuid,
    /// Stored type name.
    pub event_type: Cow<'static, str>,
    /// Version of its shape.
    pub schema_version: u32,
    /// The sealed payload as JSON text.
    pub payload: String,
    /// The sealed metadata as JSON text.
    pub metadata: String,
}

/// Commands decided one upon the other in one process's memory. When one is not applied, none of those behind it may
/// be: each must be decided again.
#[derive(Debug, Clone, Default)]
pub struct Lineage(Arc<AtomicBool>);

impl Lineage {
    /// Whether a command of this lineage was not applied.
    pub fn is_broken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Marks that a command of this lineage was not applied.
    pub fn break_off(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A caller's idempotency key and the answer to remember under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Whose key it is.
    pub scope: Uuid,
    /// The key.
    pub key: String,
    /// Keyed hash of the request it came with.
    pub digest: Vec<u8>,
    /// The HTTP status to answer with when it is repeated.
    pub status: u16,
}

/// What was remembered under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// Keyed hash of the request it came with.
    pub digest: Vec<u8>,
    /// The HTTP status that was answered.
    pub status: u16,
    /// The aggregate's id.
    pub aggregate_id: Uuid,
    /// Its version after the command.
    pub version: u64,
    /// The position of its last event then.
    pub position: u64,
}

/// A value that one owner may hold across all streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is unique: `account.address`.
    pub kind: &'static str,
    /// The value, or its keyed hash where it is personal.
    pub value: Vec<u8>,
    /// Who holds it.
    pub owner: Uuid,
    /// Whether it is given back rather than taken.
    pub release: bool,
}

/// An append that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The stream's version now.
    pub version: u64,
    /// The position of the stream's last event now.
    pub position: u64,
}

/// Why an append was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The stream is not at the expected version, or a command it was decided on fell.
    Conflict,
    /// The idempotency key has a record already.
    KeyUsed,
    /// A claim is held by somebody else.
    ClaimTaken,
    /// A person whose data it seals was erased.
    PersonErased,
}
