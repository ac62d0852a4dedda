//! Invitations: of an organisation, for who manages its members; and one's own, to answer.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::account::Account;
use domain::organization::{Charter, Invitation, MemberRole, Organization, OrganizationCommand};
use domain::{Action, Resource};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::accesses::{Access, AccessAction};
use crate::answer::{Answered, CommandAnswer, CommandDone, QueryAnswer};
use crate::app::App;
use crate::error::{denied, not_found};
use crate::extract::{CommandRequest, Id, NoBody, NoParameters, Order, Page, QueryRequest};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list, revoke))
        .routes(routes!(mine))
        .routes(routes!(accept))
        .routes(routes!(decline))
}

/// Somebody who was invited and has not answered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InvitationView {
    id: Uuid,
    /// Null once it is forgotten.
    email: Option<String>,
    #[schema(value_type = String)]
    role: MemberRole,
    invited_by: Uuid,
    invited_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// An invitation for the caller.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OwnInvitation {
    id: Uuid,
    organization_id: Uuid,
    organization_name: String,
    #[schema(value_type = String)]
    role: MemberRole,
    invited_by: Uuid,
    invited_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// Which invitation.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevokeInvitation {
    invitation_id: Uuid,
}

/// The open invitations of an organisation, for who manages its members.
#[utoipa::path(get, path = "/api/organizations/{id}/invitations", tag = "organizations",
    operation_id = "listInvitations", responses((status = 200, body = Page<InvitationView>)))]
async fn list(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<InvitationView>>, Problem> {
    let position = app.log_head(&request).await?;
    let (organization, version) = app.commands().state::<Organization>(id).await?;
    let charter = organization.charter().ok_or_else(not_found::<Organization>)?;
    let resource = Resource::Organization { membership: charter.permissions_of(request.caller.id()) };
    request.caller.can(Action::ManageMembers, &resource).map_err(denied::<Organization>)?;
    let view = |(id, invitation): (&Uuid, &Invitation)| InvitationView {
        id: *id,
        email: invitation.address.get().cloned(),
        role: invitation.role.clone(),
        invited_by: invitation.by,
        invited_at: invitation.at,
        expires_at: invitation.expires_at,
    };
    let items = open(charter).map(view).collect();
    Ok(QueryAnswer::of_one(Page { items, next_cursor: None }, position, Some(version)))
}

fn open(charter: &Charter) -> impl Iterator<Item = (&Uuid, &Invitation)> {
    let now = Utc::now();
    charter.invitations.iter().filter(move |(_, invitation)| now < invitation.expires_at)
}

/// Take an invitation back.
#[utoipa::path(delete, path = "/api/organizations/{id}/invitations", tag = "organizations",
    operation_id = "revokeInvitation", request_body = RevokeInvitation,
    responses((status = 200, body = CommandDone)))]
async fn revoke(State(app): State<App>, Id(id): Id, request: CommandRequest<RevokeInvitation>) -> Answered {
    let (RevokeInvitation { invitation_id: invitation }, order) = request.into_parts();
    let by = order.caller.id();
    let command = OrganizationCommand::Revoke { invitation, by, at: Utc::now() };
    let answer = app.execute::<Organization>(id, command, order).await?;
    app.invitations().forget(app.vault(), invitation).await?;
    Ok(answer)
}

/// The invitations for the caller's address, which must be proved, the newest first.
#[utoipa::path(get, path = "/api/users/me/invitations", tag = "organizations", operation_id = "listMyInvitations",
    responses((status = 200, body = Page<OwnInvitation>)))]
async fn mine(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<OwnInvitation>>, Problem> {
    let position = app.log_head(&request).await?;
    let address = proved_address(&app, request.caller.id()).await?;
    let mut items = Vec::new();
    for (id, organization_id) in app.invitations().to(app.vault(), &address).await? {
        let (organization, _) = app.commands().state::<Organization>(organization_id).await?;
        let Some(charter) = organization.charter() else { continue };
        let Some((_, invitation)) = open(charter).find(|(open, _)| **open == id) else { continue };
        items.push(OwnInvitation {
            id,
            organization_id,
            organization_name: charter.name.clone(),
            role: invitation.role.clone(),
            invited_by: invitation.by,
            invited_at: invitation.at,
            expires_at: invitation.expires_at,
        });
    }
    Ok(QueryAnswer::new(Page { items, next_cursor: None }, position))
}

/// Who has not proved an address could answer for somebody else.
async fn proved_address(app: &App, account: Uuid) -> Result<String, Problem> {
    let (account, _) = app.commands().state::<Account>(account).await?;
    if !account.is_verified() {
        return Err(Problem::new(&codes::ACCOUNT_UNVERIFIED));
    }
    account.email().and_then(|email| email.get()).cloned().ok_or_else(not_found::<Account>)
}

/// Join the organisation. The caller's sessions go on acting where they did.
#[utoipa::path(post, path = "/api/users/me/invitations/{id}/accept", tag = "organizations",
    operation_id = "acceptInvitation", responses((status = 200, body = CommandDone)))]
async fn accept(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let (_, order) = request.into_parts();
    let (user, info) = (order.caller.id(), order.info());
    let access = Access::new(AccessAction::ChangeRoles, info).by(user);
    let at = Utc::now();
    let accept = |address| OrganizationCommand::Accept { invitation: id, address, user, at };
    let (organization, answer) = answer_by(&app, id, order, accept).await?;
    if let Some(organization) = organization {
        app.auth().accounts.forget_membership(organization, user).await;
        let (joined, _) = app.commands().state::<Organization>(organization).await?;
        let role = joined.charter().and_then(|charter| charter.members.get(&user)).cloned();
        let access = access.to("organization", organization).with(json!({ "from": null, "to": role }));
        app.accesses().record(access).await?;
    }
    Ok(answer)
}

/// Turn an invitation down.
#[utoipa::path(delete, path = "/api/users/me/invitations/{id}", tag = "organizations",
    operation_id = "declineInvitation", responses((status = 200, body = CommandDone)))]
async fn decline(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let (_, order) = request.into_parts();
    let at = Utc::now();
    let decline = |address| OrganizationCommand::Decline { invitation: id, address, at };
    Ok(answer_by(&app, id, order, decline).await?.1)
}

/// Answers an invitation, which is forgotten with that; with its organisation, unless that was done before.
async fn answer_by(
    app: &App,
    invitation: Uuid,
    order: Order,
    command: impl FnOnce(String) -> OrganizationCommand,
) -> Result<(Option<Uuid>, CommandAnswer), Problem> {
    let address = proved_address(app, order.caller.id()).await?;
    let unknown = || Problem::new(&codes::INVITATION_NOT_FOUND);
    let Some(organization) = app.invitations().organization(invitation).await? else {
        return Ok((None, app.replayed_or::<Organization>(unknown(), order).await?));
    };
    let answer = app.execute::<Organization>(organization, command(address), order).await;
    let answer = answer.map_err(|problem| match *problem.code() == codes::ORGANIZATION_NOT_FOUND {
        // It is for somebody else.
        true => unknown(),
        false => problem,
    })?;
    app.invitations().forget(app.vault(), invitation).await?;
    Ok((Some(organization), answer))
}
