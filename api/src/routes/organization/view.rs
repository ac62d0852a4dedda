//! What the caller sees of an organisation.

use chrono::{DateTime, Utc};
use domain::organization::{Kind, MemberRole};
use domain::{Action, Permission, Permissions};
use projections::organization::OrganizationRow;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Caller;

/// An organisation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Organization)]
pub struct OrganizationView {
    id: Uuid,
    name: String,
    #[schema(value_type = OrganizationType)]
    r#type: Kind,
    /// The roles that it defined itself, beside `admin`, `pro`, `organizer` and `member`.
    roles: Vec<RoleView>,
    /// What the caller is there; null for who runs the instance and is not a member.
    #[schema(value_type = Option<String>)]
    role: Option<MemberRole>,
    /// What the caller may do there.
    #[schema(value_type = Vec<PermissionName>)]
    permissions: Vec<Permission>,
    /// Whether it is where the caller's session acts.
    active: bool,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A role that an organisation defined.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrganizationRole)]
struct RoleView {
    name: String,
    #[schema(value_type = Vec<PermissionName>)]
    permissions: Permissions,
}

/// What kind of organisation it is.
#[derive(ToSchema)]
#[schema(as = OrganizationType, rename_all = "lowercase")]
#[expect(dead_code)] // describes the domain's type
pub enum OrganizationType {
    Association,
    Center,
    Enterprise,
    Other,
}

/// One thing that a member of an organisation may be allowed.
#[derive(ToSchema)]
#[schema(as = Permission, rename_all = "camelCase")]
#[expect(dead_code)] // describes the domain's type
pub enum PermissionName {
    ReadDossiers,
    ReviewDossiers,
    DecideDossiers,
    AssignDossiers,
    ManageEvents,
    ReadAttendees,
    ManageMembers,
    ManageOrganization,
}

/// The organisation as the caller may see it.
pub fn show(caller: &Caller, row: OrganizationRow) -> Option<OrganizationView> {
    caller.can(Action::ReadOrganization, &row.resource()).ok()?;
    let permissions = row.membership().unwrap_or_default();
    Some(OrganizationView {
        id: row.id,
        name: row.name,
        r#type: row.kind,
        roles: row.roles.into_iter().map(|(name, permissions)| RoleView { name, permissions }).collect(),
        role: row.role,
        permissions: permissions.into(),
        active: row.id == caller.actor.organization,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
