//! Signing up, in and out.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::access::DEFAULT_ORGANIZATION;
use domain::account::Locale;
use domain::{Actor, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::account::{Language, User, user};
use crate::answer::json;
use crate::app::App;
use crate::auth::{
    ADDRESS, Caller, LIFETIME, Registration, Session, address_hash, is_password_too_long, register as open_account,
};
use crate::extract::PublicRequest;
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
}

/// Who wants an account.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Register {
    email: String,
    /// 8 characters at least, 256 bytes at most.
    password: String,
    /// 1 to 200 characters.
    name: String,
    /// French when it is not given.
    #[schema(value_type = Option<Language>)]
    locale: Option<Locale>,
}

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Login {
    email: String,
    password: String,
    /// Reserved for the second factor, which no account has yet.
    #[serde(rename = "totp")]
    _totp: Option<String>,
}

/// Who goes on.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

/// What a caller signs in with.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SignedIn {
    user: User,
    /// For `Authorization: Bearer`.
    token: String,
    /// Good once, within 30 days of signing in.
    refresh_token: String,
    /// How long the token is good, in seconds.
    expires_in: u32,
}

/// Open an account, and sign in.
#[utoipa::path(post, path = "/api/auth/register", tag = "auth", operation_id = "register", security(()),
    request_body = Register, responses((status = 201, body = SignedIn)))]
async fn register(State(app): State<App>, request: PublicRequest<Register>) -> Result<Response, Problem> {
    let id = Uuid::now_v7();
    let roles = [Role::Applicant].into_iter().collect();
    let context = request.context(Actor { id, roles, organization: DEFAULT_ORGANIZATION });
    let Register { email, password, name, locale } = request.body;
    let registration = Registration { email, password, name, locale, first_admin: false };
    let done = open_account(&app, id, registration, context).await?;
    let session = app.auth().sessions.begin(app.vault(), id).await?;
    let mut response = (StatusCode::CREATED, signed_in(&app, session).await?).into_response();
    crate::answer::mark(response.headers_mut(), done.version, done.position);
    Ok(response)
}

/// Sign in.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", operation_id = "login", security(()),
    request_body = Login, responses((status = 200, body = SignedIn)))]
async fn login(State(app): State<App>, request: PublicRequest<Login>) -> Result<Response, Problem> {
    let Login { email, password, .. } = request.body;
    let wrong = || Problem::new(&codes::AUTH_INVALID_CREDENTIALS);
    if is_password_too_long(&password) {
        return Err(wrong());
    }
    let account = app.store().claim_owner(ADDRESS, &address_hash(app.vault(), &email)).await?;
    // Whether or not there is one, the same questions are asked.
    let hash = app.auth().password_hash(account.unwrap_or_default()).await?;
    let right = app.auth().passwords.verify(password, hash).await?;
    let account = account.filter(|_| right).ok_or_else(wrong)?;
    if !app.auth().standing(account).await?.active {
        return Err(Problem::new(&codes::ACCOUNT_SUSPENDED));
    }
    let session = app.auth().sessions.begin(app.vault(), account).await?;
    signed_in(&app, session).await
}

/// Go on with a session: the refresh token is spent, and comes with a successor.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth", operation_id = "refresh", security(()),
    request_body = Refresh, responses((status = 200, body = SignedIn)))]
async fn refresh(State(app): State<App>, request: PublicRequest<Refresh>) -> Result<Response, Problem> {
    let refused = || Problem::new(&codes::AUTH_INVALID_REFRESH_TOKEN);
    let session = app.auth().sessions.refresh(app.vault(), &request.body.refresh_token).await?;
    let session = session.ok_or_else(refused)?;
    if !app.auth().standing(session.account).await?.active {
        return Err(refused());
    }
    signed_in(&app, session).await
}

/// End the session.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", operation_id = "logout",
    responses((status = 204, description = "The session has ended.")))]
async fn logout(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    app.auth().sessions.end(caller.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn signed_in(app: &App, session: Session) -> Result<Response, Problem> {
    let user = user(app, session.account).await?;
    let token = app.auth().tokens.issue(session.account, session.id).map_err(|error| {
        tracing::error!(%error, "a token could not be signed");
        Problem::new(&codes::INTERNAL)
    })?;
    Ok(json(&SignedIn { user, token, refresh_token: session.refresh_token, expires_in: LIFETIME }))
}
