//! The orders that a comment takes.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::access::Action;
use crate::aggregate::Command;

/// An order to a comment. `at` is the clock of the request.
#[derive(Clone, PartialEq)]
#[expect(missing_docs)] // the fields are those of the routes
pub enum CommentCommand {
    /// Answers a post (`depth` 1) or a comment on it (one deeper than that comment).
    Write { post: Uuid, parent: Option<Uuid>, depth: u8, author: Uuid, body: String, at: DateTime<Utc> },
    /// Changes its text.
    Edit { body: String, at: DateTime<Utc> },
    /// Takes it away.
    Delete { at: DateTime<Utc> },
}

impl CommentCommand {
    /// What the policy calls it.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Write { .. } => Action::WriteComment,
            Self::Edit { .. } => Action::EditComment,
            Self::Delete { .. } => Action::DeleteComment,
        }
    }
}

impl Command for CommentCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Write { .. } => "WriteComment",
            Self::Edit { .. } => "EditComment",
            Self::Delete { .. } => "DeleteComment",
        }
    }
}

// Only the name: the text is personal data.
impl fmt::Debug for CommentCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
