//! The facts of a comment's life; each knows its post.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::DomainEvent;
use crate::personal::Personal;

/// A fact about a comment; its text belongs to its author.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
#[expect(missing_docs)] // the fields are those of the commands
pub enum CommentEvent {
    /// It was written.
    Written { post: Uuid, parent: Option<Uuid>, depth: u8, author: Uuid, body: Personal<String>, at: DateTime<Utc> },
    /// Its text changed.
    Edited { post: Uuid, from: Personal<String>, to: Personal<String>, at: DateTime<Utc> },
    /// Its author took it away.
    Deleted { post: Uuid, at: DateTime<Utc> },
}

impl CommentEvent {
    /// The stored names of all its variants.
    pub const TYPES: [&'static str; 3] = ["CommentWritten", "CommentEdited", "CommentDeleted"];
}

impl DomainEvent for CommentEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Written { .. } => "CommentWritten",
            Self::Edited { .. } => "CommentEdited",
            Self::Deleted { .. } => "CommentDeleted",
        }
    }

    fn knows(event_type: &str, schema_version: u32) -> bool {
        schema_version == 1 && Self::TYPES.contains(&event_type)
    }
}
