//! The commands on an organisation and its roles.

use axum::extract::State;
use chrono::Utc;
use domain::Permission;
use domain::organization::{Kind, Organization, OrganizationCommand};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::view::{OrganizationType, PermissionName};
use crate::answer::{Answered, CommandDone};
use crate::app::App;
use crate::extract::{CommandRequest, Id, given};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(create)).routes(routes!(edit)).routes(routes!(define_role, delete_role))
}

/// A new organisation.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateOrganization {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// `other` when it is not given.
    #[schema(value_type = Option<OrganizationType>)]
    r#type: Option<Kind>,
}

/// Changes what is given.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EditOrganization {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    #[serde(default, deserialize_with = "given")]
    name: Option<String>,
    #[schema(value_type = Option<OrganizationType>, nullable = false)]
    #[serde(default, deserialize_with = "given")]
    r#type: Option<Kind>,
}

/// A role of the organisation's own.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DefineRole {
    /// 1 to 50 lower-case letters, digits and hyphens; none of the roles that every organisation has.
    #[schema(min_length = 1, max_length = 50, pattern = "^[a-z0-9-]+$")]
    role: String,
    #[schema(value_type = Vec<PermissionName>)]
    permissions: Vec<Permission>,
}

/// Which role.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteRole {
    role: String,
}

/// Open an organisation; the caller is its first admin. Nothing else changes place: the caller's session goes on acting
/// where it did.
#[utoipa::path(post, path = "/api/organizations", tag = "organizations", operation_id = "createOrganization",
    request_body = CreateOrganization, responses((status = 201, body = CommandDone)))]
async fn create(State(app): State<App>, request: CommandRequest<CreateOrganization>) -> Answered {
    let (CreateOrganization { name, r#type }, order) = request.into_parts();
    let (by, kind) = (order.caller.id(), r#type.unwrap_or(Kind::Other));
    app.create::<Organization>(Uuid::now_v7(), OrganizationCommand::Create { name, kind, by, at: Utc::now() }, order)
        .await
}

/// Change what is given.
#[utoipa::path(put, path = "/api/organizations/{id}", tag = "organizations", operation_id = "editOrganization",
    request_body = EditOrganization, responses((status = 200, body = CommandDone)))]
async fn edit(State(app): State<App>, Id(id): Id, request: CommandRequest<EditOrganization>) -> Answered {
    let (EditOrganization { name, r#type: kind }, order) = request.into_parts();
    app.execute::<Organization>(id, OrganizationCommand::Edit { name, kind, at: Utc::now() }, order).await
}

/// Define what a role allows, anew when there is one of this name. Nobody can put more into it than they have.
#[utoipa::path(put, path = "/api/organizations/{id}/roles", tag = "organizations", operation_id = "defineRole",
    request_body = DefineRole, responses((status = 200, body = CommandDone)))]
async fn define_role(State(app): State<App>, Id(id): Id, request: CommandRequest<DefineRole>) -> Answered {
    let (DefineRole { role, permissions }, order) = request.into_parts();
    let (by, at) = (order.caller.id(), Utc::now());
    let permissions = permissions.into_iter().collect();
    app.execute::<Organization>(id, OrganizationCommand::DefineRole { role, permissions, by, at }, order).await
}

/// Do away with a role that nobody has.
#[utoipa::path(delete, path = "/api/organizations/{id}/roles", tag = "organizations", operation_id = "deleteRole",
    request_body = DeleteRole, responses((status = 200, body = CommandDone)))]
async fn delete_role(State(app): State<App>, Id(id): Id, request: CommandRequest<DeleteRole>) -> Answered {
    let (DeleteRole { role }, order) = request.into_parts();
    app.execute::<Organization>(id, OrganizationCommand::DeleteRole { role, at: Utc::now() }, order).await
}
