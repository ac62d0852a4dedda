//! Why an organisation refuses.

use crate::rejection::{FieldError, Rejection, RejectionKind};

/// A refusal by an organisation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrganizationError {
    /// There is none under this id.
    #[error("there is no such organisation")]
    NotFound,
    /// The id is taken.
    #[error("the organisation exists already")]
    AlreadyCreated,
    /// The command's content is wrong.
    #[error("some of the organisation's fields cannot be accepted")]
    Invalid(Vec<FieldError>),
    /// There is no such invitation, or no longer.
    #[error("there is no such invitation")]
    InvitationNotFound,
    /// Nobody of this id is a member.
    #[error("there is no such member")]
    MemberNotFound,
    /// There is no role of this name that the organisation defined.
    #[error("there is no such role")]
    RoleNotFound,
    /// The address was invited before, as something else.
    #[error("this address was invited already, as something else")]
    AlreadyInvited,
    /// Who is a member cannot join.
    #[error("this account is a member already")]
    AlreadyMember,
    /// Somebody has to remain who may do everything.
    #[error("an organisation keeps an admin as long as it has one: make somebody else an admin first")]
    LastAdmin,
    /// Nobody gives or takes what they do not have.
    #[error("this takes permissions that you do not have in the organisation")]
    BeyondOwnPermissions,
    /// Members have the role, or were invited with it.
    #[error("somebody has this role, or was invited with it")]
    RoleInUse,
    /// The organisation has as many as it can.
    #[error("the organisation has as many {what} as it can")]
    Full {
        /// Of what.
        what: &'static str,
    },
}

impl Rejection for OrganizationError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "organization.not_found",
            Self::AlreadyCreated => "organization.already_created",
            Self::Invalid(_) => "organization.invalid",
            Self::InvitationNotFound => "invitation.not_found",
            Self::MemberNotFound => "member.not_found",
            Self::RoleNotFound => "role.not_found",
            Self::AlreadyInvited => "organization.already_invited",
            Self::AlreadyMember => "organization.already_member",
            Self::LastAdmin => "organization.last_admin",
            Self::BeyondOwnPermissions => "organization.beyond_own_permissions",
            Self::RoleInUse => "organization.role_in_use",
            Self::Full { .. } => "organization.full",
        }
    }

    fn french(&self) -> String {
        match self {
            Self::NotFound => "cette organisation n'existe pas",
            Self::AlreadyCreated => "cette organisation existe déjà",
            Self::Invalid(_) => "certains champs de l'organisation ne peuvent pas être acceptés",
            Self::InvitationNotFound => "cette invitation n'existe pas",
            Self::MemberNotFound => "ce membre n'existe pas",
            Self::RoleNotFound => "ce rôle n'existe pas",
            Self::AlreadyInvited => "cette adresse est déjà invitée, à un autre titre",
            Self::AlreadyMember => "ce compte est déjà membre",
            Self::LastAdmin => "une organisation garde un administrateur : nommez-en d'abord un autre",
            Self::BeyondOwnPermissions => "cela demande des permissions que vous n'avez pas dans l'organisation",
            Self::RoleInUse => "quelqu'un a ce rôle, ou est invité avec lui",
            Self::Full { .. } => "l'organisation n'a plus de place",
        }
        .to_owned()
    }

    fn kind(&self) -> RejectionKind {
        match self {
            Self::NotFound | Self::InvitationNotFound | Self::MemberNotFound | Self::RoleNotFound => {
                RejectionKind::NotFound
            }
            Self::Invalid(errors) => RejectionKind::Invalid(errors.clone()),
            Self::BeyondOwnPermissions => RejectionKind::Forbidden,
            Self::AlreadyCreated
            | Self::AlreadyInvited
            | Self::AlreadyMember
            | Self::LastAdmin
            | Self::RoleInUse
            | Self::Full { .. } => RejectionKind::Conflict,
        }
    }
}
