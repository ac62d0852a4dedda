//! What a member is: one of the roles that every organisation has, or one that it defined itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::access::{Permission, Permissions};

/// What a member of an organisation is, by a name that is written as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum MemberRole {
    /// May do everything, and is never missing while there are members.
    Admin,
    /// Reviews dossiers.
    Pro,
    /// Runs live events.
    Organizer,
    /// Owns dossiers in the organisation.
    Member,
    /// What the organisation defined under this name.
    Custom(String),
}

impl MemberRole {
    /// Those that every organisation has.
    pub const BUILT_IN: [Self; 4] = [Self::Admin, Self::Pro, Self::Organizer, Self::Member];

    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Admin => "admin",
            Self::Pro => "pro",
            Self::Organizer => "organizer",
            Self::Member => "member",
            Self::Custom(name) => name,
        }
    }

    /// What it allows, where these are the roles that the organisation defined; nothing for one that it did not.
    pub fn permissions(&self, defined: &BTreeMap<String, Permissions>) -> Option<Permissions> {
        use Permission::*;
        Some(match self {
            Self::Admin => Permission::ALL.into_iter().collect(),
            Self::Pro => [ReadDossiers, ReviewDossiers, DecideDossiers, AssignDossiers].into_iter().collect(),
            Self::Organizer => [ManageEvents, ReadAttendees].into_iter().collect(),
            Self::Member => Permissions::default(),
            Self::Custom(name) => return defined.get(name).copied(),
        })
    }
}

impl From<String> for MemberRole {
    fn from(name: String) -> Self {
        let built_in = Self::BUILT_IN.into_iter().find(|role| role.as_str() == name);
        built_in.unwrap_or(Self::Custom(name))
    }
}

impl From<MemberRole> for String {
    fn from(role: MemberRole) -> Self {
        role.to_string()
    }
}

impl fmt::Display for MemberRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
