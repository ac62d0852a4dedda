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
    /// An admin changed what it may be.
    RolesChanged { from: Roles, to: Roles, by: Uuid, at: DateTime<Utc> },
    /// An admin shut it out.
    Suspended { reason: Personal<String>, by: Uuid, at: DateTime<Utc> },
    /// An admin let it in again.
    Reactivated { reason: Personal<String>, by: Uuid, at: DateTime<Utc> },
}

impl AccountEvent {
    /// The stored names of all its variants.
    pub const TYPES: [&'static str; 5] =
        ["AccountRegistered", "ProfileEdited", "RolesChanged", "AccountSuspended", "AccountReactivated"];
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "AccountRegistered",
            Self::ProfileEdited { .. } => "ProfileEdited",
            Self::RolesChanged { .. } => "RolesChanged",
            Self::Suspended { .. } => "AccountSuspended",
            Self::Reactivated { .. } => "AccountReactivated",
        }
    }

    fn knows(event_type: &str, schema_version: u32) -> bool {
        schema_version == 1 && Self::TYPES.contains(&event_type)
    }
}
