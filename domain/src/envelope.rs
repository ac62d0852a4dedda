//! [`EventEnvelope`]: a recorded event in transit; the one place where stored JSON becomes a domain event.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::aggregate::{Aggregate, DomainEvent};
use crate::metadata::Metadata;

/// A recorded event, its payload still as stored: personal values are sealed unless the vault opened them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventEnvelope {
    /// Its number in the whole log, from 1, without gaps, in commit order.
    pub position: u64,
    /// UUIDv7.
    pub event_id: Uuid,
    /// The aggregate type of its stream.
    pub aggregate_type: String,
    /// The id of its stream.
    pub aggregate_id: Uuid,
    /// Its number in its stream, from 1, without gaps.
    pub version: u64,
    /// The stored type name: `DossierSubmitted`.
    pub event_type: String,
    /// The version of the payload's shape.
    pub schema_version: u32,
    /// When it was appended.
    pub recorded_at: DateTime<Utc>,
    /// The stored payload, to the byte.
    pub payload: Box<RawValue>,
    /// The stored metadata, to the byte.
    pub metadata: Box<RawValue>,
}

/// Why a recorded event could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a build that knows more events than this one.
    #[error("position {position}: {event_type} version {schema_version} is unknown to this build")]
    Unknown {
        /// Where it stands in the log.
        position: u64,
        /// Its stored type name.
        event_type: String,
        /// Its schema version.
        schema_version: u32,
    },
    /// The JSON is not of the shape that its type and schema version promise.
    #[error("position {position}: {event_type} does not have its promised shape: {source}")]
    Malformed {
        /// Where it stands in the log.
        position: u64,
        /// Its stored type name.
        event_type: String,
        /// What the decoder said.
        source: serde_json::Error,
    },
}

impl EventEnvelope {
    /// Whether it belongs to a stream of `A`.
    pub fn is<A: Aggregate>(&self) -> bool {
        self.aggregate_type == A::TYPE
    }

    /// The domain event, upcast to today's shape. Personal values stay as the payload has them.
    ///
    /// # Errors
    /// [`DecodeError`] when this build does not know the event or its JSON is not what it should be.
    pub fn decode<A: Aggregate>(&self) -> Result<A::Event, DecodeError> {
        let unknown = || DecodeError::Unknown {
            position: self.position,
            event_type: self.event_type.clone(),
            schema_version: self.schema_version,
        };
        if !A::Event::knows(&self.event_type, self.schema_version) {
            return Err(unknown());
        }
        A::Event::decode(&self.event_type, self.schema_version, self.payload.get()).map_err(|e| self.malformed(e))
    }

    /// The metadata, its personal part as stored.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when it is not of the known shape.
    pub fn metadata(&self) -> Result<Metadata, DecodeError> {
        serde_json::from_str(self.metadata.get()).map_err(|e| self.malformed(e))
    }

    /// The key by which projections share out the log, without decoding the rest of the metadata.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when the metadata carries none.
    pub fn partition_key(&self) -> Result<Uuid, DecodeError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Key {
            partition_key: Uuid,
        }
        let key: Key = serde_json::from_str(self.metadata.get()).map_err(|e| self.malformed(e))?;
        Ok(key.partition_key)
    }

    fn malformed(&self, source: serde_json::Error) -> DecodeError {
        DecodeError::Malformed { position: self.position, event_type: self.event_type.clone(), source }
    }
}
