//! The facts of a post's life.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::DomainEvent;
use crate::personal::Personal;

/// A fact about a post; its text belongs to its author.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
#[expect(missing_docs)] // the fields are those of the commands
pub enum PostEvent {
    /// It was shown to all members.
    Published { author: Uuid, organization: Uuid, body: Personal<String>, at: DateTime<Utc> },
    /// Its text changed.
    Edited { from: Personal<String>, to: Personal<String>, at: DateTime<Utc> },
    /// Its author took it away.
    Deleted { at: DateTime<Utc> },
}

impl PostEvent {
    /// The stored names of all its variants.
    pub const TYPES: [&'static str; 3] = ["PostPublished", "PostEdited", "PostDeleted"];
}

impl DomainEvent for PostEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Published { .. } => "PostPublished",
            Self::Edited { .. } => "PostEdited",
            Self::Deleted { .. } => "PostDeleted",
        }
    }

    fn knows(event_type: &str, schema_version: u32) -> bool {
        schema_version == 1 && Self::TYPES.contains(&event_type)
    }
}
