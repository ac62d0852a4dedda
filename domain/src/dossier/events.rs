//! The facts of a dossier's life.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ChangeReason, FieldValue};
use crate::aggregate::DomainEvent;
use crate::change::Change;
use crate::personal::Personal;

/// A fact about a dossier. All free texts belong to its owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
#[expect(missing_docs)] // the fields are those of the commands
pub enum DossierEvent {
    /// A draft was opened.
    Created {
        owner: Uuid,
        organization: Uuid,
        category: String,
        title: String,
        description: Option<Personal<String>>,
        fields: BTreeMap<String, Personal<FieldValue>>,
        at: DateTime<Utc>,
    },
    /// What is given changed; a field from nothing was added, to nothing removed.
    Edited {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<Change<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        category: Option<Change<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<Change<Option<Personal<String>>>>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        fields: BTreeMap<String, Change<Option<Personal<FieldValue>>>>,
        at: DateTime<Utc>,
    },
    /// It was handed in, for the `revision`th time.
    Submitted { revision: u32, note: Option<Personal<String>>, at: DateTime<Utc> },
    /// The reviewer began.
    ReviewStarted { reviewer: Uuid, at: DateTime<Utc> },
    /// The owner was asked for changes.
    ChangesRequested { reason: ChangeReason, message: Personal<String>, by: Uuid, at: DateTime<Utc> },
    /// The change request was taken back.
    ChangeRequestCancelled { by: Uuid, at: DateTime<Utc> },
    /// Decided in favour.
    Accepted { motivation: Option<Personal<String>>, by: Uuid, at: DateTime<Utc> },
    /// Decided against.
    Refused { motivation: Personal<String>, by: Uuid, at: DateTime<Utc> },
    /// Ended without a decision on the merits.
    Closed { motivation: Personal<String>, by: Uuid, at: DateTime<Utc> },
    /// The decision was taken back into review.
    ReviewReopened { reason: Personal<String>, by: Uuid, at: DateTime<Utc> },
    /// The owner gave up.
    Withdrawn { reason: Option<Personal<String>>, at: DateTime<Utc> },
    /// The draft was thrown away.
    Discarded { at: DateTime<Utc> },
    /// It was filed for good.
    Archived { by: Uuid, at: DateTime<Utc> },
    /// A pro was named to review it.
    Assigned { reviewer: Uuid, by: Uuid, at: DateTime<Utc> },
}

impl DossierEvent {
    /// The stored names of all its variants.
    pub const TYPES: [&'static str; 14] = [
        "DossierCreated",
        "DossierEdited",
        "DossierSubmitted",
        "ReviewStarted",
        "ChangesRequested",
        "ChangeRequestCancelled",
        "DossierAccepted",
        "DossierRefused",
        "DossierClosed",
        "ReviewReopened",
        "DossierWithdrawn",
        "DossierDiscarded",
        "DossierArchived",
        "DossierAssigned",
    ];
}

impl DomainEvent for DossierEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => "DossierCreated",
            Self::Edited { .. } => "DossierEdited",
            Self::Submitted { .. } => "DossierSubmitted",
            Self::ReviewStarted { .. } => "ReviewStarted",
            Self::ChangesRequested { .. } => "ChangesRequested",
            Self::ChangeRequestCancelled { .. } => "ChangeRequestCancelled",
            Self::Accepted { .. } => "DossierAccepted",
            Self::Refused { .. } => "DossierRefused",
            Self::Closed { .. } => "DossierClosed",
            Self::ReviewReopened { .. } => "ReviewReopened",
            Self::Withdrawn { .. } => "DossierWithdrawn",
            Self::Discarded { .. } => "DossierDiscarded",
            Self::Archived { .. } => "DossierArchived",
            Self::Assigned { .. } => "DossierAssigned",
        }
    }

    fn knows(event_type: &str, schema_version: u32) -> bool {
        schema_version == 1 && Self::TYPES.contains(&event_type)
    }
}
