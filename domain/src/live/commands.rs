//! The orders that a live event takes.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::access::Action;
use crate::aggregate::Command;

/// An order to a live event. `at` is the clock of the request.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs)] // the fields are those of the routes
pub enum LiveCommand {
    /// Drafts it.
    Create {
        title: String,
        description: String,
        time_zone: String,
        starts_at: DateTime<Utc>,
        ends_at: DateTime<Utc>,
        capacity: Option<u32>,
        stream_url: Option<String>,
        organization: Uuid,
        by: Uuid,
        at: DateTime<Utc>,
    },
    /// Changes what is given; `Some(None)` lifts the capacity or removes the stream's address.
    Edit {
        title: Option<String>,
        description: Option<String>,
        time_zone: Option<String>,
        starts_at: Option<DateTime<Utc>>,
        ends_at: Option<DateTime<Utc>>,
        capacity: Option<Option<u32>>,
        stream_url: Option<Option<String>>,
        at: DateTime<Utc>,
    },
    /// Announces it to all.
    Publish { at: DateTime<Utc> },
    /// Calls it off, and with it every registration; the reason is announced too.
    Cancel { reason: String, at: DateTime<Utc> },
    /// Takes a seat, or a place in the waiting list.
    Register { user: Uuid, at: DateTime<Utc> },
    /// Gives the seat or the place back.
    Unregister { user: Uuid, at: DateTime<Utc> },
}

impl LiveCommand {
    /// Its name as routes and refusals give it.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Edit { .. } => "edit",
            Self::Publish { .. } => "publish",
            Self::Cancel { .. } => "cancel",
            Self::Register { .. } => "register",
            Self::Unregister { .. } => "unregister",
        }
    }

    /// What the policy calls it.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Create { .. } => Action::CreateLive,
            Self::Edit { .. } => Action::EditLive,
            Self::Publish { .. } => Action::PublishLive,
            Self::Cancel { .. } => Action::CancelLive,
            Self::Register { .. } | Self::Unregister { .. } => Action::RegisterForLive,
        }
    }
}

impl Command for LiveCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CreateLive",
            Self::Edit { .. } => "EditLive",
            Self::Publish { .. } => "PublishLive",
            Self::Cancel { .. } => "CancelLive",
            Self::Register { .. } => "RegisterForLive",
            Self::Unregister { .. } => "UnregisterFromLive",
        }
    }
}
