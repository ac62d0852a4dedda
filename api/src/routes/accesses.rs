//! Who got in, was refused, read or took out what: for auditors, and for the person concerned.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::Action;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::accesses::{Access, AccessAction, AccessCursor, AccessFilter, RecordedAccess, list};
use crate::answer::QueryAnswer;
use crate::app::App;
use crate::extract::{Cursor, Limit, Page, Paging, QueryRequest, time};
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(all)).routes(routes!(mine))
}

/// Which accesses to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AccessesQuery {
    /// Concerning this account.
    account: Option<Uuid>,
    /// By this account.
    actor: Option<Uuid>,
    /// To this resource, by its id.
    resource: Option<Uuid>,
    /// Of this kind.
    #[param(inline)]
    action: Option<AccessAction>,
    /// At or after this time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    from: Option<DateTime<Utc>>,
    /// Before this time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    to: Option<DateTime<Utc>>,
    /// Items on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Every access, the newest first. Reading this is an access as well.
#[utoipa::path(get, path = "/api/audit/accesses", tag = "audit", operation_id = "listAccesses",
    params(AccessesQuery), responses((status = 200, body = Page<RecordedAccess>)))]
async fn all(
    State(app): State<App>,
    request: QueryRequest<AccessesQuery>,
) -> Result<QueryAnswer<Page<RecordedAccess>>, Problem> {
    request.caller.may(Action::ReadLog)?;
    let read = Access::new(AccessAction::Read, &request.info).by(request.caller.id());
    app.accesses().record(read.with(serde_json::json!({ "of": "accesses" }))).await?;
    let AccessesQuery { account, actor, resource, action, from, to, limit, cursor } = &request.parameters;
    let (account, actor, resource, action) = (*account, *actor, *resource, *action);
    let filter = AccessFilter { account, actor, resource, action, from: *from, to: *to };
    page(&app, &request, filter, cursor.as_deref(), *limit).await
}

/// What concerns the caller, the newest first.
#[utoipa::path(get, path = "/api/users/me/accesses", tag = "users", operation_id = "listMyAccesses",
    params(Paging), responses((status = 200, body = Page<RecordedAccess>)))]
async fn mine(
    State(app): State<App>,
    request: QueryRequest<Paging>,
) -> Result<QueryAnswer<Page<RecordedAccess>>, Problem> {
    let filter = AccessFilter { account: Some(request.caller.id()), ..AccessFilter::default() };
    let Paging { limit, cursor } = &request.parameters;
    let mut answer = page(&app, &request, filter, cursor.as_deref(), *limit).await?;
    // From where others act is theirs to know.
    answer.body.items.iter_mut().for_each(|access| access.hide_from(request.caller.id()));
    Ok(answer)
}

async fn page<R>(
    app: &App,
    request: &QueryRequest<R>,
    filter: AccessFilter,
    cursor: Option<&str>,
    limit: Limit,
) -> Result<QueryAnswer<Page<RecordedAccess>>, Problem> {
    let cursors = Cursor::of(app.vault(), "accesses", &filter, request.caller.id());
    let after = cursor.map(|cursor| cursors.open::<AccessCursor>(cursor)).transpose()?;
    let position = app.log_head(request).await?;
    let mut items = list(app.reads(), app.vault(), &filter, after, limit.0 + 1).await?;
    let more = items.len() > limit.0 as usize;
    items.truncate(limit.0 as usize);
    let last = items.last().filter(|_| more);
    let next_cursor = last.map(|access| cursors.seal(&AccessCursor(access.id)));
    Ok(QueryAnswer::new(Page { items, next_cursor }, position))
}
