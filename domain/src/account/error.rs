//! Why an account refuses.

use crate::rejection::{FieldError, Rejection, RejectionKind};

/// A refusal by an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// There is none under this id.
    #[error("there is no such account")]
    NotFound,
    /// The id is taken.
    #[error("the account is registered already")]
    AlreadyRegistered,
    /// The address is claimed by another account; the store says so.
    #[error("the e-mail address already has an account")]
    AddressTaken,
    /// The command's content is wrong.
    #[error("some of the account's fields cannot be accepted")]
    Invalid(Vec<FieldError>),
    /// What was said of the address is said of another than the account has now.
    #[error("the account has another address now")]
    OtherAddress,
    /// There is nothing left to prove.
    #[error("the e-mail address is verified already")]
    AlreadyVerified,
    /// A suspended account changes nothing about itself.
    #[error("the account is suspended")]
    Suspended,
    /// Admins neither suspend themselves nor give up their own admin role, so that one always remains.
    #[error("admins can neither suspend themselves nor give up their own admin role")]
    OwnRights,
    /// Nobody asked for it, or too long ago.
    #[error("no admin has asked for this erasure in the last seven days")]
    ErasureNotRequested,
    /// Who asked cannot agree as well.
    #[error("another admin has to agree to this erasure")]
    SecondApprovalRequired,
}

impl Rejection for AccountError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "account.not_found",
            Self::AlreadyRegistered => "account.already_registered",
            Self::AddressTaken => "account.address_taken",
            Self::Invalid(_) => "account.invalid",
            Self::OtherAddress => "link.invalid",
            Self::AlreadyVerified => "account.already_verified",
            Self::Suspended => "account.suspended",
            Self::OwnRights => "account.own_rights",
            Self::ErasureNotRequested => "erasure.not_requested",
            Self::SecondApprovalRequired => "erasure.second_approval_required",
        }
    }

    fn french(&self) -> String {
        match self {
            Self::NotFound => "ce compte n'existe pas",
            Self::AlreadyRegistered => "ce compte est déjà inscrit",
            Self::AddressTaken => "cette adresse e-mail a déjà un compte",
            Self::Invalid(_) => "certains champs du compte ne peuvent pas être acceptés",
            Self::OtherAddress => "le compte a maintenant une autre adresse",
            Self::AlreadyVerified => "cette adresse e-mail est déjà vérifiée",
            Self::Suspended => "ce compte est suspendu",
            Self::OwnRights => "un administrateur ne peut ni se suspendre ni se retirer le rôle d'administrateur",
            Self::ErasureNotRequested => "aucun administrateur n'a demandé cet effacement dans les sept derniers jours",
            Self::SecondApprovalRequired => "un autre administrateur doit consentir à cet effacement",
        }
        .to_owned()
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound => RejectionKind::NotFound,
            Self::Invalid(errors) => RejectionKind::Invalid(errors.clone()),
            Self::AlreadyRegistered
            | Self::AddressTaken
            | Self::OtherAddress
            | Self::AlreadyVerified
            | Self::Suspended
            | Self::OwnRights
            | Self::ErasureNotRequested => RejectionKind::Conflict,
            Self::SecondApprovalRequired => RejectionKind::Forbidden,
        }
    }
}
