//! The facts of a live event's life.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Details;
use crate::aggregate::DomainEvent;
use crate::change::Change;

/// A fact about a live event. What organisers write is public, hence clear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
#[expect(missing_docs)] // the fields are those of the commands
pub enum LiveEvent {
    /// It was drafted.
    Created { organization: Uuid, details: Details, by: Uuid, at: DateTime<Utc> },
    /// What is given changed.
    Edited {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<Change<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<Change<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_zone: Option<Change<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        starts_at: Option<Change<DateTime<Utc>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_at: Option<Change<DateTime<Utc>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        capacity: Option<Change<Option<u32>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream_url: Option<Change<Option<String>>>,
        at: DateTime<Utc>,
    },
    /// It was announced.
    Published { at: DateTime<Utc> },
    /// It was called off, and every registration with it.
    Cancelled { reason: String, at: DateTime<Utc> },
    /// The user has a seat.
    RegistrationConfirmed { user: Uuid, at: DateTime<Utc> },
    /// The user waits, behind all who already do.
    RegistrationWaitlisted { user: Uuid, at: DateTime<Utc> },
    /// The user gave the seat or the place back.
    RegistrationCancelled { user: Uuid, at: DateTime<Utc> },
    /// Those who waited longest, in their order, have the seats that came free.
    RegistrationsPromoted { users: Vec<Uuid>, at: DateTime<Utc> },
}

impl LiveEvent {
    /// The stored names of all its variants.
    pub const TYPES: [&'static str; 8] = [
        "LiveCreated",
        "LiveEdited",
        "LivePublished",
        "LiveCancelled",
        "RegistrationConfirmed",
        "RegistrationWaitlisted",
        "RegistrationCancelled",
        "RegistrationsPromoted",
    ];
}

impl DomainEvent for LiveEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => "LiveCreated",
            Self::Edited { .. } => "LiveEdited",
            Self::Published { .. } => "LivePublished",
            Self::Cancelled { .. } => "LiveCancelled",
            Self::RegistrationConfirmed { .. } => "RegistrationConfirmed",
            Self::RegistrationWaitlisted { .. } => "RegistrationWaitlisted",
            Self::RegistrationCancelled { .. } => "RegistrationCancelled",
            Self::RegistrationsPromoted { .. } => "RegistrationsPromoted",
        }
    }

    fn knows(event_type: &str, schema_version: u32) -> bool {
        schema_version == 1 && Self::TYPES.contains(&event_type)
    }
}
