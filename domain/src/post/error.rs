//! Why a post refuses.

use crate::rejection::{FieldError, Rejection, RejectionKind};

/// A refusal by a post.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// There is none under this id, or none any more.
    #[error("there is no such post")]
    NotFound,
    /// The id is taken.
    #[error("the post is published already")]
    AlreadyPublished,
    /// The command's content is wrong.
    #[error("the text of the post cannot be accepted")]
    Invalid(Vec<FieldError>),
}

impl Rejection for PostError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "post.not_found",
            Self::AlreadyPublished => "post.already_published",
            Self::Invalid(_) => "post.invalid",
        }
    }

    fn french(&self) -> String {
        match self {
            Self::NotFound => "cette publication n'existe pas",
            Self::AlreadyPublished => "cette publication est déjà en ligne",
            Self::Invalid(_) => "le texte de la publication ne peut pas être accepté",
        }
        .to_owned()
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::AlreadyPublished => RejectionKind::Conflict,
            Self::Invalid(errors) => RejectionKind::Invalid(errors.clone()),
        }
    }
}
