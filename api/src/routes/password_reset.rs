//! A forgotten password.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::Utc;
use commands::Context;
use domain::account::{Account, AccountCommand};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::verification::{AddressBody, in_the_background, owner};
use crate::app::App;
use crate::auth::check_new_password;
use crate::error::command_problem;
use crate::extract::PublicRequest;
use crate::mail::link::{self, Purpose};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(forgot)).routes(routes!(reset))
}

/// Ask for a message by which a forgotten password is replaced. The answer tells nothing about the address.
#[utoipa::path(post, path = "/api/auth/forgot-password", tag = "auth", operation_id = "forgotPassword", security(()),
    request_body = AddressBody,
    responses((status = 202, description = "If there is such an account, a message is on its way.")))]
async fn forgot(State(app): State<App>, request: PublicRequest<AddressBody>) -> StatusCode {
    let context = request.context(owner(Uuid::nil()));
    in_the_background(app, request.body.email, AccountCommand::RequestPasswordReset { at: Utc::now() }, context);
    StatusCode::ACCEPTED
}

/// A new password, and what proves that it may be set.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResetPassword {
    /// As it came by mail; good once.
    token: String,
    /// 8 characters at least, 256 bytes at most.
    password: String,
}

/// Replace a forgotten password; every session ends, and the address is proved. When it was not before, API tokens end
/// too.
#[utoipa::path(post, path = "/api/auth/reset-password", tag = "auth", operation_id = "resetPassword", security(()),
    request_body = ResetPassword, responses((status = 204, description = "The password is the new one.")))]
async fn reset(State(app): State<App>, request: PublicRequest<ResetPassword>) -> Result<StatusCode, Problem> {
    let invalid = || Problem::new(&codes::LINK_INVALID);
    let ResetPassword { token, password } = &request.body;
    let mut errors = Vec::new();
    check_new_password(&mut errors, "/password", password);
    if !errors.is_empty() {
        return Err(Problem::new(&codes::ACCOUNT_INVALID).with_errors(errors));
    }
    let id = link::account_of(token).ok_or_else(invalid)?;
    let old = app.auth().password_hash(id).await?;
    let (account, _) = app.commands().state::<Account>(id).await?;
    let email = account.email().and_then(|email| email.get()).filter(|_| account.is_active()).ok_or_else(invalid)?;
    let bound_to = link::resetting(app.vault(), email, old.as_deref());
    if !link::is_good(app.vault(), Purpose::ResetPassword, token, Utc::now(), &bound_to) {
        return Err(invalid());
    }
    let new = app.auth().passwords.hash(password.clone()).await?;
    let (email, verified, context) = (email.clone(), account.is_verified(), request.context(owner(id)));
    // A client that hangs up must not leave it half done.
    let replacing = tokio::spawn(async move {
        replace(&app, id, old.as_deref(), &new).await?;
        if !verified {
            revoke_api_tokens(&app, id, &context).await?;
        }
        let command = AccountCommand::ResetPassword { email, at: Utc::now() };
        app.commands().execute::<Account>(id, command, context).await.map_err(command_problem::<Account>)?;
        app.auth().accounts.forget(id).await;
        Ok(StatusCode::NO_CONTENT)
    });
    replacing.await.unwrap_or_else(|_| Err(Problem::new(&codes::INTERNAL)))
}

/// Another password, unless the link was used meanwhile. Whoever had the account before has it no longer, whether or not
/// the event can be appended now.
async fn replace(app: &App, id: Uuid, old: Option<&str>, new: &str) -> Result<(), Problem> {
    let replaced = match old {
        Some(old) => app.auth().replace_password(id, old, new).await?,
        None => app.auth().first_password(id, new).await?,
    };
    if !replaced {
        return Err(Problem::new(&codes::LINK_INVALID));
    }
    Ok(app.auth().sessions.end_all(id).await?)
}

/// Whoever opened the account had not proved the address: what they gave out must not outlive the first proof.
async fn revoke_api_tokens(app: &App, id: Uuid, context: &Context) -> Result<(), Problem> {
    for token in app.auth().api_tokens.of(app.vault(), id).await? {
        app.auth().api_tokens.revoke(id, token.id).await?;
        let command = AccountCommand::RevokeApiToken { token: token.id, at: Utc::now() };
        app.commands().execute::<Account>(id, command, context.clone()).await.map_err(command_problem::<Account>)?;
    }
    Ok(())
}
