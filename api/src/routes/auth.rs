//! Signing up, in and out.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use commands::Context;
use domain::access::DEFAULT_ORGANIZATION;
use domain::account::{AccountCommand, Locale};
use domain::{Actor, Role};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::account::{Language, User, user};
use super::verification::in_the_background;
use crate::answer::{QueryAnswer, json};
use crate::app::App;
use crate::auth::{
    ActiveSession, Credential, LIFETIME, Proof, Registration, Session, log_in, prove_again, register as open_account,
};
use crate::extract::{CommandRequest, Id, NoParameters, Page, PublicRequest, QueryRequest};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(step_up))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(sessions))
        .routes(routes!(end_session))
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
pub struct Login {
    pub(super) email: String,
    pub(super) password: String,
    /// A code of the second factor where there is one, or a recovery code.
    pub(super) totp: Option<String>,
}

/// Who proves again who they are.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StepUp {
    password: String,
    /// A code of the second factor where there is one, or a recovery code.
    totp: Option<String>,
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
pub(super) struct SignedIn {
    user: User,
    /// For `Authorization: Bearer`.
    token: String,
    /// Good once, within 30 days of signing in.
    refresh_token: String,
    /// How long the token is good, in seconds.
    expires_in: u32,
}

/// Open an account, and sign in. Where verified addresses are required, the answer tells nothing about the address, and
/// signing in comes after the verification.
#[utoipa::path(post, path = "/api/auth/register", tag = "auth", operation_id = "register", security(()),
    request_body = Register, responses((status = 201, body = SignedIn),
        (status = 202, description = "A message is on its way to the address.")))]
async fn register(State(app): State<App>, request: PublicRequest<Register>) -> Result<Response, Problem> {
    let id = Uuid::now_v7();
    let roles = [Role::Applicant].into_iter().collect();
    let client = request.info().client.clone();
    let context = request.context(Actor::new(id, roles, DEFAULT_ORGANIZATION));
    let Register { email, password, name, locale } = request.body;
    let registration = Registration { email, password: Some(password), name, locale, first_admin: false };
    if app.requires_verified_email() {
        registration.check()?;
        open_in_the_background(app, id, registration, context);
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let done = open_account(&app, id, registration, context).await?;
    let session = app.auth().sessions.begin(app.vault(), id, client.as_ref()).await?;
    let mut response = (StatusCode::CREATED, signed_in(&app, session).await?).into_response();
    crate::answer::mark(response.headers_mut(), done.version, done.position);
    Ok(response)
}

/// Opens an account, or tells the owner of its address that somebody tried to. Nobody waits for it, so that no answer
/// and no time tells which.
fn open_in_the_background(app: App, id: Uuid, registration: Registration, context: Context) {
    tokio::spawn(async move {
        let email = registration.email.clone();
        match open_account(&app, id, registration, context.clone()).await {
            Ok(_) => {}
            Err(problem) if *problem.code() == codes::ACCOUNT_ADDRESS_TAKEN => {
                in_the_background(app, email, AccountCommand::NoteAddressReuse { at: Utc::now() }, context);
            }
            Err(problem) => tracing::warn!(%problem, "an account could not be opened"),
        }
    });
}

/// Sign in.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", operation_id = "login", security(()),
    request_body = Login, responses((status = 200, body = SignedIn)))]
async fn login(State(app): State<App>, request: PublicRequest<Login>) -> Result<Response, Problem> {
    let (Login { email, password, totp }, info) = request.into_parts();
    let account = log_in(&app, &email, Proof { password, totp }, &info).await?;
    let session = app.auth().sessions.begin(app.vault(), account, info.client.as_ref()).await?;
    signed_in(&app, session).await
}

/// Prove again who one is, for what is sensitive: a new session takes the place of the one that asks.
#[utoipa::path(post, path = "/api/auth/step-up", tag = "auth", operation_id = "stepUp",
    request_body = StepUp, responses((status = 200, body = SignedIn)))]
async fn step_up(State(app): State<App>, request: CommandRequest<StepUp>) -> Result<Response, Problem> {
    let (StepUp { password, totp }, order) = request.into_parts();
    let (account, former) = (order.caller.id(), order.caller.session()?);
    prove_again(&app, account, Proof { password, totp }, order.info()).await?;
    let (organization, client) = (Some(order.caller.actor.organization), order.info().client.as_ref());
    let session = app.auth().sessions.begin_in(app.vault(), account, organization, client).await?;
    app.auth().sessions.end(former).await?;
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

/// Which sessions to end.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LogOut {
    /// Also all others of the account.
    #[serde(default)]
    everywhere: bool,
}

/// End the session, or all of the account.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", operation_id = "logout", params(LogOut),
    responses((status = 204, description = "The session has ended.")))]
async fn logout(State(app): State<App>, request: QueryRequest<LogOut>) -> Result<StatusCode, Problem> {
    match request.parameters.everywhere {
        true => app.auth().sessions.end_all(request.caller.id()).await?,
        false => app.auth().sessions.end(request.caller.session()?).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A log-in that goes on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
struct SessionView {
    id: Uuid,
    /// The user agent that began it.
    device: Option<String>,
    /// The address that it was begun from.
    address: Option<String>,
    created_at: DateTime<Utc>,
    /// To the minute.
    last_used_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Whether it is the one that asks.
    current: bool,
}

/// The caller's sessions, the newest first.
#[utoipa::path(get, path = "/api/auth/sessions", tag = "auth", operation_id = "listSessions",
    responses((status = 200, body = Page<SessionView>)))]
async fn sessions(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<SessionView>>, Problem> {
    let position = app.log_head(&request).await?;
    let caller = request.caller;
    let view = |ActiveSession { id, client, created_at, last_used_at, expires_at }| {
        let (address, device) = client.map_or((None, None), |client| (Some(client.address), client.user_agent));
        SessionView {
            id,
            device,
            address,
            created_at,
            last_used_at,
            expires_at,
            current: caller.credential == Credential::Session(id),
        }
    };
    let items = app.auth().sessions.of(app.vault(), caller.id()).await?.into_iter().map(view).collect();
    Ok(QueryAnswer::new(Page { items, next_cursor: None }, position))
}

/// End one of the caller's sessions.
#[utoipa::path(delete, path = "/api/auth/sessions/{id}", tag = "auth", operation_id = "endSession",
    responses((status = 204, description = "The session has ended.")))]
async fn end_session(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<StatusCode, Problem> {
    match app.auth().sessions.end_one_of(request.caller.id(), id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(&codes::SESSION_NOT_FOUND)),
    }
}

pub(super) async fn signed_in(app: &App, session: Session) -> Result<Response, Problem> {
    let user = user(app, session.account).await?;
    let token = app.auth().tokens.issue(session.account, session.id).map_err(|error| {
        tracing::error!(%error, "a token could not be signed");
        Problem::new(&codes::INTERNAL)
    })?;
    Ok(json(&SignedIn { user, token, refresh_token: session.refresh_token, expires_in: LIFETIME }))
}
