//! Sessions of browsers, by a cookie.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::account::{User, user};
use super::auth::Login;
use crate::answer::{QueryAnswer, json};
use crate::app::App;
use crate::auth::{Proof, cookies, log_in};
use crate::extract::{NoParameters, PublicRequest, QueryRequest};
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(begin, current, end))
}

/// Who is signed in, in a browser.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BrowserSession {
    user: User,
    /// For `X-CSRF-Token`, with whatever changes something.
    csrf_token: String,
}

/// Sign in with a cookie, which no script can read. The session that the browser had before ends.
#[utoipa::path(post, path = "/api/auth/browser-session", tag = "auth", operation_id = "beginBrowserSession",
    security(()), request_body = Login, responses((status = 200, body = BrowserSession)))]
async fn begin(State(app): State<App>, request: PublicRequest<Login>) -> Result<Response, Problem> {
    cookies::check_origin(&request.headers, app.origins())?;
    let former = cookies::session_of(app.vault(), &request.headers);
    let (Login { email, password, totp }, info) = request.into_parts();
    let account = log_in(&app, &email, Proof { password, totp }, &info).await?;
    let session = app.auth().sessions.begin(app.vault(), account, info.client.as_ref()).await?;
    if let Some(former) = former {
        app.auth().sessions.end(former).await?;
    }
    let mut response = json(&shown(&app, account, session.id).await?);
    response.headers_mut().insert(SET_COOKIE, cookies::cookie(app.vault(), session.id)?);
    Ok(response)
}

/// Who is signed in, and the token for what changes something.
#[utoipa::path(get, path = "/api/auth/browser-session", tag = "auth", operation_id = "getBrowserSession",
    responses((status = 200, body = BrowserSession)))]
async fn current(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<BrowserSession>, Problem> {
    let position = app.log_head(&request).await?;
    let session = request.caller.session()?;
    Ok(QueryAnswer::new(shown(&app, request.caller.id(), session).await?, position))
}

async fn shown(app: &App, account: Uuid, session: Uuid) -> Result<BrowserSession, Problem> {
    Ok(BrowserSession { user: user(app, account).await?, csrf_token: cookies::csrf_token(app.vault(), session) })
}

/// Sign out: the session ends, and the browser forgets its cookie.
#[utoipa::path(delete, path = "/api/auth/browser-session", tag = "auth", operation_id = "endBrowserSession",
    responses((status = 204, description = "The session has ended.")))]
async fn end(State(app): State<App>, request: QueryRequest<NoParameters>) -> Result<Response, Problem> {
    app.auth().sessions.end(request.caller.session()?).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookies::no_cookie())]).into_response())
}
