//! Why a live event refuses.

use super::Status;
use crate::rejection::{FieldError, Rejection, RejectionKind};

/// A refusal by a live event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// There is none under this id, or none that is published.
    #[error("there is no such live event")]
    NotFound,
    /// Its status does not allow the command.
    #[error("`{command}` is not possible on a live event that is {}", from.as_str())]
    InvalidTransition {
        /// The status it has.
        from: Status,
        /// What was asked.
        command: &'static str,
        /// What could have been asked.
        allowed: Vec<&'static str>,
    },
    /// The command's content is wrong.
    #[error("some of the live event's fields cannot be accepted")]
    Invalid(Vec<FieldError>),
    /// It will not take place.
    #[error("the live event is cancelled")]
    Cancelled,
    /// It is over.
    #[error("the live event is over")]
    Ended,
    /// There would be fewer seats than people who have one.
    #[error("{confirmed} people have a seat already")]
    CapacityBelowConfirmed {
        /// How many have a seat.
        confirmed: usize,
    },
}

impl Rejection for LiveError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "event.not_found",
            Self::InvalidTransition { .. } => "event.invalid_transition",
            Self::Invalid(_) => "event.invalid",
            Self::Cancelled => "event.cancelled",
            Self::Ended => "event.ended",
            Self::CapacityBelowConfirmed { .. } => "event.capacity_below_confirmed",
        }
    }

    fn french(&self) -> String {
        match self {
            Self::NotFound => "cet événement n'existe pas".to_owned(),
            Self::InvalidTransition { from, command, .. } => {
                let status = match from {
                    Status::Draft => "brouillon",
                    Status::Scheduled => "programmé",
                    Status::Cancelled => "annulé",
                };
                format!("« {command} » n'est pas possible sur un événement à l'état « {status} »")
            }
            Self::Invalid(_) => "certains champs de l'événement ne peuvent pas être acceptés".to_owned(),
            Self::Cancelled => "cet événement est annulé".to_owned(),
            Self::Ended => "cet événement est terminé".to_owned(),
            Self::CapacityBelowConfirmed { confirmed } => {
                format!("{confirmed} personnes ont déjà une place")
            }
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::InvalidTransition { from, allowed, .. } => {
                RejectionKind::Transition { current_state: from.as_str(), allowed_commands: allowed.clone() }
            }
            Self::Invalid(errors) => RejectionKind::Invalid(errors.clone()),
            Self::Cancelled | Self::Ended | Self::CapacityBelowConfirmed { .. } => RejectionKind::Conflict,
        }
    }
}
