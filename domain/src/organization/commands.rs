//! The orders that an organisation takes.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::MemberRole;
use crate::access::Permissions;
use crate::aggregate::Command;

/// An order to an organisation. `at` is the clock of the request, `by` the account that gives it.
#[derive(Clone, PartialEq)]
#[expect(missing_docs)] // the fields are those of the routes
pub enum OrganizationCommand {
    /// Opens it, with `by` as its first member and admin.
    Create { name: String, kind: Kind, by: Uuid, at: DateTime<Utc> },
    /// Changes what is given.
    Edit { name: Option<String>, kind: Option<Kind>, at: DateTime<Utc> },
    /// Invites whoever has this e-mail address; the caller has made a key for `invitation`.
    Invite { invitation: Uuid, address: String, role: MemberRole, by: Uuid, at: DateTime<Utc> },
    /// Takes an invitation back.
    Revoke { invitation: Uuid, by: Uuid, at: DateTime<Utc> },
    /// Joins by an invitation to `address`, which the caller has found to be proved.
    Accept { invitation: Uuid, address: String, user: Uuid, at: DateTime<Utc> },
    /// Turns an invitation to `address` down.
    Decline { invitation: Uuid, address: String, at: DateTime<Utc> },
    /// Makes a member something else.
    ChangeRole { user: Uuid, role: MemberRole, by: Uuid, at: DateTime<Utc> },
    /// Removes a member; one who removes themselves leaves.
    Remove { user: Uuid, by: Uuid, at: DateTime<Utc> },
    /// Removes a member whose account is erased, even the last admin.
    Forget { user: Uuid, at: DateTime<Utc> },
    /// Defines what a role allows, anew when there is one of this name.
    DefineRole { role: String, permissions: Permissions, by: Uuid, at: DateTime<Utc> },
    /// Does away with a role that nobody has.
    DeleteRole { role: String, at: DateTime<Utc> },
}

/// What kind of organisation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs)] // each name is its own sentence
pub enum Kind {
    Association,
    Center,
    Enterprise,
    Other,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Association, Self::Center, Self::Enterprise, Self::Other];

    /// Its name as clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Association => "association",
            Self::Center => "center",
            Self::Enterprise => "enterprise",
            Self::Other => "other",
        }
    }
}

impl Command for OrganizationCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CreateOrganization",
            Self::Edit { .. } => "EditOrganization",
            Self::Invite { .. } => "InviteMember",
            Self::Revoke { .. } => "RevokeInvitation",
            Self::Accept { .. } => "AcceptInvitation",
            Self::Decline { .. } => "DeclineInvitation",
            Self::ChangeRole { .. } => "ChangeMemberRole",
            Self::Remove { .. } => "RemoveMember",
            Self::Forget { .. } => "ForgetMember",
            Self::DefineRole { .. } => "DefineRole",
            Self::DeleteRole { .. } => "DeleteRole",
        }
    }
}

// Only the name: an address is personal data.
impl fmt::Debug for OrganizationCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
