//! Running the instance: users and projections.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::account::{Account, AccountCommand};
use domain::{Action, Roles};
use event_store::StreamId;
use projections::account::{AccountCursor, AccountRow};
use projections::{ProjectionStatus, Scope};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::account::{Language, PROJECTION, RoleName, UserStatus, stream};
use crate::accesses::{Access, AccessAction};
use crate::answer::{Answered, CommandDone, QueryAnswer, json, mark_replayed};
use crate::app::App;
use crate::extract::{CommandRequest, Cursor, Id, Limit, NoBody, NoParameters, Page, QueryRequest};
use crate::jobs::{Rebuild, RebuildStatus};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(users))
        .routes(routes!(set_status))
        .routes(routes!(set_roles))
        .routes(routes!(list_projections))
        .routes(routes!(rebuild))
}

/// Which page to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// Items on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
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
    let (page, position) = app.read(PROJECTION, Scope::All, &request, query).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    let items = show(&app, page.items).await?;
    Ok(QueryAnswer::new(Page { items, next_cursor }, position))
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

/// A projection, and its last rebuild that this process was asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProjectionItem {
    #[serde(flatten)]
    #[schema(inline)]
    status: ProjectionView,
    rebuild: Option<Rebuild>,
}

/// How a projection is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProjectionView {
    name: String,
    /// The version of its rows.
    version: i32,
    /// The lowest position of its partitions.
    position: i64,
    /// The log's last position.
    head: i64,
    /// How many events it is behind.
    lag: i64,
    /// `running`, or `failed` when one of its partitions has stopped.
    status: String,
    /// How many of its partitions have stopped.
    failed: i64,
    /// Why the first of them stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl From<ProjectionStatus> for ProjectionView {
    fn from(status: ProjectionStatus) -> Self {
        let ProjectionStatus { name, version, position, head, lag, status, failed, failure } = status;
        Self { name, version, position, head, lag, status, failed, failure }
    }
}

/// How every projection is.
#[utoipa::path(get, path = "/api/admin/projections", tag = "admin", operation_id = "listProjections",
    responses((status = 200, body = Page<ProjectionItem>)))]
async fn list_projections(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<ProjectionItem>>, Problem> {
    request.caller.may(Action::ManageProjections)?;
    let position = app.log_head(&request).await?;
    let projections = projections::status(app.reads()).await?;
    let item = |status: ProjectionStatus| {
        let rebuild = app.jobs().rebuild(&status.name);
        ProjectionItem { status: status.into(), rebuild }
    };
    let items = projections.into_iter().map(item).collect();
    Ok(QueryAnswer::new(Page { items, next_cursor: None }, position))
}

/// Rebuild a projection from the log, while its old rows go on being read.
#[utoipa::path(post, path = "/api/admin/projections/{name}/rebuild", tag = "admin", operation_id = "rebuildProjection",
    params(("name" = String, Path, description = "The projection's name.")),
    responses((status = 202, body = Rebuild)))]
async fn rebuild(
    State(app): State<App>,
    name: Path<String>,
    request: CommandRequest<NoBody>,
) -> Result<Response, Problem> {
    request.order.caller.may(Action::ManageProjections)?;
    if !projections::NAMES.contains(&name.as_str()) {
        return Err(Problem::new(&codes::PROJECTION_NOT_FOUND));
    }
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    let subject = StreamId { aggregate_type: "projection", id };
    let replayed = app.remember(&request.order, subject, StatusCode::ACCEPTED.as_u16()).await?;
    if !replayed {
        app.jobs().start_rebuild(&name);
    }
    let started = Rebuild { status: RebuildStatus::Running, done: 0, total: 0 };
    let mut response = (StatusCode::ACCEPTED, json(&started)).into_response();
    if replayed {
        mark_replayed(response.headers_mut());
    }
    Ok(response)
}
