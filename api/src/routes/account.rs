//! Accounts: one's own, and the public cards of others.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::Role;
use domain::account::{Account, AccountCommand, Locale};
use projections::account::{self, AccountStatus, Accounts};
use projections::{Models, Projection, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{Answered, CommandDone, QueryAnswer, Served};
use crate::app::App;
pub use crate::auth::stream;
use crate::auth::{Caller, check_new_password, check_password};
use crate::error::not_found;
use crate::extract::{CommandRequest, Id, NoParameters, Order, QueryRequest};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(me, edit)).routes(routes!(change_password)).routes(routes!(card))
}

/// The projection of accounts.
pub const PROJECTION: &str = Accounts::NAME;

/// An account, as its owner sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    id: Uuid,
    organization_id: Uuid,
    /// Null once the account was erased, as are the other personal values.
    email: Option<String>,
    /// The address that takes its place once it is proved, where verified addresses are required.
    requested_email: Option<String>,
    name: Option<String>,
    /// Where its picture is; null without one.
    avatar_url: Option<String>,
    #[schema(value_type = Language)]
    locale: Locale,
    #[schema(value_type = Vec<RoleName>)]
    roles: Vec<Role>,
    status: UserStatus,
    /// Whether the address was proved to be the account's own.
    email_verified: bool,
    /// Whether logging in takes a second factor.
    totp_enabled: bool,
    version: u64,
}

/// Whether an account may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    /// It may.
    Active,
    /// An admin shut it out.
    Suspended,
}

/// The languages of the product.
#[derive(ToSchema)]
#[schema(as = Locale, rename_all = "lowercase")]
#[expect(dead_code)] // describes the domain's type
pub enum Language {
    Fr,
    En,
}

/// What an account may be.
#[derive(ToSchema)]
#[schema(as = Role, rename_all = "camelCase")]
#[expect(dead_code)] // describes the domain's type
pub enum RoleName {
    Applicant,
    Pro,
    Auditor,
    Analyst,
    Moderator,
    Organizer,
    Admin,
}

/// The account as it stands, by its own stream: signing in works however far the read models are.
///
/// # Errors
/// A 404 when there is none, a 503 when the event store does not answer.
pub async fn user(app: &App, id: Uuid) -> Result<User, Problem> {
    let (account, version) = app.commands().state::<Account>(id).await?;
    let (Some(organization_id), Some(locale)) = (account.organization(), account.locale()) else {
        return Err(not_found::<Account>());
    };
    Ok(User {
        id,
        organization_id,
        email: account.email().and_then(|email| email.get().cloned()),
        requested_email: account.requested_email().and_then(|email| email.get().cloned()),
        name: account.name().and_then(|name| name.get().cloned()),
        avatar_url: account.has_avatar().then(|| avatar_url(id)),
        locale,
        roles: account.roles().into(),
        status: if account.is_active() { UserStatus::Active } else { UserStatus::Suspended },
        email_verified: account.is_verified(),
        totp_enabled: account.has_totp(),
        version,
    })
}

impl Served for Account {
    const COLLECTION: &'static str = "/api/users";

    async fn represent(app: &App, _: &Caller, id: Uuid, _: u64, _: Instant) -> Result<Option<Value>, Problem> {
        let user = user(app, id).await?;
        Ok(serde_json::to_value(user).ok())
    }
}

/// The caller's own account.
#[utoipa::path(get, path = "/api/users/me", tag = "users", operation_id = "getMe",
    responses((status = 200, body = User)))]
async fn me(State(app): State<App>, request: QueryRequest<NoParameters>) -> Result<QueryAnswer<User>, Problem> {
    let position = app.log_head(&request).await?;
    let body = user(&app, request.caller.id()).await?;
    let version = Some(body.version);
    Ok(QueryAnswer::of_one(body, position, version))
}

/// Changes what is given.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EditProfile {
    /// 1 to 200 characters.
    name: Option<String>,
    #[schema(value_type = Option<Language>)]
    locale: Option<Locale>,
}

/// Change one's own profile.
#[utoipa::path(put, path = "/api/users/me", tag = "users", operation_id = "editMe",
    request_body = EditProfile, responses((status = 200, body = CommandDone)))]
async fn edit(State(app): State<App>, request: CommandRequest<EditProfile>) -> Answered {
    let (EditProfile { name, locale }, order) = request.into_parts();
    let command = AccountCommand::EditProfile { name, locale, at: Utc::now() };
    app.execute::<Account>(order.caller.id(), command, order).await
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangePassword {
    current_password: String,
    /// 8 characters at least, 256 bytes at most.
    new_password: String,
}

/// Replace one's own password; every other session ends.
#[utoipa::path(put, path = "/api/users/me/password", tag = "users", operation_id = "changePassword",
    request_body = ChangePassword, responses((status = 200, body = CommandDone)))]
async fn change_password(State(app): State<App>, request: CommandRequest<ChangePassword>) -> Answered {
    let (ChangePassword { current_password, new_password }, order) = request.into_parts();
    let id = order.caller.id();
    let mut errors = Vec::new();
    check_new_password(&mut errors, "/newPassword", &new_password);
    if !errors.is_empty() {
        return Err(Problem::new(&codes::ACCOUNT_INVALID).with_errors(errors));
    }
    let Some(old) = check_password(&app, Some(id), &[], current_password, order.info()).await? else {
        // A repeated request finds its own new password in place.
        return app.replayed_or::<Account>(Problem::new(&codes::AUTH_WRONG_PASSWORD), order).await;
    };
    let new = app.auth().passwords.hash(new_password).await?;
    // A client that hangs up must not leave it half done.
    let replacing = tokio::spawn(async move { replace_password(&app, order, &old, &new).await });
    replacing.await.unwrap_or_else(|_| Err(Problem::new(&codes::INTERNAL)))
}

/// The hash first, because the event must not tell what did not happen; back again when the event is refused.
async fn replace_password(app: &App, order: Order, old: &str, new: &str) -> Answered {
    let (id, session) = (order.caller.id(), order.caller.session()?);
    if !app.auth().replace_password(id, old, new).await? {
        return Err(Problem::new(&codes::AUTH_WRONG_PASSWORD));
    }
    let answer = app.execute::<Account>(id, AccountCommand::ChangePassword { at: Utc::now() }, order).await;
    match &answer {
        Err(problem) if problem.is_refusal() => {
            app.auth().replace_password(id, new, old).await?;
        }
        _ => app.auth().sessions.end_all_but(id, session).await?,
    }
    answer
}

/// What everyone who is signed in may know of an account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Card {
    id: Uuid,
    /// Null once the account was erased.
    name: Option<String>,
    /// Where its picture is; null without one.
    avatar_url: Option<String>,
    organization_id: Uuid,
    created_at: DateTime<Utc>,
}

/// The public card of an account.
#[utoipa::path(get, path = "/api/users/{id}", tag = "users", operation_id = "getUser",
    responses((status = 200, body = Card)))]
async fn card(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Card>, Problem> {
    let models = app.models(&request.caller.actor);
    let query = || account::by_id(&models, id);
    let (row, position) = app.read(PROJECTION, Scope::Key(id), &request, query).await?;
    let row = row.ok_or_else(not_found::<Account>)?;
    let name = app.vault().reveal_as(&[(stream(id), &row.name)]).await?.pop().flatten();
    let avatar_url = (row.avatar && row.status != AccountStatus::Erased).then(|| avatar_url(id));
    let (organization_id, created_at) = (row.organization_id, row.created_at);
    let body = Card { id, name, avatar_url, organization_id, created_at };
    Ok(QueryAnswer::of_one(body, position, Some(row.version)))
}

fn avatar_url(id: Uuid) -> String {
    format!("/api/users/{id}/avatar")
}

/// The names of those of these accounts that have one still.
///
/// # Errors
/// A 503 when the database does not answer.
pub async fn names(
    app: &App,
    models: &Models,
    ids: impl Iterator<Item = Uuid>,
) -> Result<BTreeMap<Uuid, String>, Problem> {
    let ids: BTreeSet<Uuid> = ids.collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let sealed = account::names(models, &ids).await?;
    let sealed: Vec<_> = sealed.into_iter().map(|(id, name)| (stream(id), name)).collect();
    let names: Vec<Option<String>> = app.vault().reveal_as(&sealed).await?;
    let named = sealed.iter().zip(names).filter_map(|((stream, _), name)| Some((stream.id, name?)));
    Ok(named.collect())
}
