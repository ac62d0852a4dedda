//! The facts of an organisation's life.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Kind, MemberRole};
use crate::access::Permissions;
use crate::aggregate::DomainEvent;
use crate::change::Change;
use crate::personal::Personal;

/// A fact about an organisation. An address belongs to its invitation, and is forgotten with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
#[expect(missing_docs)] // the fields are those of the commands
pub enum OrganizationEvent {
    /// It was opened; who opened it is its first admin.
    Created { name: String, kind: Kind, by: Uuid, at: DateTime<Utc> },
    /// What is given changed.
    Edited {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Change<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<Change<Kind>>,
        at: DateTime<Utc>,
    },
    /// Somebody was invited by e-mail address.
    MemberInvited {
        invitation: Uuid,
        address: Personal<String>,
        role: MemberRole,
        expires_at: DateTime<Utc>,
        by: Uuid,
        at: DateTime<Utc>,
    },
    /// The invitation was taken back.
    InvitationRevoked { invitation: Uuid, by: Uuid, at: DateTime<Utc> },
    /// The invitation was turned down.
    InvitationDeclined { invitation: Uuid, at: DateTime<Utc> },
    /// Somebody who was invited is a member now.
    MemberJoined { invitation: Uuid, user: Uuid, role: MemberRole, at: DateTime<Utc> },
    /// A member is something else now.
    MemberRoleChanged { user: Uuid, from: MemberRole, to: MemberRole, by: Uuid, at: DateTime<Utc> },
    /// A member was removed.
    MemberRemoved { user: Uuid, by: Uuid, at: DateTime<Utc> },
    /// A member left.
    MemberLeft { user: Uuid, at: DateTime<Utc> },
    /// There is a role of this name now.
    RoleDefined { role: String, permissions: Permissions, by: Uuid, at: DateTime<Utc> },
    /// The role of this name allows something else now.
    RoleRedefined { role: String, permissions: Change<Permissions>, by: Uuid, at: DateTime<Utc> },
    /// There is no such role any more.
    RoleDeleted { role: String, at: DateTime<Utc> },
}

impl OrganizationEvent {
    /// The stored names of all its variants.
    pub const TYPES: [&'static str; 12] = [
        "OrganizationCreated",
        "OrganizationEdited",
        "MemberInvited",
        "InvitationRevoked",
        "InvitationDeclined",
        "MemberJoined",
        "MemberRoleChanged",
        "MemberRemoved",
        "MemberLeft",
        "RoleDefined",
        "RoleRedefined",
        "RoleDeleted",
    ];

    /// The clock of the request that caused it.
    pub fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Created { at, .. }
            | Self::Edited { at, .. }
            | Self::MemberInvited { at, .. }
            | Self::InvitationRevoked { at, .. }
            | Self::InvitationDeclined { at, .. }
            | Self::MemberJoined { at, .. }
            | Self::MemberRoleChanged { at, .. }
            | Self::MemberRemoved { at, .. }
            | Self::MemberLeft { at, .. }
            | Self::RoleDefined { at, .. }
            | Self::RoleRedefined { at, .. }
            | Self::RoleDeleted { at, .. } => *at,
        }
    }
}

impl DomainEvent for OrganizationEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => "OrganizationCreated",
            Self::Edited { .. } => "OrganizationEdited",
            Self::MemberInvited { .. } => "MemberInvited",
            Self::InvitationRevoked { .. } => "InvitationRevoked",
            Self::InvitationDeclined { .. } => "InvitationDeclined",
            Self::MemberJoined { .. } => "MemberJoined",
            Self::MemberRoleChanged { .. } => "MemberRoleChanged",
            Self::MemberRemoved { .. } => "MemberRemoved",
            Self::MemberLeft { .. } => "MemberLeft",
            Self::RoleDefined { .. } => "RoleDefined",
            Self::RoleRedefined { .. } => "RoleRedefined",
            Self::RoleDeleted { .. } => "RoleDeleted",
        }
    }

    fn knows(event_type: &str, schema_version: u32) -> bool {
        schema_version == 1 && Self::TYPES.contains(&event_type)
    }
}
