//! Why a dossier refuses.

use super::Status;
use crate::rejection::{FieldError, Rejection, RejectionKind};

/// A refusal by a dossier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DossierError {
    /// There is none under this id.
    #[error("there is no such dossier")]
    NotFound,
    /// The transition table has no such row.
    #[error("`{command}` is not possible on a dossier that is {}", from.as_str())]
    InvalidTransition {
        /// The state it is in.
        from: Status,
        /// What was asked.
        command: &'static str,
        /// What could have been asked.
        allowed: Vec<&'static str>,
    },
    /// The command's content is wrong.
    #[error("some of the dossier's fields cannot be accepted")]
    Invalid(Vec<FieldError>),
    /// Submitted again after a change request, with neither an edit nor a note.
    #[error("after a change request a dossier needs a change, or a note that says why there is none")]
    NothingChanged,
    /// Another pro than its reviewer.
    #[error("only the reviewer of a dossier may do this")]
    NotTheReviewer,
    /// Its owner was to review it.
    #[error("no one reviews a dossier of their own")]
    OwnReview,
}

impl Rejection for DossierError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "dossier.not_found",
            Self::InvalidTransition { .. } => "dossier.invalid_transition",
            Self::Invalid(_) => "dossier.invalid",
            Self::NothingChanged => "dossier.nothing_changed",
            Self::NotTheReviewer => "dossier.not_the_reviewer",
            Self::OwnReview => "dossier.own_review",
        }
    }

    fn french(&self) -> String {
        match self {
            Self::NotFound => "ce dossier n'existe pas".to_owned(),
            Self::InvalidTransition { from, command, .. } => {
                format!("« {command} » n'est pas possible sur un dossier à l'état « {} »", from.french())
            }
            Self::Invalid(_) => "certains champs du dossier ne peuvent pas être acceptés".to_owned(),
            Self::NothingChanged => "après une demande de modification, il faut modifier le dossier ou \
                expliquer dans une note pourquoi rien ne change"
                .to_owned(),
            Self::NotTheReviewer => "seul l'instructeur du dossier peut faire cela".to_owned(),
            Self::OwnReview => "nul ne peut instruire son propre dossier".to_owned(),
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::InvalidTransition { from, allowed, .. } => {
                RejectionKind::Transition { current_state: from.as_str(), allowed_commands: allowed.clone() }
            }
            Self::Invalid(errors) => RejectionKind::Invalid(errors.clone()),
            Self::NothingChanged | Self::NotTheReviewer | Self::OwnReview => RejectionKind::Conflict,
        }
    }
}
