//! Running the instance: users.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::account::{Account, AccountCommand};
use domain::{Action, Roles};
use projections::Scope;
use projections::account::{AccountCursor, AccountRow};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::account::{Language, PROJECTION, RoleName, UserStatus, stream};
use crate::accesses::{Access, AccessAction};
use crate::answer::{Answered, CommandDone, QueryAnswer};
use crate::app::App;
use crate::extract::{CommandRequest, Cursor, Id, Page, Paging, QueryRequest};
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(users)).routes(routes!(set_status)).routes(routes!(set_roles))
}

/// An account, as an admin sees it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code)] // describes the read model's row, which knows no OpenAPI
struct ManagedUser {
    id: Uuid,
    organization_id: Uuid,
    email: Option<String>,
    name: Option<String>,
    locale: Language,
    roles: Vec<RoleName>,
    status: ManagedStatus,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// How an account stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code)] // describes the read model's own type
enum ManagedStatus {
    Active,
    Suspended,
    Erased,
}

/// Every account, the newest first.
#[utoipa::path(get, path = "/api/admin/users", tag = "admin", operation_id = "listUsers",
    params(Paging), responses((status = 200, body = Page<ManagedUser>)))]
async fn users(
    State(app): State<App>,
    request: QueryRequest<Paging>,
) -> Result<QueryAnswer<Page<Box<RawValue>>>, Problem> {
    request.caller.may(Action::ManageUsers)?;
    let Paging { limit, cursor } = &request.parameters;
    let cursors = Cursor::of(app.vault(), "users", &(), request.caller.id());
    let after = cursor.as_ref().map(|cursor| cursors.open::<AccountCursor>(cursor)).transpose()?;
    let models = app.models(&request.caller.actor);
    let query = || projections::account::list(&models, after, limit.0);
    let (page, reached) = app.read(PROJECTION, Scope::All, &request, query).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    let items = show(&app, page.items).await?;
    Ok(QueryAnswer::new(Page { items, next_cursor }, reached))
}

async fn show(app: &App, rows: Vec<AccountRow>) -> Result<Vec<Box<RawValue>>, Problem> {
    let documents: Vec<_> = rows.iter().map(|row| (stream(row.id), row)).collect();
    Ok(app.vault().reveal(&documents).await?)
}

/// Whether an account may come in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetStatus {
    status: UserStatus,
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    reason: String,
}

/// Shut an account out, or let it in again.
#[utoipa::path(put, path = "/api/admin/users/{id}/status", tag = "admin", operation_id = "setUserStatus",
    request_body = SetStatus, responses((status = 200, body = CommandDone)))]
async fn set_status(State(app): State<App>, Id(id): Id, request: CommandRequest<SetStatus>) -> Answered {
    let (SetStatus { status, reason }, order) = request.into_parts();
    let (by, at) = (order.caller.id(), Utc::now());
    let access = Access::new(AccessAction::ChangeStatus, order.info()).by(by).concerning(id);
    let command = match status {
        UserStatus::Active => AccountCommand::Reactivate { reason, by, at },
        UserStatus::Suspended => AccountCommand::Suspend { reason, by, at },
    };
    let answer = app.execute::<Account>(id, command, order).await?;
    app.auth().accounts.forget(id).await;
    if status == UserStatus::Suspended {
        app.auth().sessions.end_all(id).await?;
    }
    app.accesses().record(access.with(json!({ "to": status }))).await?;
    Ok(answer)
}

/// What an account may be.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetRoles {
    /// All of them; `applicant` always stays.
    #[schema(value_type = Vec<RoleName>)]
    roles: Roles,
}

/// Set the roles of an account.
#[utoipa::path(put, path = "/api/admin/users/{id}/roles", tag = "admin", operation_id = "setUserRoles",
    request_body = SetRoles, responses((status = 200, body = CommandDone)))]
async fn set_roles(State(app): State<App>, Id(id): Id, request: CommandRequest<SetRoles>) -> Answered {
    let (SetRoles { roles }, order) = request.into_parts();
    let by = order.caller.id();
    let access = Access::new(AccessAction::ChangeRoles, order.info()).by(by).concerning(id);
    let from = app.auth().standing(id).await?.roles;
    let command = AccountCommand::ChangeRoles { roles, by, at: Utc::now() };
    let answer = app.execute::<Account>(id, command, order).await?;
    app.auth().accounts.forget(id).await;
    app.accesses().record(access.with(json!({ "from": from, "to": roles }))).await?;
    Ok(answer)
}
