//! What the members of an organisation may be allowed there.

use serde::{Deserialize, Serialize};

use super::roles::{Role, Roles};

/// One thing that a member of an organisation may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Permission {
    /// To read the dossiers on the organisation's desk; all that is allowed on dossiers includes it.
    ReadDossiers,
    /// To take dossiers and to request changes.
    ReviewDossiers,
    /// To accept, refuse, close, reopen and archive dossiers.
    DecideDossiers,
    /// To give dossiers to others.
    AssignDossiers,
    /// To draft, change, publish and cancel live events.
    ManageEvents,
    /// To see who comes to live events.
    ReadAttendees,
    /// To invite and remove members, and to say what they are.
    ManageMembers,
    /// To rename the organisation, and to define its roles.
    ManageOrganization,
}

use Permission::*;

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 8] = [
        ReadDossiers,
        ReviewDossiers,
        DecideDossiers,
        AssignDossiers,
        ManageEvents,
        ReadAttendees,
        ManageMembers,
        ManageOrganization,
    ];

    /// The role whose cells in the policy's table it opens, if it is about what the table calls by a role.
    fn role(self) -> Option<Role> {
        match self {
            ReadDossiers | ReviewDossiers | DecideDossiers | AssignDossiers => Some(Role::Pro),
            ManageEvents | ReadAttendees => Some(Role::Organizer),
            ManageMembers | ManageOrganization => None,
        }
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Permission>", into = "Vec<Permission>")]
pub struct Permissions(u8);

impl Permissions {
    /// Whether the set holds `permission`.
    pub fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// Whether the set holds all of `others`.
    pub fn cover(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// The permissions in the set.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }

    /// All that these roles may do in the organisation of their account.
    pub fn of(roles: Roles) -> Self {
        let granted = |permission: &Permission| permission.role().is_some_and(|role| roles.contains(role));
        Permission::ALL.into_iter().filter(granted).collect()
    }

    /// The roles under which a member with these permissions acts.
    pub fn roles(self) -> impl Iterator<Item = Role> {
        self.iter().filter_map(Permission::role)
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |set, permission| set | 1 << permission as u8))
    }
}

impl From<Vec<Permission>> for Permissions {
    fn from(permissions: Vec<Permission>) -> Self {
        permissions.into_iter().collect()
    }
}

impl From<Permissions> for Vec<Permission> {
    fn from(permissions: Permissions) -> Self {
        permissions.iter().collect()
    }
}
