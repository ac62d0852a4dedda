//! The right to one's own data.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::export::export;
use crate::extract::{CommandRequest, NoBody};
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(take_out))
}

/// All that is held about the caller, as JSON files in a ZIP. The log-in must be less than ten minutes old.
#[utoipa::path(post, path = "/api/users/me/export", tag = "users", operation_id = "exportMe",
    responses((status = 200, content_type = "application/zip", body = Vec<u8>)))]
async fn take_out(State(app): State<App>, request: CommandRequest<NoBody>) -> Result<Response, Problem> {
    let mut response = export(&app, &request.order).await?.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"capitune.zip\""));
    Ok(response)
}
