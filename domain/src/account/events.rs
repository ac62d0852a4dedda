//! The facts of an account's life. Secrets are never among them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Locale;
use crate::access::Roles;
use crate::aggregate::DomainEvent;
use crate::change::Change;
use crate::personal::Personal;

/// A fact about an account; its personal values belong to the account itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
#[expect(missing_docs)] // the fields are those of the commands
pub enum AccountEvent {
    /// The account was opened.
    Registered {
        organization: Uuid,
        email: Personal<String>,
        name: Personal<String>,
        locale: Locale,
        roles: Roles,
        at: DateTime<Utc>,
    },
    /// What is given changed.
    ProfileEdited {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Change<Personal<String>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        locale: Option<Change<Locale>>,
        at: DateTime<Utc>,
    },
    /// The owner shows another picture, which is kept beside the log.
    AvatarChanged { at: DateTime<Utc> },
    /// The owner shows no picture any more.
    AvatarRemoved { at: DateTime<Utc> },
    /// A message that proves the address was asked for.
    VerificationRequested { at: DateTime<Utc> },
    /// The address is its owner's.
    AddressVerified { at: DateTime<Utc> },
    /// The address is another, not yet proved.
    AddressChanged { from: Personal<String>, to: Personal<String>, at: DateTime<Utc> },
    /// The owner asked for another address, which is to be proved first.
    AddressRequested { to: Personal<String>, at: DateTime<Utc> },
    /// Somebody tried to register with it again.
    AddressReused { at: DateTime<Utc> },
    /// The owner replaced the password.
    PasswordChanged { at: DateTime<Utc> },
    /// A message by which a forgotten password can be replaced was asked for.
    PasswordResetRequested { at: DateTime<Utc> },
    /// A forgotten password was replaced.
    PasswordReset { at: DateTime<Utc> },
    /// Logging in takes a second factor.
    TotpEnabled { at: DateTime<Utc> },
    /// Logging in takes no second factor any more.
    TotpDisabled { at: DateTime<Utc> },
    /// A program may act in the account's name.
    ApiTokenIssued { token: Uuid, scopes: Vec<String>, expires_at: DateTime<Utc>, at: DateTime<Utc> },
    /// It no longer may.
    ApiTokenRevoked { token: Uuid, at: DateTime<Utc> },
    /// An admin changed what it may be.
    RolesChanged { from: Roles, to: Roles, by: Uuid, at: DateTime<Utc> },
    /// An admin shut it out.
    Suspended { reason: Personal<String>, by: Uuid, at: DateTime<Utc> },
    /// An admin let it in again.
    Reactivated { reason: Personal<String>, by: Uuid, at: DateTime<Utc> },
    /// An admin asked that the person be forgotten.
    ErasureRequested { reason: Personal<String>, by: Uuid, at: DateTime<Utc> },
    /// An admin took that back.
    ErasureWithdrawn { by: Uuid, at: DateTime<Utc> },
    /// The person is forgotten: everything sealed for them will never open again.
    Erased { at: DateTime<Utc> },
}

impl AccountEvent {
    /// The stored names of all its variants.
    pub const TYPES: [&'static str; 22] = [
        "AccountRegistered",
        "ProfileEdited",
        "AvatarChanged",
        "AvatarRemoved",
        "VerificationRequested",
        "AddressVerified",
        "AddressChanged",
        "AddressRequested",
        "AddressReused",
        "PasswordChanged",
        "PasswordResetRequested",
        "PasswordReset",
        "TotpEnabled",
        "TotpDisabled",
        "ApiTokenIssued",
        "ApiTokenRevoked",
        "RolesChanged",
        "AccountSuspended",
        "AccountReactivated",
        "ErasureRequested",
        "ErasureWithdrawn",
        "AccountErased",
    ];

    /// The clock of the request that caused it.
    pub fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Registered { at, .. }
            | Self::ProfileEdited { at, .. }
            | Self::AvatarChanged { at }
            | Self::AvatarRemoved { at }
            | Self::VerificationRequested { at }
            | Self::AddressVerified { at }
            | Self::AddressChanged { at, .. }
            | Self::AddressRequested { at, .. }
            | Self::AddressReused { at }
            | Self::PasswordChanged { at }
            | Self::PasswordResetRequested { at }
            | Self::PasswordReset { at }
            | Self::TotpEnabled { at }
            | Self::TotpDisabled { at }
            | Self::ApiTokenIssued { at, .. }
            | Self::ApiTokenRevoked { at, .. }
            | Self::RolesChanged { at, .. }
            | Self::Suspended { at, .. }
            | Self::Reactivated { at, .. }
            | Self::ErasureRequested { at, .. }
            | Self::ErasureWithdrawn { at, .. }
            | Self::Erased { at } => *at,
        }
    }
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "AccountRegistered",
            Self::ProfileEdited { .. } => "ProfileEdited",
            Self::AvatarChanged { .. } => "AvatarChanged",
            Self::AvatarRemoved { .. } => "AvatarRemoved",
            Self::VerificationRequested { .. } => "VerificationRequested",
            Self::AddressVerified { .. } => "AddressVerified",
            Self::AddressChanged { .. } => "AddressChanged",
            Self::AddressRequested { .. } => "AddressRequested",
            Self::AddressReused { .. } => "AddressReused",
            Self::PasswordChanged { .. } => "PasswordChanged",
            Self::PasswordResetRequested { .. } => "PasswordResetRequested",
            Self::PasswordReset { .. } => "PasswordReset",
            Self::TotpEnabled { .. } => "TotpEnabled",
            Self::TotpDisabled { .. } => "TotpDisabled",
            Self::ApiTokenIssued { .. } => "ApiTokenIssued",
            Self::ApiTokenRevoked { .. } => "ApiTokenRevoked",
            Self::RolesChanged { .. } => "RolesChanged",
            Self::Suspended { .. } => "AccountSuspended",
            Self::Reactivated { .. } => "AccountReactivated",
            Self::ErasureRequested { .. } => "ErasureRequested",
            Self::ErasureWithdrawn { .. } => "ErasureWithdrawn",
            Self::Erased { .. } => "AccountErased",
        }
    }

    fn knows(event_type: &str, schema_version: u32) -> bool {
        schema_version == 1 && Self::TYPES.contains(&event_type)
    }
}
