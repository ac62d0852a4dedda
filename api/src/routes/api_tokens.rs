//! Tokens for programs that act in an account's name.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Days, Utc};
use commands::Context;
use domain::FieldError;
use domain::account::{Account, AccountCommand};
use domain::rejection::check_text;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{Answered, CommandDone, QueryAnswer, json};
use crate::app::App;
use crate::auth::{ApiToken, Scope};
use crate::error::command_problem;
use crate::extract::{CommandRequest, Id, NoBody, NoParameters, Order, Page, QueryRequest};
use crate::problem::{Problem, codes};

const DEFAULT_DAYS: u64 = 90;
const MOST_DAYS: u64 = 366;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list, issue)).routes(routes!(revoke))
}

/// A token that a program is to be given.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IssueToken {
    /// What to know it by: 1 to 100 characters.
    name: String,
    /// What it may be used for: at least one.
    scopes: Vec<Scope>,
    /// 1 to 366; 90 when it is not given.
    expires_in_days: Option<u64>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct IssuedToken {
    id: Uuid,
    /// For `Authorization: Bearer`. It is shown this once.
    token: String,
    expires_at: DateTime<Utc>,
}

/// A token that is good.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiToken)]
struct TokenView {
    id: Uuid,
    name: Option<String>,
    /// Where it acts: the organisation in which it was issued.
    organization_id: Option<Uuid>,
    scopes: Vec<Scope>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// To the minute.
    last_used_at: Option<DateTime<Utc>>,
}

/// The caller's tokens, the newest first.
#[utoipa::path(get, path = "/api/auth/tokens", tag = "auth", operation_id = "listApiTokens",
    responses((status = 200, body = Page<TokenView>)))]
async fn list(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<TokenView>>, Problem> {
    let position = app.log_head(&request).await?;
    let tokens = app.auth().api_tokens.of(app.vault(), request.caller.id()).await?;
    let view = |ApiToken { id, name, organization, scopes, created_at, expires_at, last_used_at }| TokenView {
        id,
        name,
        organization_id: organization,
        scopes,
        created_at,
        expires_at,
        last_used_at,
    };
    Ok(QueryAnswer::new(Page { items: tokens.into_iter().map(view).collect(), next_cursor: None }, position))
}

/// Give a program a token of its own, which acts in the organisation in which the caller does. The log-in must be less than ten minutes old.
#[utoipa::path(post, path = "/api/auth/tokens", tag = "auth", operation_id = "issueApiToken",
    request_body = IssueToken, responses((status = 201, body = IssuedToken)))]
async fn issue(State(app): State<App>, request: CommandRequest<IssueToken>) -> Result<Response, Problem> {
    let (body, order) = request.into_parts();
    order.caller.proved_lately(&app).await?;
    let token = ApiToken { organization: Some(order.caller.actor.organization), ..checked(body)? };
    // A client that hangs up must not leave it half done.
    let issuing = tokio::spawn(async move { issue_token(&app, &order, token).await });
    issuing.await.unwrap_or_else(|_| Err(Problem::new(&codes::INTERNAL)))
}

fn checked(body: IssueToken) -> Result<ApiToken, Problem> {
    let IssueToken { name, scopes, expires_in_days } = body;
    let name = name.trim().to_owned();
    let days = expires_in_days.unwrap_or(DEFAULT_DAYS);
    let mut errors = Vec::new();
    check_text(&mut errors, "/name", &name, 1, 100);
    if scopes.is_empty() {
        errors.push(FieldError::new("/scopes", "field.required", "must hold at least one"));
    }
    if !(1..=MOST_DAYS).contains(&days) {
        let detail = format!("must be from 1 to {MOST_DAYS}");
        errors.push(FieldError::new("/expiresInDays", "field.out_of_range", detail));
    }
    if !errors.is_empty() {
        return Err(Problem::new(&codes::API_TOKEN_INVALID).with_errors(errors));
    }
    let created_at = Utc::now();
    let expires_at = created_at.checked_add_days(Days::new(days)).unwrap_or(created_at);
    let scopes = Scope::ALL.into_iter().filter(|scope| scopes.contains(scope)).collect();
    let (id, name) = (Uuid::now_v7(), Some(name));
    Ok(ApiToken { id, name, organization: None, scopes, created_at, expires_at, last_used_at: None })
}

/// The row first, since the event must not tell what did not happen; gone again when the event is refused.
async fn issue_token(app: &App, order: &Order, token: ApiToken) -> Result<Response, Problem> {
    let (account, tokens) = (order.caller.id(), &app.auth().api_tokens);
    let secret = tokens.issue(app.vault(), account, &token).await?;
    let secret = secret.ok_or_else(|| Problem::new(&codes::API_TOKEN_TOO_MANY))?;
    let ApiToken { id, scopes, expires_at, created_at, .. } = token;
    let scopes: BTreeSet<String> = scopes.iter().map(Scope::to_string).collect();
    let scopes = scopes.into_iter().collect();
    let command = AccountCommand::IssueApiToken { token: id, scopes, expires_at, at: created_at };
    let context = Context { idempotency: None, ..order.context(201) };
    if let Err(error) = app.commands().execute::<Account>(account, command, context).await {
        tokens.revoke(account, id).await?;
        return Err(command_problem::<Account>(error));
    }
    Ok((StatusCode::CREATED, json(&IssuedToken { id, token: secret, expires_at })).into_response())
}

/// Take a token back.
#[utoipa::path(delete, path = "/api/auth/tokens/{id}", tag = "auth", operation_id = "revokeApiToken",
    responses((status = 200, body = CommandDone)))]
async fn revoke(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let order = request.order;
    let account = order.caller.id();
    if !app.auth().api_tokens.revoke(account, id).await? {
        return app.replayed_or::<Account>(Problem::new(&codes::API_TOKEN_NOT_FOUND), order).await;
    }
    app.execute::<Account>(account, AccountCommand::RevokeApiToken { token: id, at: Utc::now() }, order).await
}
