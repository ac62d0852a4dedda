//! The commands on posts, comments and likes.

use axum::extract::State;
use chrono::Utc;
use domain::Action;
use domain::comment::{Comment, CommentCommand};
use domain::post::{Post, PostCommand};
use domain::reaction::{Reaction, ReactionCommand, stream_id};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{Answered, CommandDone};
use crate::app::App;
use crate::auth::Caller;
use crate::error::{denied, not_found};
use crate::extract::{CommandRequest, Id, NoBody};
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(publish))
        .routes(routes!(edit, delete))
        .routes(routes!(write_comment))
        .routes(routes!(edit_comment, delete_comment))
        .routes(routes!(like, unlike))
}

/// What a post says.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PostBody {
    /// 1 to 10,000 characters.
    #[schema(min_length = 1, max_length = 10_000)]
    body: String,
}

/// What a comment says.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WriteComment {
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    body: String,
    /// The comment that it answers; the post itself when it is not given.
    parent_id: Option<Uuid>,
}

/// What a comment says now.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EditComment {
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    body: String,
}

/// Publish a post.
#[utoipa::path(post, path = "/api/posts", tag = "posts", operation_id = "publishPost",
    request_body = PostBody, responses((status = 201, body = CommandDone)))]
async fn publish(State(app): State<App>, request: CommandRequest<PostBody>) -> Answered {
    let (PostBody { body }, order) = request.into_parts();
    let (author, organization) = (order.caller.id(), order.caller.actor.organization);
    let command = PostCommand::Publish { author, organization, body, at: Utc::now() };
    app.create::<Post>(Uuid::now_v7(), command, order).await
}

/// Change the text of a post.
#[utoipa::path(put, path = "/api/posts/{id}", tag = "posts", operation_id = "editPost",
    request_body = PostBody, responses((status = 200, body = CommandDone)))]
async fn edit(State(app): State<App>, Id(id): Id, request: CommandRequest<PostBody>) -> Answered {
    let (PostBody { body }, order) = request.into_parts();
    app.execute::<Post>(id, PostCommand::Edit { body, at: Utc::now() }, order).await
}

/// Take a post away.
#[utoipa::path(delete, path = "/api/posts/{id}", tag = "posts", operation_id = "deletePost",
    responses((status = 200, body = CommandDone)))]
async fn delete(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    app.execute::<Post>(id, PostCommand::Delete { at: Utc::now() }, request.order).await
}

/// Answer a post, or a comment on it.
#[utoipa::path(post, path = "/api/posts/{id}/comments", tag = "posts", operation_id = "writeComment",
    request_body = WriteComment, responses((status = 201, body = CommandDone)))]
async fn write_comment(State(app): State<App>, Id(post): Id, request: CommandRequest<WriteComment>) -> Answered {
    let (WriteComment { body, parent_id: parent }, order) = request.into_parts();
    let depth = match place(&app, &order.caller, post, parent).await {
        Ok(depth) => depth,
        Err(problem) => return app.replayed_or::<Comment>(problem, order).await,
    };
    let author = order.caller.id();
    let command = CommentCommand::Write { post, parent, depth, author, body, at: Utc::now() };
    app.create::<Comment>(Uuid::now_v7(), command, order).await
}

/// Change the text of a comment.
#[utoipa::path(put, path = "/api/comments/{id}", tag = "posts", operation_id = "editComment",
    request_body = EditComment, responses((status = 200, body = CommandDone)))]
async fn edit_comment(State(app): State<App>, Id(id): Id, request: CommandRequest<EditComment>) -> Answered {
    let (EditComment { body }, order) = request.into_parts();
    app.execute::<Comment>(id, CommentCommand::Edit { body, at: Utc::now() }, order).await
}

/// Take a comment away; its place in the tree stays.
#[utoipa::path(delete, path = "/api/comments/{id}", tag = "posts", operation_id = "deleteComment",
    responses((status = 200, body = CommandDone)))]
async fn delete_comment(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    app.execute::<Comment>(id, CommentCommand::Delete { at: Utc::now() }, request.order).await
}

/// Like a post. Repeating it changes nothing.
#[utoipa::path(post, path = "/api/posts/{id}/like", tag = "posts", operation_id = "likePost",
    responses((status = 200, body = CommandDone)))]
async fn like(State(app): State<App>, Id(post): Id, request: CommandRequest<NoBody>) -> Answered {
    let user = request.order.caller.id();
    if let Err(problem) = readable(&app, &request.order.caller, post).await {
        return app.replayed_or::<Reaction>(problem, request.order).await;
    }
    let command = ReactionCommand::Like { post, user, at: Utc::now() };
    app.execute::<Reaction>(stream_id(post, user), command, request.order).await
}

/// Take a like back. Repeating it changes nothing.
#[utoipa::path(delete, path = "/api/posts/{id}/like", tag = "posts", operation_id = "unlikePost",
    responses((status = 200, body = CommandDone)))]
async fn unlike(State(app): State<App>, Id(post): Id, request: CommandRequest<NoBody>) -> Answered {
    let user = request.order.caller.id();
    if let Err(problem) = readable(&app, &request.order.caller, post).await {
        return app.replayed_or::<Reaction>(problem, request.order).await;
    }
    let command = ReactionCommand::Unlike { post, user, at: Utc::now() };
    app.execute::<Reaction>(stream_id(post, user), command, request.order).await
}

/// How deep a comment stands that answers `parent`, or else the post itself.
async fn place(app: &App, caller: &Caller, post: Uuid, parent: Option<Uuid>) -> Result<u8, Problem> {
    readable(app, caller, post).await?;
    super::tree::depth(app, post, parent).await
}

/// What is answered or liked must be there to read.
async fn readable(app: &App, caller: &Caller, post: Uuid) -> Result<(), Problem> {
    let (state, _) = app.commands().state::<Post>(post).await?;
    let resource = state.resource().ok_or_else(not_found::<Post>)?;
    caller.can(Action::ReadPost, &resource).map(drop).map_err(denied::<Post>)
}
