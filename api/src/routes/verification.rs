//! Proving that an address is one's own, and taking another.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse, Response};
use chrono::Utc;
use commands::{CommandError, Context};
use domain::account::{Account, AccountCommand, AccountError};
use domain::{Actor, Role};
use event_store::Claim;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{Answered, CommandDone, json};
use crate::app::App;
use crate::auth::{ADDRESS, address_hash, check_password};
use crate::error::{command_problem, not_found};
use crate::extract::{CommandRequest, PublicQuery, PublicRequest};
use crate::mail::link::{self, Purpose};
use crate::problem::{Language, Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(verify, ask)).routes(routes!(change))
}

/// What a link from a message carries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Link {
    /// As it came by mail.
    token: String,
}

/// An address that was proved.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Verified {
    /// The account.
    id: Uuid,
    /// True.
    email_verified: bool,
}

/// Prove an address by the link that was mailed to it. A browser is shown a page.
#[utoipa::path(get, path = "/api/auth/verify-email", tag = "auth", operation_id = "verifyEmail", security(()),
    params(Link), responses((status = 200, content((Verified = "application/json"), (String = "text/html")))))]
async fn verify(State(app): State<App>, request: PublicQuery<Link>) -> Result<Response, Problem> {
    let invalid = || Problem::new(&codes::LINK_INVALID);
    let token = &request.parameters.token;
    let id = link::account_of(token).ok_or_else(invalid)?;
    let (account, _) = app.commands().state::<Account>(id).await?;
    let email = account.email().and_then(|email| email.get()).filter(|_| account.is_active()).ok_or_else(invalid)?;
    let requested = account.requested_email().and_then(|email| email.get());
    let (own, at) = (address_hash(app.vault(), email), Utc::now());
    let good = |hash: &[u8]| link::is_good(app.vault(), Purpose::VerifyAddress, token, at, hash);
    let (command, claims) = if good(&own) {
        (AccountCommand::VerifyAddress { email: email.clone(), at }, Vec::new())
    } else {
        let requested = requested.ok_or_else(invalid)?;
        let taken = address_hash(app.vault(), requested);
        if !good(&taken) {
            return Err(invalid());
        }
        let (before, email) = (email.clone(), requested.clone());
        (AccountCommand::ConfirmAddress { before, email, at }, exchange(id, own, taken))
    };
    let context = Context { claims, ..request.context(owner(id)) };
    app.commands().execute::<Account>(id, command, context).await.map_err(|error| match error {
        // It changed meanwhile, or is somebody else's.
        CommandError::Rejected(AccountError::OtherAddress) | CommandError::ClaimTaken => invalid(),
        error => command_problem::<Account>(error),
    })?;
    app.auth().accounts.forget(id).await;
    let browser = request.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if browser.is_some_and(|accept| accept.contains("text/html")) {
        return Ok(page(request.language()));
    }
    Ok(json(&Verified { id, email_verified: true }))
}

fn page(language: Language) -> Response {
    let (tag, said) = match language {
        Language::English => ("en", "Your address is confirmed. You can close this page."),
        Language::French => ("fr", "Votre adresse est confirmée. Vous pouvez fermer cette page."),
    };
    let page = format!("<!doctype html><html lang=\"{tag}\"><title>Capitune</title><p>{said}</p></html>");
    ([(CONTENT_SECURITY_POLICY, "default-src 'none'")], Html(page)).into_response()
}

/// The account itself as the one who acts: whoever holds the link is its owner.
pub(super) fn owner(id: Uuid) -> Actor {
    let roles = [Role::Applicant].into_iter().collect();
    Actor::new(id, roles, domain::access::DEFAULT_ORGANIZATION)
}

/// Whose address it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AddressBody {
    pub(super) email: String,
}

/// Ask for the message again by which an address is proved. The answer tells nothing about the address.
#[utoipa::path(post, path = "/api/auth/verify-email", tag = "auth", operation_id = "askForVerification",
    security(()), request_body = AddressBody,
    responses((status = 202, description = "If there is something to prove, a message is on its way.")))]
async fn ask(State(app): State<App>, request: PublicRequest<AddressBody>) -> StatusCode {
    let context = request.context(owner(Uuid::nil()));
    in_the_background(app, request.body.email, AccountCommand::RequestVerification { at: Utc::now() }, context);
    StatusCode::ACCEPTED
}

/// Gives a command to the account that has this address, if there is one. Nobody waits for it, so that no answer and no
/// time tells.
pub(super) fn in_the_background(app: App, email: String, command: AccountCommand, context: Context) {
    tokio::spawn(async move {
        let address = address_hash(app.vault(), &email);
        let Ok(Some(id)) = app.store().claim_owner(ADDRESS, &address).await else { return };
        let context = Context { actor: owner(id), ..context };
        if let Err(error) = app.commands().execute::<Account>(id, command, context).await {
            tracing::debug!(problem = %command_problem::<Account>(error), "a message was asked for in vain");
        }
    });
}

/// Another address.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeAddress {
    email: String,
    /// The present password.
    password: String,
}

/// Take another address, which is then to be proved; the one before is told. Where verified addresses are required, it
/// takes the place of the one before once it is proved.
#[utoipa::path(put, path = "/api/users/me/email", tag = "users", operation_id = "changeEmail",
    request_body = ChangeAddress, responses((status = 200, body = CommandDone)))]
async fn change(State(app): State<App>, request: CommandRequest<ChangeAddress>) -> Answered {
    let (ChangeAddress { email, password }, order) = request.into_parts();
    let id = order.caller.id();
    order.caller.session()?;
    if check_password(&app, Some(id), &[], password, order.info()).await?.is_none() {
        return Err(Problem::new(&codes::AUTH_WRONG_PASSWORD));
    }
    if app.requires_verified_email() {
        // Whether it is taken, only the message tells that goes to it.
        return app.execute::<Account>(id, AccountCommand::RequestAddress { email, at: Utc::now() }, order).await;
    }
    let (account, _) = app.commands().state::<Account>(id).await?;
    let before = account.email().and_then(|email| email.get()).ok_or_else(not_found::<Account>)?.clone();
    let claims = exchange(id, address_hash(app.vault(), &before), address_hash(app.vault(), &email));
    let command = AccountCommand::ChangeAddress { before, email, at: Utc::now() };
    let answer = app.execute_with::<Account>(id, command, claims, order).await;
    answer.map_err(|problem| match *problem.code() == codes::LINK_INVALID {
        // Another change came first, and with it other claims.
        true => Problem::new(&codes::COMMAND_CONTENTION).with_retry_after(1),
        false => problem,
    })
}

/// One address is given back and another taken. The same in other letters stays claimed.
fn exchange(owner: Uuid, given_back: Vec<u8>, taken: Vec<u8>) -> Vec<Claim> {
    let claim = |value, release| Claim { kind: ADDRESS, value, owner, release };
    match given_back == taken {
        true => Vec::new(),
        false => vec![claim(given_back, true), claim(taken, false)],
    }
}
