//! How far a dossier has come: its stages, what each allows, and what each event makes of them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DossierCommand, DossierError, DossierEvent};

/// How far a dossier has come, with what only that stage knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs)] // a reviewer is the pro it is assigned to, archived is filed for good
pub enum Stage {
    /// The owner is writing it.
    Draft,
    /// Handed in; a reviewer may have been named.
    Submitted { reviewer: Option<Uuid> },
    /// The reviewer is at work.
    InReview { reviewer: Uuid },
    /// The owner is to change something; `edited` since the request.
    ChangesRequested { origin: Origin, edited: bool },
    /// The reviewer has decided.
    Decided { decision: Decision, reviewer: Uuid, archived: bool },
    /// The owner gave up.
    Withdrawn { reviewer: Option<Uuid>, archived: bool },
    /// The owner threw the draft away.
    Discarded,
}

/// Where a change request came from, and a cancelled one returns to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs)] // as in the stages of the same names
pub enum Origin {
    /// Before the review began.
    Submitted { reviewer: Option<Uuid> },
    /// During the review.
    InReview { reviewer: Uuid },
}

/// How a review ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// In favour.
    Accepted,
    /// Against.
    Refused,
    /// Without a decision on the merits.
    Closed,
}

/// The status of a dossier, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs)] // as in the stages and decisions of the same names
pub enum Status {
    Draft,
    Submitted,
    InReview,
    ChangesRequested,
    Accepted,
    Refused,
    Closed,
    Withdrawn,
    Discarded,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 9] = [
        Self::Draft,
        Self::Submitted,
        Self::InReview,
        Self::ChangesRequested,
        Self::Accepted,
        Self::Refused,
        Self::Closed,
        Self::Withdrawn,
        Self::Discarded,
    ];

    /// Its name as clients see it: `changes_requested`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::InReview => "in_review",
            Self::ChangesRequested => "changes_requested",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Withdrawn => "withdrawn",
            Self::Discarded => "discarded",
        }
    }

    pub(super) fn french(self) -> &'static str {
        match self {
            Self::Draft => "brouillon",
            Self::Submitted => "déposé",
            Self::InReview => "en instruction",
            Self::ChangesRequested => "modifications demandées",
            Self::Accepted => "accepté",
            Self::Refused => "refusé",
            Self::Closed => "clos",
            Self::Withdrawn => "retiré",
            Self::Discarded => "supprimé",
        }
    }
}

impl Origin {
    fn reviewer(self) -> Option<Uuid> {
        Stage::from(self).reviewer()
    }
}

impl From<Origin> for Stage {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Submitted { reviewer } => Self::Submitted { reviewer },
            Origin::InReview { reviewer } => Self::InReview { reviewer },
        }
    }
}

impl Stage {
    /// The status that clients see.
    pub fn status(self) -> Status {
        match self {
            Self::Draft => Status::Draft,
            Self::Submitted { .. } => Status::Submitted,
            Self::InReview { .. } => Status::InReview,
            Self::ChangesRequested { .. } => Status::ChangesRequested,
            Self::Decided { decision: Decision::Accepted, .. } => Status::Accepted,
            Self::Decided { decision: Decision::Refused, .. } => Status::Refused,
            Self::Decided { decision: Decision::Closed, .. } => Status::Closed,
            Self::Withdrawn { .. } => Status::Withdrawn,
            Self::Discarded => Status::Discarded,
        }
    }

    /// The pro it is assigned to.
    pub fn reviewer(self) -> Option<Uuid> {
        match self {
            Self::Draft | Self::Discarded => None,
            Self::Submitted { reviewer } | Self::Withdrawn { reviewer, .. } => reviewer,
            Self::InReview { reviewer } | Self::Decided { reviewer, .. } => Some(reviewer),
            Self::ChangesRequested { origin, .. } => origin.reviewer(),
        }
    }

    /// The commands that it allows, by the names that routes give them.
    pub fn allowed(self) -> &'static [&'static str] {
        match self {
            Self::Draft => &["edit", "submit", "discard"],
            Self::Submitted { .. } => &["start-review", "request-changes", "withdraw", "assign"],
            Self::InReview { .. } => &["request-changes", "accept", "refuse", "close", "withdraw", "assign"],
            Self::ChangesRequested { .. } => &["edit", "submit", "cancel-change-request", "withdraw"],
            Self::Decided { archived: false, .. } => &["reopen", "archive"],
            Self::Withdrawn { archived: false, .. } => &["archive"],
            Self::Decided { .. } | Self::Withdrawn { .. } | Self::Discarded => &[],
        }
    }

    pub(super) fn refuse(self, command: &DossierCommand) -> DossierError {
        DossierError::InvalidTransition {
            from: self.status(),
            command: command.slug(),
            allowed: self.allowed().to_vec(),
        }
    }

    /// The stage that `event` leads to; an event that has no place here changes nothing.
    pub(super) fn after(self, event: &DossierEvent) -> Self {
        use DossierEvent as Event;
        let reviewer = self.reviewer();
        match (self, event) {
            (Self::ChangesRequested { origin, .. }, Event::Edited { .. }) => {
                Self::ChangesRequested { origin, edited: true }
            }
            (_, Event::Submitted { .. }) => Self::Submitted { reviewer },
            (_, Event::ReviewStarted { reviewer, .. }) => Self::InReview { reviewer: *reviewer },
            (_, Event::ChangesRequested { .. }) => self.asked(),
            (Self::ChangesRequested { origin, .. }, Event::ChangeRequestCancelled { .. }) => origin.into(),
            (_, Event::Accepted { by, .. }) => Self::decided(Decision::Accepted, *by),
            (_, Event::Refused { by, .. }) => Self::decided(Decision::Refused, *by),
            (_, Event::Closed { by, .. }) => Self::decided(Decision::Closed, *by),
            (Self::Decided { reviewer, .. }, Event::ReviewReopened { .. }) => Self::InReview { reviewer },
            (_, Event::Withdrawn { .. }) => Self::Withdrawn { reviewer, archived: false },
            (_, Event::Discarded { .. }) => Self::Discarded,
            (_, Event::Archived { .. }) => self.archived(),
            (_, Event::Assigned { reviewer, .. }) => self.assigned(*reviewer),
            (stage, _) => stage,
        }
    }

    fn asked(self) -> Self {
        let origin = match self {
            Self::Submitted { reviewer } => Origin::Submitted { reviewer },
            Self::InReview { reviewer } => Origin::InReview { reviewer },
            other => return other,
        };
        Self::ChangesRequested { origin, edited: false }
    }

    fn decided(decision: Decision, reviewer: Uuid) -> Self {
        Self::Decided { decision, reviewer, archived: false }
    }

    fn archived(self) -> Self {
        match self {
            Self::Decided { decision, reviewer, .. } => Self::Decided { decision, reviewer, archived: true },
            Self::Withdrawn { reviewer, .. } => Self::Withdrawn { reviewer, archived: true },
            other => other,
        }
    }

    fn assigned(self, reviewer: Uuid) -> Self {
        match self {
            Self::Submitted { .. } => Self::Submitted { reviewer: Some(reviewer) },
            Self::InReview { .. } => Self::InReview { reviewer },
            other => other,
        }
    }
}
