//! What a token for programs may be used for: one table, deny by default.

use std::fmt;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token may be used for. What its account may not do, it may not do either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum Scope {
    #[serde(rename = "dossiers:read")]
    ReadDossiers,
    #[serde(rename = "dossiers:write")]
    WriteDossiers,
    #[serde(rename = "community:read")]
    ReadCommunity,
    #[serde(rename = "community:write")]
    WriteCommunity,
    #[serde(rename = "events:read")]
    ReadEvents,
    #[serde(rename = "events:write")]
    WriteEvents,
    #[serde(rename = "organizations:read")]
    ReadOrganizations,
    #[serde(rename = "users:read")]
    ReadUsers,
    #[serde(rename = "audit:read")]
    ReadAudit,
    #[serde(rename = "analytics:read")]
    ReadAnalytics,
}

use Scope::*;

/// The routes that tokens reach, by the beginning of their address: for reading and for writing. The first that fits
/// counts; passwords, sessions, tokens and the instance are out of reach.
const ROUTES: [(&str, Option<Scope>, Option<Scope>); 11] = [
    ("/api/users/me/", None, None),
    ("/api/users/", Some(ReadUsers), None),
    ("/api/dossiers/", Some(ReadDossiers), Some(WriteDossiers)),
    ("/api/posts/", Some(ReadCommunity), Some(WriteCommunity)),
    ("/api/comments/", Some(ReadCommunity), Some(WriteCommunity)),
    ("/api/events/", Some(ReadEvents), Some(WriteEvents)),
    ("/api/admin/events/", Some(ReadEvents), Some(WriteEvents)),
    ("/api/organizations/", Some(ReadOrganizations), None),
    ("/api/audit/", Some(ReadAudit), None),
    ("/api/analytics/", Some(ReadAnalytics), None),
    ("/api/stream/", Some(ReadAnalytics), None),
];

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 10] = [
        ReadDossiers,
        WriteDossiers,
        ReadCommunity,
        WriteCommunity,
        ReadEvents,
        WriteEvents,
        ReadOrganizations,
        ReadUsers,
        ReadAudit,
        ReadAnalytics,
    ];

    /// The scope that a request needs; nothing for what no token may do.
    pub fn needed(method: &Method, path: &str) -> Option<Self> {
        if path == "/api/users/me" && method == Method::GET {
            return Some(ReadUsers);
        }
        if path == "/api/admin/analytics" && method == Method::GET {
            return Some(ReadAnalytics);
        }
        let path = format!("{path}/");
        let (_, read, write) = ROUTES.iter().find(|(prefix, ..)| path.starts_with(prefix))?;
        if matches!(*method, Method::GET | Method::HEAD) { *read } else { *write }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// Whether the set holds `scope`.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u16) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u16))
    }
}

/// As it is written.
impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reaches_what_its_scopes_name_and_nothing_else() {
        let needed = |method, path| Scope::needed(&method, path);
        assert_eq!(needed(Method::GET, "/api/dossiers"), Some(ReadDossiers));
        assert_eq!(needed(Method::GET, "/api/dossiers/1/history"), Some(ReadDossiers));
        assert_eq!(needed(Method::POST, "/api/dossiers"), Some(WriteDossiers));
        assert_eq!(needed(Method::DELETE, "/api/posts/1/like"), Some(WriteCommunity));
        assert_eq!(needed(Method::GET, "/api/organizations/1/members"), Some(ReadOrganizations));
        assert_eq!(needed(Method::GET, "/api/users/me"), Some(ReadUsers));
        assert_eq!(needed(Method::GET, "/api/admin/analytics"), Some(ReadAnalytics));
        assert_eq!(needed(Method::GET, "/api/stream"), Some(ReadAnalytics));
        for (method, path) in [
            (Method::PUT, "/api/users/me"),
            (Method::DELETE, "/api/users/me"),
            (Method::PUT, "/api/users/me/password"),
            (Method::GET, "/api/auth/sessions"),
            (Method::POST, "/api/auth/tokens"),
            (Method::GET, "/api/admin/users"),
            (Method::POST, "/api/audit/events"),
            (Method::GET, "/api/dossiersandmore"),
            (Method::POST, "/api/organizations"),
            (Method::PUT, "/api/auth/session/organization"),
            (Method::GET, "/"),
        ] {
            assert_eq!(needed(method, path), None, "{path}");
        }
    }

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        for scope in Scope::ALL {
            let set: Scopes = [scope].into_iter().collect();
            assert!(Scope::ALL.into_iter().all(|other| set.contains(other) == (other == scope)));
        }
        assert_eq!(ReadDossiers.to_string(), "dossiers:read");
    }
}
