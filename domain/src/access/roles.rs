//! What an account may be.

use serde::{Deserialize, Serialize};

/// What an account may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Owns dossiers; every account has it.
    Applicant,
    /// Reviews dossiers.
    Pro,
    /// Replays history and proves that it was not rewritten.
    Auditor,
    /// Reads aggregates, exports and the change feed, never personal data.
    Analyst,
    /// Keeps the community.
    Moderator,
    /// Runs live events.
    Organizer,
    /// Runs the instance.
    Admin,
}

impl Role {
    /// Every role, in the order of the policy table.
    pub const ALL: [Role; 7] =
        [Role::Applicant, Role::Pro, Role::Auditor, Role::Analyst, Role::Moderator, Role::Organizer, Role::Admin];
}

/// A set of roles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Role>", into = "Vec<Role>")]
pub struct Roles(u8);

impl Roles {
    /// Whether the set holds `role`.
    pub fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// The roles in the set.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.contains(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | 1 << role as u8))
    }
}

impl From<Vec<Role>> for Roles {
    fn from(roles: Vec<Role>) -> Self {
        roles.into_iter().collect()
    }
}

impl From<Roles> for Vec<Role> {
    fn from(roles: Roles) -> Self {
        roles.iter().collect()
    }
}
