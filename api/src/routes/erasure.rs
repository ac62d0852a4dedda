//! The right to be forgotten.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::{Answered, CommandDone};
use crate::app::App;
use crate::erasure;
use crate::extract::{CommandRequest, NoBody};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(erase))
}

/// Forget the caller, for ever: what is personal becomes unreadable everywhere, all sessions end, and the address is
/// free again. The log-in must be less than ten minutes old.
#[utoipa::path(delete, path = "/api/users/me", tag = "users", operation_id = "eraseMe",
    responses((status = 200, body = CommandDone)))]
async fn erase(State(app): State<App>, request: CommandRequest<NoBody>) -> Answered {
    erasure::erase(&app, request.order).await
}
