//! The second factor of log-ins: one-time passwords, and recovery codes.

use axum::extract::State;
use axum::response::Response;
use chrono::Utc;
use commands::Context;
use domain::account::{Account, AccountCommand};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::{Answered, CommandDone, json};
use crate::app::App;
use crate::auth::Enrolment;
use crate::error::command_problem;
use crate::extract::{CommandRequest, NoBody, Order};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(begin, disable)).routes(routes!(verify)).routes(routes!(renew))
}

/// What an authenticator app needs. It is shown this once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TotpEnrolment {
    /// In base32, to be typed.
    secret: String,
    /// An `otpauth:` URI, to be shown as a QR code.
    otpauth_uri: String,
}

/// A code, as an authenticator app shows it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TotpCode {
    /// Six digits.
    code: String,
}

/// Codes that stand in for a lost device, each good once. They are shown this once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecoveryCodes {
    recovery_codes: Vec<String>,
}

/// Begin with a second factor, which counts from the first code on. The log-in must be less than ten minutes old.
#[utoipa::path(post, path = "/api/auth/totp", tag = "auth", operation_id = "beginTotp",
    responses((status = 200, body = TotpEnrolment)))]
async fn begin(State(app): State<App>, request: CommandRequest<NoBody>) -> Result<Response, Problem> {
    let caller = request.order.caller;
    caller.proved_lately(&app).await?;
    let (account, _) = app.commands().state::<Account>(caller.id()).await?;
    let email = account.email().and_then(|email| email.get().cloned()).unwrap_or_default();
    let enrolment = app.auth().second_factors.begin(app.vault(), caller.id(), &email).await?;
    let Enrolment { secret, url } = enrolment.ok_or_else(|| Problem::new(&codes::TOTP_ALREADY_ENABLED))?;
    Ok(json(&TotpEnrolment { secret, otpauth_uri: url }))
}

/// Prove that the device has the secret: from now on logging in takes a code, and every other session ends.
#[utoipa::path(post, path = "/api/auth/totp/verify", tag = "auth", operation_id = "verifyTotp",
    request_body = TotpCode, responses((status = 200, body = RecoveryCodes)))]
async fn verify(State(app): State<App>, request: CommandRequest<TotpCode>) -> Result<Response, Problem> {
    let (TotpCode { code }, order) = request.into_parts();
    order.caller.proved_lately(&app).await?;
    // A client that hangs up must not leave it half done.
    let enabling = tokio::spawn(async move { enable(&app, &order, &code).await });
    enabling.await.unwrap_or_else(|_| Err(Problem::new(&codes::INTERNAL)))
}

async fn enable(app: &App, order: &Order, code: &str) -> Result<Response, Problem> {
    let (id, factors) = (order.caller.id(), &app.auth().second_factors);
    factors.confirm(app.vault(), id, code).await?;
    let recovery_codes = factors.renew_recovery_codes(app.vault(), id).await?;
    let context = Context { idempotency: None, ..order.context(200) };
    let enabled = app.commands().execute::<Account>(id, AccountCommand::EnableTotp { at: Utc::now() }, context).await;
    if let Err(error) = enabled {
        let problem = command_problem::<Account>(error);
        if problem.is_refusal() {
            factors.forget(id).await?;
        }
        return Err(problem);
    }
    app.auth().sessions.end_all_but(id, order.caller.session()?).await?;
    Ok(json(&RecoveryCodes { recovery_codes }))
}

/// Log in without a second factor again; every other session ends. The log-in must be less than ten minutes old.
#[utoipa::path(delete, path = "/api/auth/totp", tag = "auth", operation_id = "disableTotp",
    responses((status = 200, body = CommandDone)))]
async fn disable(State(app): State<App>, request: CommandRequest<NoBody>) -> Answered {
    let order = request.order;
    order.caller.proved_lately(&app).await?;
    let (id, session) = (order.caller.id(), order.caller.session()?);
    // The event first: should what follows fail, a code is asked for a while longer, and this may be tried again.
    let answer = app.execute::<Account>(id, AccountCommand::DisableTotp { at: Utc::now() }, order).await?;
    app.auth().second_factors.forget(id).await?;
    app.auth().sessions.end_all_but(id, session).await?;
    Ok(answer)
}

/// New recovery codes; those there were are good no more. The log-in must be less than ten minutes old.
#[utoipa::path(post, path = "/api/auth/totp/recovery-codes", tag = "auth", operation_id = "renewRecoveryCodes",
    responses((status = 200, body = RecoveryCodes)))]
async fn renew(State(app): State<App>, request: CommandRequest<NoBody>) -> Result<Response, Problem> {
    let caller = request.order.caller;
    caller.proved_lately(&app).await?;
    let factors = &app.auth().second_factors;
    if !factors.is_on(caller.id()).await? {
        return Err(Problem::new(&codes::TOTP_NOT_BEGUN));
    }
    let recovery_codes = factors.renew_recovery_codes(app.vault(), caller.id()).await?;
    Ok(json(&RecoveryCodes { recovery_codes }))
}
