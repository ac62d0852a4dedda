//! The switch between organisations, which is explicit: each session acts in one.

use axum::extract::State;
use axum::response::Response;
use domain::{Actor, FieldError, Permission, Role};
use event_store::StoreError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::view::PermissionName;
use crate::answer::{QueryAnswer, json};
use crate::app::App;
use crate::extract::{CommandRequest, NoParameters, QueryRequest};
use crate::problem::{Problem, codes};
use crate::routes::account::RoleName;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(current, switch))
}

/// Where to act.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SwitchOrganization {
    /// Null for the organisation of one's account.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    organization_id: Option<Uuid>,
}

/// Where a session acts, and as what.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ActingIn {
    organization_id: Uuid,
    #[schema(value_type = Vec<RoleName>)]
    roles: Vec<Role>,
    #[schema(value_type = Vec<PermissionName>)]
    permissions: Vec<Permission>,
}

impl From<Actor> for ActingIn {
    fn from(actor: Actor) -> Self {
        Self { organization_id: actor.organization, roles: actor.roles.into(), permissions: actor.permissions.into() }
    }
}

/// Where the caller acts.
#[utoipa::path(get, path = "/api/auth/session/organization", tag = "organizations",
    operation_id = "getActiveOrganization", responses((status = 200, body = ActingIn)))]
async fn current(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<ActingIn>, Problem> {
    let position = app.log_head(&request).await?;
    Ok(QueryAnswer::new(request.caller.actor.into(), position))
}

/// Let this session act in another organisation that the caller belongs to, or in that of their account. What it does
/// from then on is done there, on every node: the answer takes a second.
#[utoipa::path(put, path = "/api/auth/session/organization", tag = "organizations",
    operation_id = "switchOrganization", request_body = SwitchOrganization,
    responses((status = 200, body = ActingIn)))]
async fn switch(State(app): State<App>, request: CommandRequest<SwitchOrganization>) -> Result<Response, Problem> {
    let (SwitchOrganization { organization_id }, order) = request.into_parts();
    let (account, session) = (order.caller.id(), order.caller.session()?);
    if let Some(organization) = organization_id {
        app.auth().accounts.forget_membership(organization, account).await;
    }
    let actor = app.auth().accounts.actor(account, organization_id).await;
    let actor = actor.map_err(|error| Problem::from(StoreError::clone(&error)))?;
    let actor = actor.ok_or_else(|| {
        let error = FieldError::new("/organizationId", "field.invalid", "is no organisation that you belong to");
        Problem::new(&codes::FIELD_INVALID).with_errors(vec![error])
    })?;
    app.auth().sessions.act_in(session, organization_id).await?;
    Ok(json(&ActingIn::from(actor)))
}
