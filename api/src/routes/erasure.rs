//! The right to be forgotten: by one's own wish, or by that of two admins.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::Action;
use domain::account::{Account, AccountCommand};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{Answered, CommandDone, QueryAnswer};
use crate::app::App;
use crate::erasure;
use crate::error::not_found;
use crate::extract::{CommandRequest, Id, NoBody, NoParameters, QueryRequest};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(erase)).routes(routes!(show, request, withdraw)).routes(routes!(approve))
}

/// Forget the caller, for ever: what is personal becomes unreadable everywhere, all sessions end, and the address is
/// free again. The log-in must be less than ten minutes old.
#[utoipa::path(delete, path = "/api/users/me", tag = "users", operation_id = "eraseMe",
    responses((status = 200, body = CommandDone)))]
async fn erase(State(app): State<App>, request: CommandRequest<NoBody>) -> Answered {
    let id = request.order.caller.id();
    erasure::erase(&app, id, None, request.order).await
}

/// A request that somebody be forgotten, which another admin has to agree to within seven days.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ErasureRequest {
    /// The admin who asked for it.
    requested_by: Uuid,
    requested_at: DateTime<Utc>,
}

/// Who asked that this account be forgotten.
#[utoipa::path(get, path = "/api/admin/users/{id}/erasure", tag = "admin", operation_id = "getErasureRequest",
    responses((status = 200, body = ErasureRequest)))]
async fn show(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<ErasureRequest>, Problem> {
    request.caller.may(Action::ManageUsers)?;
    let position = app.log_head(&request).await?;
    let (account, version) = app.commands().state::<Account>(id).await?;
    if account == Account::Absent || account.is_erased() {
        return Err(not_found::<Account>());
    }
    let (requested_by, requested_at) =
        account.erasure_request().ok_or_else(|| Problem::new(&codes::ERASURE_NOT_REQUESTED).with_status(404))?;
    Ok(QueryAnswer::of_one(ErasureRequest { requested_by, requested_at }, position, Some(version)))
}

/// Why somebody is to be forgotten.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestErasure {
    /// 1 to 5,000 characters.
    reason: String,
}

/// Ask that an account be forgotten: another admin has to agree. The log-in must be less than ten minutes old.
#[utoipa::path(post, path = "/api/admin/users/{id}/erasure", tag = "admin", operation_id = "requestErasure",
    request_body = RequestErasure, responses((status = 200, body = CommandDone)))]
async fn request(State(app): State<App>, Id(id): Id, request: CommandRequest<RequestErasure>) -> Answered {
    let (RequestErasure { reason }, order) = request.into_parts();
    order.caller.proved_lately(&app).await?;
    let by = order.caller.id();
    app.execute::<Account>(id, AccountCommand::RequestErasure { reason, by, at: Utc::now() }, order).await
}

/// Take a request back that an account be forgotten.
#[utoipa::path(delete, path = "/api/admin/users/{id}/erasure", tag = "admin", operation_id = "withdrawErasure",
    responses((status = 200, body = CommandDone)))]
async fn withdraw(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let by = request.order.caller.id();
    app.execute::<Account>(id, AccountCommand::WithdrawErasure { by, at: Utc::now() }, request.order).await
}

/// Agree, as another admin than the first, that an account be forgotten, for ever. The log-in must be less than ten
/// minutes old.
#[utoipa::path(post, path = "/api/admin/users/{id}/erasure/approve", tag = "admin", operation_id = "approveErasure",
    responses((status = 200, body = CommandDone)))]
async fn approve(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    request.order.caller.may(Action::ManageUsers)?;
    let by = request.order.caller.id();
    erasure::erase(&app, id, Some(by), request.order).await
}
