//! The orders that a dossier takes.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::FieldValue;
use crate::access::Action;
use crate::aggregate::Command;

/// An order to a dossier. `at` is the clock of the request, `by` the pro who gives it.
#[derive(Clone, PartialEq)]
#[expect(missing_docs)] // the fields are those of the routes
pub enum DossierCommand {
    /// Opens a draft.
    Create {
        owner: Uuid,
        organization: Uuid,
        category: String,
        title: String,
        description: Option<String>,
        fields: BTreeMap<String, FieldValue>,
        at: DateTime<Utc>,
    },
    /// Changes what is given; `description: Some(None)` removes it, `fields` replaces the whole map.
    Edit {
        title: Option<String>,
        category: Option<String>,
        description: Option<Option<String>>,
        fields: Option<BTreeMap<String, FieldValue>>,
        at: DateTime<Utc>,
    },
    /// Hands it in; after a change request without an edit, the note must say why nothing changed.
    Submit { note: Option<String>, at: DateTime<Utc> },
    /// Begins the review; the pro becomes its reviewer.
    StartReview { by: Uuid, at: DateTime<Utc> },
    /// Asks the owner for changes.
    RequestChanges { reason: ChangeReason, message: String, by: Uuid, at: DateTime<Utc> },
    /// Takes the open change request back.
    CancelChangeRequest { by: Uuid, at: DateTime<Utc> },
    /// Decides in favour.
    Accept { motivation: Option<String>, by: Uuid, at: DateTime<Utc> },
    /// Decides against.
    Refuse { motivation: String, by: Uuid, at: DateTime<Utc> },
    /// Ends the review without a decision on the merits.
    Close { motivation: String, by: Uuid, at: DateTime<Utc> },
    /// Takes a decision back into review.
    Reopen { reason: String, by: Uuid, at: DateTime<Utc> },
    /// The owner gives up.
    Withdraw { reason: Option<String>, at: DateTime<Utc> },
    /// Throws a draft away.
    Discard { at: DateTime<Utc> },
    /// Files a finished dossier for good.
    Archive { by: Uuid, at: DateTime<Utc> },
    /// Names the pro who is to review it.
    Assign { pro: Uuid, by: Uuid, at: DateTime<Utc> },
}

/// Why a pro asks for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeReason {
    /// Something is wrong.
    Incorrect,
    /// Something is missing.
    Incomplete,
    /// Something is no longer valid.
    Outdated,
}

impl DossierCommand {
    /// Its name as routes and refusals give it: `start-review`.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Edit { .. } => "edit",
            Self::Submit { .. } => "submit",
            Self::StartReview { .. } => "start-review",
            Self::RequestChanges { .. } => "request-changes",
            Self::CancelChangeRequest { .. } => "cancel-change-request",
            Self::Accept { .. } => "accept",
            Self::Refuse { .. } => "refuse",
            Self::Close { .. } => "close",
            Self::Reopen { .. } => "reopen",
            Self::Withdraw { .. } => "withdraw",
            Self::Discard { .. } => "discard",
            Self::Archive { .. } => "archive",
            Self::Assign { .. } => "assign",
        }
    }

    /// What the policy calls it.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Create { .. } => Action::CreateDossier,
            Self::Edit { .. } => Action::EditDossier,
            Self::Submit { .. } => Action::SubmitDossier,
            Self::StartReview { .. } => Action::StartReview,
            Self::RequestChanges { .. } => Action::RequestChanges,
            Self::CancelChangeRequest { .. } => Action::CancelChangeRequest,
            Self::Accept { .. } | Self::Refuse { .. } | Self::Close { .. } => Action::DecideDossier,
            Self::Reopen { .. } => Action::ReopenReview,
            Self::Withdraw { .. } => Action::WithdrawDossier,
            Self::Discard { .. } => Action::DiscardDossier,
            Self::Archive { .. } => Action::ArchiveDossier,
            Self::Assign { .. } => Action::AssignDossier,
        }
    }
}

impl Command for DossierCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CreateDossier",
            Self::Edit { .. } => "EditDossier",
            Self::Submit { .. } => "SubmitDossier",
            Self::StartReview { .. } => "StartReview",
            Self::RequestChanges { .. } => "RequestChanges",
            Self::CancelChangeRequest { .. } => "CancelChangeRequest",
            Self::Accept { .. } => "AcceptDossier",
            Self::Refuse { .. } => "RefuseDossier",
            Self::Close { .. } => "CloseDossier",
            Self::Reopen { .. } => "ReopenReview",
            Self::Withdraw { .. } => "WithdrawDossier",
            Self::Discard { .. } => "DiscardDossier",
            Self::Archive { .. } => "ArchiveDossier",
            Self::Assign { .. } => "AssignDossier",
        }
    }
}

// Only the name: the texts in a command are personal data.
impl fmt::Debug for DossierCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
