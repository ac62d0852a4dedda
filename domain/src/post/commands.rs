//! The orders that a post takes.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::access::Action;
use crate::aggregate::Command;

/// An order to a post. `at` is the clock of the request.
#[derive(Clone, PartialEq)]
#[expect(missing_docs)] // the fields are those of the routes
pub enum PostCommand {
    /// Shows it to all members.
    Publish { author: Uuid, organization: Uuid, body: String, at: DateTime<Utc> },
    /// Changes its text.
    Edit { body: String, at: DateTime<Utc> },
    /// Takes it away.
    Delete { at: DateTime<Utc> },
}

impl PostCommand {
    /// What the policy calls it.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Publish { .. } => Action::PublishPost,
            Self::Edit { .. } => Action::EditPost,
            Self::Delete { .. } => Action::DeletePost,
        }
    }
}

impl Command for PostCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "PublishPost",
            Self::Edit { .. } => "EditPost",
            Self::Delete { .. } => "DeletePost",
        }
    }
}

// Only the name: the text is personal data.
impl fmt::Debug for PostCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
