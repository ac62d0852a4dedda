//! Logging in at another provider, linking and unlinking.

use axum::extract::{Path, State};
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::auth::{SignedIn, signed_in};
use crate::accesses::{Access, AccessAction};
use crate::answer::{QueryAnswer, json};
use crate::app::App;
use crate::auth::oidc::{Flow, Identity, Profile, Returned};
use crate::auth::open_verified_account;
use crate::extract::{CommandRequest, Id, NoBody, NoParameters, Page, PublicQuery, QueryRequest};
use crate::problem::{Problem, codes};

/// Sent back when the provider sends the browser back, and to nothing else.
const COOKIE_NAME: &str = "__Secure-capitune-oidc";

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(start))
        .routes(routes!(callback))
        .routes(routes!(link))
        .routes(routes!(identities))
        .routes(routes!(unlink))
}

/// Log in at a provider: the browser is sent there, and comes back to `callback`.
#[utoipa::path(get, path = "/api/auth/oidc/{provider}/start", tag = "auth", operation_id = "startOidc", security(()),
    params(("provider" = String, Path, description = "As it is configured.")),
    responses((status = 303, description = "To the provider.")))]
async fn start(
    State(app): State<App>,
    Path(provider): Path<String>,
    _: PublicQuery<NoParameters>,
) -> Result<Response, Problem> {
    let Flow { url, state } = app.auth().oidc.begin(app.vault(), &provider, None).await?;
    let location = HeaderValue::from_str(&url).map_err(|_| Problem::new(&codes::INTERNAL))?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location), (SET_COOKIE, cookie(&state)?)]).into_response())
}

/// The browser keeps the flow's secret: a link that somebody else made ends nowhere.
fn cookie(state: &str) -> Result<HeaderValue, Problem> {
    let cookie = format!("{COOKIE_NAME}={state}; Max-Age=600; Path=/api/auth/oidc; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::from_str(&cookie).map_err(|_| Problem::new(&codes::INTERNAL))
}

fn state_of(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

/// What a provider sends a browser back with.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Callback {
    /// What the tokens are fetched by.
    code: Option<String>,
    /// The flow's secret.
    state: Option<String>,
    /// Why there is no code.
    #[serde(rename = "error")]
    _error: Option<String>,
    /// The provider's name (RFC 9207).
    iss: Option<String>,
}

/// Come back from a provider: signed in, with a new account when there was none, or linked when that was asked for.
#[utoipa::path(get, path = "/api/auth/oidc/{provider}/callback", tag = "auth", operation_id = "endOidc", security(()),
    params(("provider" = String, Path, description = "As it is configured."), Callback),
    responses((status = 200, body = SignedIn)))]
async fn callback(
    State(app): State<App>,
    Path(provider): Path<String>,
    request: PublicQuery<Callback>,
) -> Result<Response, Problem> {
    let Callback { code, state, iss, .. } = &request.parameters;
    let refused = || Problem::new(&codes::OIDC_FAILED);
    let (code, shown) = code.as_deref().zip(state.as_deref()).ok_or_else(refused)?;
    let (auth, vault) = (app.auth(), app.vault());
    let kept = state_of(&request.headers);
    let returned = auth.oidc.end(vault, &provider, kept, shown, code, iss.as_deref()).await?;
    let Returned { profile, account } = returned;
    let identities = &auth.oidc.identities;
    let known = identities.account(vault, &profile.subject).await?;
    let account = match (account, known) {
        (Some(asked), _) => match identities.link(vault, asked, &provider, &profile.subject).await? {
            true => asked,
            false => return Err(Problem::new(&codes::IDENTITY_TAKEN)),
        },
        (None, Some(known)) => known,
        (None, None) => open_account(&app, &provider, profile, &request).await?,
    };
    if !auth.standing(account).await?.active {
        return Err(Problem::new(&codes::ACCOUNT_SUSPENDED));
    }
    let access = Access::new(AccessAction::LogIn, request.info()).by(account);
    app.accesses().record(access.with(serde_json::json!({ "provider": provider }))).await?;
    let session = auth.sessions.begin(vault, account, request.info().client.as_ref()).await?;
    signed_in(&app, session).await
}

/// Only an address that the provider has verified opens an account, and never one that has an account already: whose
/// that is has to be proved by linking it.
async fn open_account(
    app: &App,
    provider: &str,
    profile: Profile,
    request: &PublicQuery<Callback>,
) -> Result<Uuid, Problem> {
    let Profile { subject, email, name } = profile;
    let email = email.ok_or_else(|| Problem::new(&codes::IDENTITY_UNVERIFIED))?;
    let name = name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| email.clone());
    let id = open_verified_account(app, email, name, |actor| request.context(actor)).await?;
    app.auth().oidc.identities.link(app.vault(), id, provider, &subject).await?;
    Ok(id)
}

/// Where to go on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Linking {
    /// The provider's address, for the browser that asked.
    url: String,
}

/// Link one's account with a provider: the browser goes to the address in the answer. The log-in must be less than ten
/// minutes old.
#[utoipa::path(post, path = "/api/auth/oidc/{provider}/link", tag = "auth", operation_id = "linkIdentity",
    params(("provider" = String, Path, description = "As it is configured.")),
    responses((status = 200, body = Linking)))]
async fn link(
    State(app): State<App>,
    Path(provider): Path<String>,
    request: CommandRequest<NoBody>,
) -> Result<Response, Problem> {
    let caller = request.order.caller;
    caller.proved_lately(&app).await?;
    let Flow { url, state } = app.auth().oidc.begin(app.vault(), &provider, Some(caller.id())).await?;
    let mut response = json(&Linking { url });
    response.headers_mut().insert(SET_COOKIE, cookie(&state)?);
    Ok(response)
}

/// Who one is at a provider.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Identity)]
struct IdentityView {
    id: Uuid,
    provider: String,
    created_at: DateTime<Utc>,
}

/// The providers that the caller's account is linked with.
#[utoipa::path(get, path = "/api/auth/identities", tag = "auth", operation_id = "listIdentities",
    responses((status = 200, body = Page<IdentityView>)))]
async fn identities(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<IdentityView>>, Problem> {
    let position = app.log_head(&request).await?;
    let identities = app.auth().oidc.identities.of(request.caller.id()).await?;
    let view = |Identity { id, provider, created_at }| IdentityView { id, provider, created_at };
    let items = identities.into_iter().map(view).collect();
    Ok(QueryAnswer::new(Page { items, next_cursor: None }, position))
}

/// Unlink a provider, unless it is the only way in. The log-in must be less than ten minutes old.
#[utoipa::path(delete, path = "/api/auth/identities/{id}", tag = "auth", operation_id = "unlinkIdentity",
    responses((status = 204, description = "The provider is unlinked.")))]
async fn unlink(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<StatusCode, Problem> {
    let caller = request.caller;
    caller.proved_lately(&app).await?;
    let identities = &app.auth().oidc.identities;
    if identities.unlink(caller.id(), id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let there = identities.of(caller.id()).await?.iter().any(|identity| identity.id == id);
    Err(Problem::new(if there { &codes::IDENTITY_LAST } else { &codes::IDENTITY_NOT_FOUND }))
}
