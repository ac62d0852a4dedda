//! The caller of a request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use domain::{Action, Actor, Denial, Resource, Role, can};
use event_store::StoreError;
use tokio::time::timeout;
use uuid::Uuid;

use super::api_tokens::{self, Bearer};
use super::cookies;
use super::scope::Scope;
use super::sessions::Live;
use crate::app::App;
use crate::metadata::RequestInfo;
use crate::problem::{Problem, codes};

/// How long it may take to find out who calls.
const PATIENCE: Duration = Duration::from_secs(5);

/// An account that has proved by a token who it is.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The account, with the roles it has now.
    pub actor: Actor,
    /// What it proved that by.
    pub credential: Credential,
}

/// What a caller shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// An access token of this session.
    Session(Uuid),
    /// This token for programs.
    ApiToken(Uuid),
}

impl Caller {
    /// The account's id.
    pub fn id(&self) -> Uuid {
        self.actor.id
    }

    /// The session that the caller is signed in by.
    ///
    /// # Errors
    /// A 403 for a program with a token of its own.
    pub fn session(&self) -> Result<Uuid, Problem> {
        match self.credential {
            Credential::Session(session) => Ok(session),
            Credential::ApiToken(_) => Err(Problem::new(&codes::AUTH_SCOPE_MISSING)),
        }
    }

    /// Makes sure that the caller has proved lately who they are.
    ///
    /// # Errors
    /// A 403 when that was more than ten minutes ago, a 503 when the database does not answer.
    pub async fn proved_lately(&self, app: &App) -> Result<(), Problem> {
        match app.auth().sessions.is_fresh(self.session()?).await? {
            true => Ok(()),
            false => Err(Problem::new(&codes::AUTH_STEP_UP_REQUIRED)),
        }
    }

    /// The role under which the caller may do `action` to the instance itself.
    ///
    /// # Errors
    /// A 403 when it has none.
    pub fn may(&self, action: Action) -> Result<Role, Problem> {
        self.can(action, &Resource::Instance).map_err(|_| Problem::new(&codes::ACCESS_FORBIDDEN))
    }

    /// The role under which the caller may do `action` to `resource`.
    ///
    /// # Errors
    /// [`Denial`] as the policy says.
    pub fn can(&self, action: Action, resource: &Resource) -> Result<Role, Denial> {
        can(&self.actor, action, resource)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(*caller);
        }
        let caller = known(parts, app).await?;
        note(parts, caller.id());
        parts.extensions.insert(caller);
        Ok(caller)
    }
}

/// What a request shows of its caller, to be looked at again while its answer goes on.
#[derive(Debug)]
pub struct Credentials(Parts);

impl Credentials {
    /// The caller as of now.
    ///
    /// # Errors
    /// As for a request that comes in now: who has signed out is no caller any more.
    pub async fn caller(&self, app: &App) -> Result<Caller, Problem> {
        known(&self.0, app).await
    }
}

impl FromRequestParts<App> for Credentials {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self(parts.clone()))
    }
}

async fn known(parts: &Parts, app: &App) -> Result<Caller, Problem> {
    let known = timeout(PATIENCE, authenticate(parts, app)).await;
    known.unwrap_or_else(|_| Err(Problem::new(&codes::STORE_UNAVAILABLE).with_retry_after(1)))
}

/// Lets the outermost layer know who calls.
fn note(parts: &Parts, account: Uuid) {
    if let Some(info) = parts.extensions.get::<Arc<RequestInfo>>() {
        info.note_caller(account);
    }
}

async fn authenticate(parts: &Parts, app: &App) -> Result<Caller, Problem> {
    if !parts.headers.contains_key(AUTHORIZATION)
        && let Some(session) = cookies::session_of(app.vault(), &parts.headers)
    {
        return authenticate_browser(parts, session, app).await;
    }
    let token = bearer(&parts.headers)?;
    if token.starts_with(api_tokens::PREFIX) {
        return authenticate_program(parts, token, app).await;
    }
    let auth = app.auth();
    let verified = auth.tokens.verify(token).await.ok_or_else(|| Problem::new(&codes::AUTH_INVALID_TOKEN))?;
    let (session, account) = (verified.session, verified.account);
    // Both at once: who is known from a second ago costs nothing afterwards.
    let (live, standing) = tokio::join!(auth.sessions.live(session), auth.accounts.standing(account));
    standing.map_err(unavailable)?;
    let live = live.map_err(unavailable)?.filter(|live| live.account == account);
    act(app, session, live).await
}

async fn authenticate_browser(parts: &Parts, session: Uuid, app: &App) -> Result<Caller, Problem> {
    let live = app.auth().sessions.live(session).await.map_err(unavailable)?;
    let caller = act(app, session, live).await?;
    cookies::check_csrf(app.vault(), session, &parts.method, &parts.headers, app.origins())?;
    Ok(caller)
}

/// The session's account where the session acts.
async fn act(app: &App, session: Uuid, live: Option<Live>) -> Result<Caller, Problem> {
    let ended = || Problem::new(&codes::AUTH_SESSION_ENDED);
    let Live { account, organization } = live.ok_or_else(ended)?;
    match app.auth().accounts.actor(account, organization).await.map_err(unavailable)? {
        Some(actor) => Ok(Caller { actor, credential: Credential::Session(session) }),
        None => {
            // Who is no longer a member must not go on elsewhere without having said so.
            if organization.is_some() {
                app.auth().sessions.end(session).await?;
            }
            Err(ended())
        }
    }
}

async fn authenticate_program(parts: &Parts, token: &str, app: &App) -> Result<Caller, Problem> {
    let bearer = app.auth().api_tokens.bearer(app.vault(), token).await.map_err(unavailable)?;
    let invalid = || Problem::new(&codes::AUTH_INVALID_TOKEN);
    let Bearer { id, account, organization, scopes } = bearer.ok_or_else(invalid)?;
    let actor = app.auth().accounts.actor(account, organization).await.map_err(unavailable)?.ok_or_else(invalid)?;
    note(parts, account);
    match Scope::needed(&parts.method, parts.uri.path()) {
        Some(scope) if scopes.contains(scope) => Ok(Caller { actor, credential: Credential::ApiToken(id) }),
        Some(scope) => Err(Problem::new(&codes::AUTH_SCOPE_MISSING).with_detail(
            format!("the token lacks the scope {scope}"),
            format!("il manque au jeton la portée {scope}"),
        )),
        None => Err(Problem::new(&codes::AUTH_SCOPE_MISSING)),
    }
}

/// A cache shares one error among all who waited for it.
fn unavailable(error: Arc<StoreError>) -> Problem {
    StoreError::clone(&error).into()
}

/// The one token in the one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Err(Problem::new(&codes::AUTH_REQUIRED)) };
    let (scheme, token) = line.to_str().ok().and_then(|line| line.split_once(' ')).unwrap_or_default();
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || lines.next().is_some() {
        return Err(Problem::new(&codes::AUTH_REQUIRED));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_token_counts() {
        let read = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AUTHORIZATION, line.parse().unwrap());
            }
            bearer(&headers).map(str::to_owned).ok()
        };
        assert_eq!(read(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(read(&["bearer  abc"]).as_deref(), Some("abc"));
        for bad in [&[][..], &["Basic abc"], &["Bearer"], &["Bearer "], &["abc"], &["Bearer a", "Bearer b"]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
