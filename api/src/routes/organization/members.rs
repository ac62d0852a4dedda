//! Who belongs to an organisation, and as what.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::organization::{INVITED_FOR, MemberRole, Organization, OrganizationCommand};
use domain::{Action, Aggregate};
use projections::Scope;
use projections::organization::{self, MemberCursor};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::PROJECTION;
use crate::accesses::{Access, AccessAction};
use crate::answer::{Answered, CommandDone, QueryAnswer};
use crate::app::App;
use crate::error::{denied, not_found, rejection_problem};
use crate::extract::{CommandRequest, Cursor, Id, Order, Page, Paging, QueryRequest};
use crate::problem::Problem;
use crate::routes::account::names;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list, invite, change_role, remove))
}

/// A member of an organisation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Member {
    user_id: Uuid,
    /// Null once the account was erased.
    name: Option<String>,
    /// `admin`, `pro`, `organizer`, `member`, or a role that the organisation defined.
    #[schema(value_type = String)]
    role: MemberRole,
    joined_at: DateTime<Utc>,
}

/// Whom to invite, as what.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InviteMember {
    email: String,
    /// `member` when it is not given.
    #[schema(value_type = Option<String>)]
    role: Option<MemberRole>,
}

/// What a member is from now on.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeMemberRole {
    user_id: Uuid,
    #[schema(value_type = String)]
    role: MemberRole,
}

/// Who is no longer to be a member.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RemoveMember {
    user_id: Uuid,
}

/// The members, in the order in which they joined.
#[utoipa::path(get, path = "/api/organizations/{id}/members", tag = "organizations", operation_id = "listMembers",
    params(Paging), responses((status = 200, body = Page<Member>)))]
async fn list(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<Paging>,
) -> Result<QueryAnswer<Page<Member>>, Problem> {
    let (caller, Paging { limit, cursor }) = (&request.caller, &request.parameters);
    let cursors = Cursor::of(app.vault(), "members", &id, caller.id());
    let after = cursor.as_ref().map(|cursor| cursors.open::<MemberCursor>(cursor)).transpose()?;
    let models = app.models(&caller.actor);
    let organization = || organization::by_id(&models, id, caller.id());
    let (row, _) = app.read(PROJECTION, Scope::Key(id), &request, organization).await?;
    let row = row.ok_or_else(not_found::<Organization>)?;
    caller.can(Action::ReadOrganization, &row.resource()).map_err(denied::<Organization>)?;
    let query = || organization::members(&models, id, after, limit.0);
    let (page, reached) = app.read(PROJECTION, Scope::Key(id), &request, query).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    let names = names(&app, &models, page.items.iter().map(|row| row.user_id)).await?;
    let member = |row: organization::MemberRow| Member {
        user_id: row.user_id,
        name: names.get(&row.user_id).cloned(),
        role: row.role,
        joined_at: row.joined_at,
    };
    Ok(QueryAnswer::new(Page { items: page.items.into_iter().map(member).collect(), next_cursor }, reached))
}

/// Invite whoever has an e-mail address, for 14 days. Repeating it changes nothing. The answer tells nothing about the
/// address.
#[utoipa::path(post, path = "/api/organizations/{id}/members", tag = "organizations", operation_id = "inviteMember",
    request_body = InviteMember, responses((status = 200, body = CommandDone)))]
async fn invite(State(app): State<App>, Id(id): Id, request: CommandRequest<InviteMember>) -> Answered {
    let (InviteMember { email, role }, order) = request.into_parts();
    let (invitation, by, at) = (Uuid::now_v7(), order.caller.id(), Utc::now());
    let command = OrganizationCommand::Invite {
        invitation,
        address: email.clone(),
        role: role.unwrap_or(MemberRole::Member),
        by,
        at,
    };
    if let Err(problem) = may_invite(&app, &order, id, &command).await {
        return app.replayed_or::<Organization>(problem, order).await;
    }
    app.invitations().prepare(app.vault(), invitation, id, &email, at + INVITED_FOR).await?;
    let answer = app.execute::<Organization>(id, command, order).await;
    // An unknown outcome is left to expire.
    if answer.as_ref().map_or_else(Problem::is_refusal, |_| true) {
        let (organization, _) = app.commands().state::<Organization>(id).await?;
        let invited = organization.charter().is_some_and(|charter| charter.invitations.contains_key(&invitation));
        if !invited {
            app.invitations().forget(app.vault(), invitation).await?;
        }
    }
    answer
}

/// Nothing is kept of an invitation that is refused.
async fn may_invite(app: &App, order: &Order, id: Uuid, command: &OrganizationCommand) -> Result<(), Problem> {
    let (organization, _) = app.commands().state::<Organization>(id).await?;
    organization.authorize(&order.caller.actor, command).map_err(denied::<Organization>)?;
    organization.decide(command.clone()).map(drop).map_err(|refusal| rejection_problem(&refusal))
}

/// Make a member something else. Nobody gives or takes what they do not have, and an organisation keeps an admin.
#[utoipa::path(put, path = "/api/organizations/{id}/members", tag = "organizations",
    operation_id = "changeMemberRole", request_body = ChangeMemberRole, responses((status = 200, body = CommandDone)))]
async fn change_role(State(app): State<App>, Id(id): Id, request: CommandRequest<ChangeMemberRole>) -> Answered {
    let (ChangeMemberRole { user_id: user, role }, order) = request.into_parts();
    let by = order.caller.id();
    let access = Access::new(AccessAction::ChangeRoles, order.info()).by(by).concerning(user).to("organization", id);
    let (before, _) = app.commands().state::<Organization>(id).await?;
    let from = before.charter().and_then(|charter| charter.members.get(&user)).cloned();
    let access = access.with(json!({ "from": from, "to": role }));
    let command = OrganizationCommand::ChangeRole { user, role, by, at: Utc::now() };
    let answer = app.execute::<Organization>(id, command, order).await?;
    app.auth().accounts.forget_membership(id, user).await;
    app.accesses().record(access).await?;
    Ok(answer)
}

/// Remove a member, or leave. A session that acts in the organisation ends with the membership.
#[utoipa::path(delete, path = "/api/organizations/{id}/members", tag = "organizations", operation_id = "removeMember",
    request_body = RemoveMember, responses((status = 200, body = CommandDone)))]
async fn remove(State(app): State<App>, Id(id): Id, request: CommandRequest<RemoveMember>) -> Answered {
    let (RemoveMember { user_id: user }, order) = request.into_parts();
    let by = order.caller.id();
    let access = Access::new(AccessAction::ChangeRoles, order.info()).by(by).concerning(user).to("organization", id);
    let (before, _) = app.commands().state::<Organization>(id).await?;
    let from = before.charter().and_then(|charter| charter.members.get(&user)).cloned();
    let command = OrganizationCommand::Remove { user, by, at: Utc::now() };
    let answer = app.execute::<Organization>(id, command, order).await?;
    app.auth().accounts.forget_membership(id, user).await;
    app.accesses().record(access.with(json!({ "from": from, "to": null }))).await?;
    Ok(answer)
}
