//! Why a comment refuses.

use super::MAX_DEPTH;
use crate::rejection::{FieldError, Rejection, RejectionKind};

/// A refusal by a comment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommentError {
    /// There is none under this id, or none any more.
    #[error("there is no such comment")]
    NotFound,
    /// The id is taken.
    #[error("the comment is written already")]
    AlreadyWritten,
    /// The tree would grow too deep.
    #[error("comments nest at most {MAX_DEPTH} deep")]
    TooDeep,
    /// The command's content is wrong.
    #[error("the text of the comment cannot be accepted")]
    Invalid(Vec<FieldError>),
}

impl Rejection for CommentError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "comment.not_found",
            Self::AlreadyWritten => "comment.already_written",
            Self::TooDeep => "comment.too_deep",
            Self::Invalid(_) => "comment.invalid",
        }
    }

    fn french(&self) -> String {
        match self {
            Self::NotFound => "ce commentaire n'existe pas".to_owned(),
            Self::AlreadyWritten => "ce commentaire est déjà écrit".to_owned(),
            Self::TooDeep => {
                format!("les commentaires s'emboîtent sur {MAX_DEPTH} niveaux au plus")
            }
            Self::Invalid(_) => "le texte du commentaire ne peut pas être accepté".to_owned(),
        }
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyWritten | Self::TooDeep => RejectionKind::Conflict,
            Self::Invalid(errors) => RejectionKind::Invalid(errors.clone()),
        }
    }
}
