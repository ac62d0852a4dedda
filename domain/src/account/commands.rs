//! The orders that an account takes.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::{Action, Roles};
use crate::aggregate::Command;

/// An order to an account. `at` is the clock of the request, `by` the admin who gives it.
#[derive(Clone, PartialEq)]
#[expect(missing_docs)] // the fields are those of the routes
pub enum AccountCommand {
    /// Opens the account `id`, with the role applicant; the instance's first admin is also an admin.
    Register {
        id: Uuid,
        organization: Uuid,
        email: String,
        name: String,
        locale: Option<Locale>,
        first_admin: bool,
        at: DateTime<Utc>,
    },
    /// Changes what is given.
    EditProfile { name: Option<String>, locale: Option<Locale>, at: DateTime<Utc> },
    /// Tells that the owner shows another picture.
    ChangeAvatar { at: DateTime<Utc> },
    /// Tells that the owner shows no picture any more.
    RemoveAvatar { at: DateTime<Utc> },
    /// Asks for a message that proves the address.
    RequestVerification { at: DateTime<Utc> },
    /// Proves the address `email`; the caller has checked the proof.
    VerifyAddress { email: String, at: DateTime<Utc> },
    /// Takes another address in the place of `before`, which is given back with it; the new one is then to be proved.
    ChangeAddress { before: String, email: String, at: DateTime<Utc> },
    /// Asks for another address, which takes the place of the present one once it is proved.
    RequestAddress { email: String, at: DateTime<Utc> },
    /// Takes the address that was asked for in the place of `before`; the caller has checked the proof.
    ConfirmAddress { before: String, email: String, at: DateTime<Utc> },
    /// Tells that somebody tried to register with its address.
    NoteAddressReuse { at: DateTime<Utc> },
    /// Tells that the owner replaced the password.
    ChangePassword { at: DateTime<Utc> },
    /// Asks for a message by which a forgotten password can be replaced.
    RequestPasswordReset { at: DateTime<Utc> },
    /// Tells that a forgotten password was replaced by what was sent to `email`; the caller has checked the proof.
    ResetPassword { email: String, at: DateTime<Utc> },
    /// Tells that logging in takes a second factor from now on.
    EnableTotp { at: DateTime<Utc> },
    /// Tells that it no longer does.
    DisableTotp { at: DateTime<Utc> },
    /// Tells that a program may act in the account's name.
    IssueApiToken { token: Uuid, scopes: Vec<String>, expires_at: DateTime<Utc>, at: DateTime<Utc> },
    /// Tells that it no longer may.
    RevokeApiToken { token: Uuid, at: DateTime<Utc> },
    /// Sets the roles; the role applicant always stays.
    ChangeRoles { roles: Roles, by: Uuid, at: DateTime<Utc> },
    /// Shuts the account out.
    Suspend { reason: String, by: Uuid, at: DateTime<Utc> },
    /// Lets the account in again.
    Reactivate { reason: String, by: Uuid, at: DateTime<Utc> },
    /// Ends the account for ever; the caller destroys its key.
    Erase { at: DateTime<Utc> },
    /// Asks that the account be ended for ever, which another admin has to agree to.
    RequestErasure { reason: String, by: Uuid, at: DateTime<Utc> },
    /// Takes that back.
    WithdrawErasure { by: Uuid, at: DateTime<Utc> },
    /// Agrees: as [`AccountCommand::Erase`].
    ApproveErasure { by: Uuid, at: DateTime<Utc> },
}

/// The languages that the product speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    /// French.
    #[default]
    Fr,
    /// English.
    En,
}

impl AccountCommand {
    /// What the policy calls it. Making an admin is a matter for admins, the first one (who acts as such) included.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Register { first_admin: false, .. } => Action::Register,
            Self::EditProfile { .. }
            | Self::ChangeAvatar { .. }
            | Self::RemoveAvatar { .. }
            | Self::RequestVerification { .. }
            | Self::VerifyAddress { .. }
            | Self::ChangeAddress { .. }
            | Self::RequestAddress { .. }
            | Self::ConfirmAddress { .. }
            | Self::NoteAddressReuse { .. }
            | Self::ChangePassword { .. }
            | Self::RequestPasswordReset { .. }
            | Self::ResetPassword { .. }
            | Self::EnableTotp { .. }
            | Self::DisableTotp { .. }
            | Self::IssueApiToken { .. }
            | Self::RevokeApiToken { .. } => Action::EditSelf,
            Self::Erase { .. } => Action::EraseSelf,
            Self::Register { first_admin: true, .. }
            | Self::ChangeRoles { .. }
            | Self::Suspend { .. }
            | Self::Reactivate { .. }
            | Self::RequestErasure { .. }
            | Self::WithdrawErasure { .. }
            | Self::ApproveErasure { .. } => Action::ManageUsers,
        }
    }
}

impl Command for AccountCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "RegisterAccount",
            Self::EditProfile { .. } => "EditProfile",
            Self::ChangeAvatar { .. } => "ChangeAvatar",
            Self::RemoveAvatar { .. } => "RemoveAvatar",
            Self::RequestVerification { .. } => "RequestVerification",
            Self::VerifyAddress { .. } => "VerifyAddress",
            Self::ChangeAddress { .. } => "ChangeAddress",
            Self::RequestAddress { .. } => "RequestAddress",
            Self::ConfirmAddress { .. } => "ConfirmAddress",
            Self::NoteAddressReuse { .. } => "NoteAddressReuse",
            Self::ChangePassword { .. } => "ChangePassword",
            Self::RequestPasswordReset { .. } => "RequestPasswordReset",
            Self::ResetPassword { .. } => "ResetPassword",
            Self::EnableTotp { .. } => "EnableTotp",
            Self::DisableTotp { .. } => "DisableTotp",
            Self::IssueApiToken { .. } => "IssueApiToken",
            Self::RevokeApiToken { .. } => "RevokeApiToken",
            Self::ChangeRoles { .. } => "ChangeRoles",
            Self::Suspend { .. } => "SuspendAccount",
            Self::Reactivate { .. } => "ReactivateAccount",
            Self::Erase { .. } => "EraseAccount",
            Self::RequestErasure { .. } => "RequestErasure",
            Self::WithdrawErasure { .. } => "WithdrawErasure",
            Self::ApproveErasure { .. } => "ApproveErasure",
        }
    }
}

// Only the name: address, name and reason are personal data.
impl fmt::Debug for AccountCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
