//! The commands on dossiers: read, execute, answer.

use axum::extract::State;
use chrono::Utc;
use domain::dossier::{Dossier, DossierCommand as Command};
use domain::{Action, FieldError, Permission, Resource};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::bodies::*;
use crate::answer::{Answered, CommandDone};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{denied, not_found};
use crate::extract::{CommandRequest, Id, NoBody};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(create))
        .routes(routes!(edit, discard))
        .routes(routes!(submit))
        .routes(routes!(start_review))
        .routes(routes!(request_changes))
        .routes(routes!(cancel_change_request))
        .routes(routes!(accept))
        .routes(routes!(refuse))
        .routes(routes!(close))
        .routes(routes!(reopen))
        .routes(routes!(withdraw))
        .routes(routes!(assign))
        .routes(routes!(archive))
}

/// Open a draft.
#[utoipa::path(post, path = "/api/dossiers", tag = "dossiers", operation_id = "createDossier",
    request_body = CreateDossier, responses((status = 201, body = CommandDone)))]
async fn create(State(app): State<App>, request: CommandRequest<CreateDossier>) -> Answered {
    let (body, order) = request.into_parts();
    let command = Command::Create {
        owner: order.caller.id(),
        organization: order.caller.actor.organization,
        category: body.category,
        title: body.title,
        description: body.description,
        fields: body.fields.unwrap_or_default(),
        at: Utc::now(),
    };
    app.create::<Dossier>(Uuid::now_v7(), command, order).await
}

/// Change what is given.
#[utoipa::path(put, path = "/api/dossiers/{id}", tag = "dossiers", operation_id = "editDossier",
    request_body = EditDossier, responses((status = 200, body = CommandDone)))]
async fn edit(State(app): State<App>, Id(id): Id, request: CommandRequest<EditDossier>) -> Answered {
    let (EditDossier { title, category, description, fields }, order) = request.into_parts();
    let command = Command::Edit { title, category, description, fields, at: Utc::now() };
    app.execute::<Dossier>(id, command, order).await
}

/// Throw a draft away.
#[utoipa::path(delete, path = "/api/dossiers/{id}", tag = "dossiers", operation_id = "discardDossier",
    responses((status = 200, body = CommandDone)))]
async fn discard(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    app.execute::<Dossier>(id, Command::Discard { at: Utc::now() }, request.order).await
}

/// Hand it in.
#[utoipa::path(post, path = "/api/dossiers/{id}/submit", tag = "dossiers", operation_id = "submitDossier",
    request_body = Option<SubmitDossier>, responses((status = 200, body = CommandDone)))]
async fn submit(State(app): State<App>, Id(id): Id, request: CommandRequest<SubmitDossier>) -> Answered {
    let (body, order) = request.into_parts();
    app.execute::<Dossier>(id, Command::Submit { note: body.note, at: Utc::now() }, order).await
}

/// Begin the review, and become its reviewer.
#[utoipa::path(post, path = "/api/dossiers/{id}/start-review", tag = "dossiers", operation_id = "startReview",
    responses((status = 200, body = CommandDone)))]
async fn start_review(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let command = Command::StartReview { by: request.order.caller.id(), at: Utc::now() };
    app.execute::<Dossier>(id, command, request.order).await
}

/// Ask the owner for changes.
#[utoipa::path(post, path = "/api/dossiers/{id}/request-changes", tag = "dossiers", operation_id = "requestChanges",
    request_body = RequestChanges, responses((status = 200, body = CommandDone)))]
async fn request_changes(State(app): State<App>, Id(id): Id, request: CommandRequest<RequestChanges>) -> Answered {
    let (RequestChanges { reason, message }, order) = request.into_parts();
    let command = Command::RequestChanges { reason, message, by: order.caller.id(), at: Utc::now() };
    app.execute::<Dossier>(id, command, order).await
}

/// Take the open change request back.
#[utoipa::path(post, path = "/api/dossiers/{id}/cancel-change-request", tag = "dossiers",
    operation_id = "cancelChangeRequest", responses((status = 200, body = CommandDone)))]
async fn cancel_change_request(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let command = Command::CancelChangeRequest { by: request.order.caller.id(), at: Utc::now() };
    app.execute::<Dossier>(id, command, request.order).await
}

/// Decide in favour.
#[utoipa::path(post, path = "/api/dossiers/{id}/accept", tag = "dossiers", operation_id = "acceptDossier",
    request_body = Option<AcceptDossier>, responses((status = 200, body = CommandDone)))]
async fn accept(State(app): State<App>, Id(id): Id, request: CommandRequest<AcceptDossier>) -> Answered {
    let (AcceptDossier { motivation }, order) = request.into_parts();
    let command = Command::Accept { motivation, by: order.caller.id(), at: Utc::now() };
    app.execute::<Dossier>(id, command, order).await
}

/// Decide against.
#[utoipa::path(post, path = "/api/dossiers/{id}/refuse", tag = "dossiers", operation_id = "refuseDossier",
    request_body = Motivation, responses((status = 200, body = CommandDone)))]
async fn refuse(State(app): State<App>, Id(id): Id, request: CommandRequest<Motivation>) -> Answered {
    let (Motivation { motivation }, order) = request.into_parts();
    let command = Command::Refuse { motivation, by: order.caller.id(), at: Utc::now() };
    app.execute::<Dossier>(id, command, order).await
}

/// End the review without a decision on the merits.
#[utoipa::path(post, path = "/api/dossiers/{id}/close", tag = "dossiers", operation_id = "closeDossier",
    request_body = Motivation, responses((status = 200, body = CommandDone)))]
async fn close(State(app): State<App>, Id(id): Id, request: CommandRequest<Motivation>) -> Answered {
    let (Motivation { motivation }, order) = request.into_parts();
    let command = Command::Close { motivation, by: order.caller.id(), at: Utc::now() };
    app.execute::<Dossier>(id, command, order).await
}

/// Take a decision back into review.
#[utoipa::path(post, path = "/api/dossiers/{id}/reopen", tag = "dossiers", operation_id = "reopenReview",
    request_body = ReopenReview, responses((status = 200, body = CommandDone)))]
async fn reopen(State(app): State<App>, Id(id): Id, request: CommandRequest<ReopenReview>) -> Answered {
    let (ReopenReview { reason }, order) = request.into_parts();
    let command = Command::Reopen { reason, by: order.caller.id(), at: Utc::now() };
    app.execute::<Dossier>(id, command, order).await
}

/// Give up.
#[utoipa::path(post, path = "/api/dossiers/{id}/withdraw", tag = "dossiers", operation_id = "withdrawDossier",
    request_body = Option<WithdrawDossier>, responses((status = 200, body = CommandDone)))]
async fn withdraw(State(app): State<App>, Id(id): Id, request: CommandRequest<WithdrawDossier>) -> Answered {
    let (WithdrawDossier { reason }, order) = request.into_parts();
    app.execute::<Dossier>(id, Command::Withdraw { reason, at: Utc::now() }, order).await
}

/// Name the pro who is to review it.
#[utoipa::path(post, path = "/api/dossiers/{id}/assign", tag = "dossiers", operation_id = "assignDossier",
    request_body = AssignDossier, responses((status = 200, body = CommandDone)))]
async fn assign(State(app): State<App>, Id(id): Id, request: CommandRequest<AssignDossier>) -> Answered {
    let (AssignDossier { pro }, order) = request.into_parts();
    if let Err(problem) = assignable(&app, &order.caller, id, pro).await {
        return app.replayed_or::<Dossier>(problem, order).await;
    }
    let command = Command::Assign { pro, by: order.caller.id(), at: Utc::now() };
    app.execute::<Dossier>(id, command, order).await
}

/// File a finished dossier for good.
#[utoipa::path(post, path = "/api/dossiers/{id}/archive", tag = "dossiers", operation_id = "archiveDossier",
    responses((status = 200, body = CommandDone)))]
async fn archive(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let command = Command::Archive { by: request.order.caller.id(), at: Utc::now() };
    app.execute::<Dossier>(id, command, request.order).await
}

/// Only who may assign the dossier learns whether an account is a pro.
async fn assignable(app: &App, caller: &Caller, id: Uuid, pro: Uuid) -> Result<(), Problem> {
    let (dossier, _) = app.commands().state::<Dossier>(id).await?;
    let resource = dossier.resource().ok_or_else(not_found::<Dossier>)?;
    caller.can(Action::AssignDossier, &resource).map_err(denied::<Dossier>)?;
    let Resource::Dossier { organization, .. } = resource else { return Err(not_found::<Dossier>()) };
    is_pro(app, pro, organization).await
}

/// Who is to review must be able to.
async fn is_pro(app: &App, account: Uuid, organization: Uuid) -> Result<(), Problem> {
    let actor = app.auth().actor(account, organization).await?;
    if actor.is_some_and(|actor| actor.permissions.contains(Permission::ReviewDossiers)) {
        return Ok(());
    }
    let error = FieldError::new("/pro", "field.invalid", "is no active pro of the organisation");
    Err(Problem::new(&codes::FIELD_INVALID).with_errors(vec![error]))
}
