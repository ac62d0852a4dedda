//! Running the instance: what projections hold back.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::Action;
use domain::rejection::check_text;
use projections::{Failure, Release, ReleaseError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::projections::{Named, known, subject};
use crate::accesses::{Access, AccessAction};
use crate::answer::{QueryAnswer, json, mark_replayed};
use crate::app::App;
use crate::extract::{CommandRequest, Cursor, Id, NoBody, Order, Page, Paging, QueryRequest};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list_failures)).routes(routes!(retry)).routes(routes!(skip))
}

/// An event that a projection could not apply. It is held back, and with it all that came after it under the same key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FailureView {
    id: Uuid,
    aggregate_type: String,
    aggregate_id: Uuid,
    /// The event's number in the log.
    position: i64,
    event_type: String,
    /// Why it could not be applied.
    reason: String,
    failed_at: DateTime<Utc>,
    /// How often it was tried.
    attempts: i32,
    tried_at: DateTime<Utc>,
}

impl From<Failure> for FailureView {
    fn from(failure: Failure) -> Self {
        let Failure { id, aggregate_type, aggregate_id, position, event_type, .. } = failure;
        let Failure { reason, failed_at, attempts, tried_at, .. } = failure;
        Self { id, aggregate_type, aggregate_id, position, event_type, reason, failed_at, attempts, tried_at }
    }
}

/// What a projection could not apply, the oldest first.
#[utoipa::path(get, path = "/api/admin/projections/{name}/failures", tag = "admin", operation_id = "listFailures",
    params(("name" = String, Path, description = "The projection's name."), Paging),
    responses((status = 200, body = Page<FailureView>)))]
async fn list_failures(
    State(app): State<App>,
    Path(Named { name }): Path<Named>,
    request: QueryRequest<Paging>,
) -> Result<QueryAnswer<Page<FailureView>>, Problem> {
    request.caller.may(Action::ManageProjections)?;
    let name = known(&name)?;
    let Paging { limit, cursor } = &request.parameters;
    let cursors = Cursor::of(app.vault(), "failures", &name, request.caller.id());
    let after: Option<Uuid> = cursor.as_ref().map(|cursor| cursors.open(cursor)).transpose()?;
    let position = app.log_head(&request).await?;
    let mut failures = projections::failures(app.reads(), name, after, limit.0 + 1).await?;
    let more = failures.len() > limit.0 as usize;
    failures.truncate(limit.0 as usize);
    let next_cursor = failures.last().filter(|_| more).map(|last| cursors.seal(&last.id));
    let items = failures.into_iter().map(FailureView::from).collect();
    Ok(QueryAnswer::new(Page { items, next_cursor }, position))
}

/// What became of a failure.
#[derive(Serialize, ToSchema)]
struct Released {
    /// Whether nothing is held back any more.
    released: bool,
    /// What is held back now: the same event, or one after it.
    failure: Option<FailureView>,
}

/// Apply an event that failed once more, and all that is held back behind it.
#[utoipa::path(post, path = "/api/admin/projections/{name}/failures/{id}/retry", tag = "admin",
    operation_id = "retryFailure", params(("name" = String, Path, description = "The projection's name.")),
    responses((status = 200, body = Released)))]
async fn retry(
    State(app): State<App>,
    Id(id): Id,
    Path(Named { name }): Path<Named>,
    CommandRequest { order, .. }: CommandRequest<NoBody>,
) -> Result<Response, Problem> {
    release(&app, &name, id, Release::Retry, &order, json!({ "did": "retry" })).await
}

/// Why an event is left out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Skip {
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    reason: String,
}

/// Leave out an event that failed, and apply all that is held back behind it. The log keeps it, and a rebuild tries it
/// again.
#[utoipa::path(post, path = "/api/admin/projections/{name}/failures/{id}/skip", tag = "admin",
    operation_id = "skipFailure", params(("name" = String, Path, description = "The projection's name.")),
    request_body = Skip, responses((status = 200, body = Released)))]
async fn skip(
    State(app): State<App>,
    Id(id): Id,
    Path(Named { name }): Path<Named>,
    request: CommandRequest<Skip>,
) -> Result<Response, Problem> {
    let (Skip { reason }, order) = request.into_parts();
    order.caller.may(Action::ManageProjections)?;
    let mut errors = Vec::new();
    check_text(&mut errors, "/reason", &reason, 1, 5_000);
    if !errors.is_empty() {
        return Err(Problem::new(&codes::FAILURE_INVALID).with_errors(errors));
    }
    release(&app, &name, id, Release::Skip, &order, json!({ "did": "skip", "reason": reason })).await
}

async fn release(
    app: &App,
    name: &str,
    id: Uuid,
    how: Release,
    order: &Order,
    mut detail: serde_json::Value,
) -> Result<Response, Problem> {
    order.caller.may(Action::ManageProjections)?;
    let name = known(name)?;
    if app.repeated(order).await?.is_some() {
        let mut response = json(&Released { released: true, failure: None }).into_response();
        mark_replayed(response.headers_mut());
        return Ok(response);
    }
    let failure = projections::release(name, id, how, app.store(), app.database()).await?;
    detail["projection"] = name.into();
    detail["failure"] = id.to_string().into();
    let access = Access::new(AccessAction::Operate, order.info()).by(order.caller.id());
    app.accesses().record(access.with(detail)).await?;
    app.remember(order, subject(name), StatusCode::OK.as_u16()).await?;
    Ok(json(&Released { released: failure.is_none(), failure: failure.map(FailureView::from) }))
}

impl From<ReleaseError> for Problem {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Unknown => Self::new(&codes::FAILURE_NOT_FOUND),
            ReleaseError::Projection(error) => {
                tracing::error!(%error, "what a projection holds back could not be released");
                Self::new(&codes::STORE_UNAVAILABLE).with_retry_after(1)
            }
        }
    }
}
