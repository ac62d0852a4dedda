//! Reading posts and comments.

use axum::extract::State;
use domain::post::Post;
use projections::Scope;
use projections::post::{self, CommentCursor, Feed, PostCursor};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::PROJECTION;
use super::view::{CommentView, PostView, comments as show_comments, posts as show_posts};
use crate::answer::QueryAnswer;
use crate::app::App;
use crate::error::not_found;
use crate::extract::{Cursor, Id, Limit, NoParameters, Page, Paging, QueryRequest};
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(get)).routes(routes!(comments))
}

/// Which posts to list, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListPosts {
    /// The order; the newest first when it is not given.
    #[param(inline, value_type = Option<FeedName>)]
    pub sort: Option<Feed>,
    /// Items on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    pub limit: Limit,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

/// The orders of the feed.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code)] // describes the read model's type, which knows no OpenAPI
enum FeedName {
    Newest,
    MostLiked,
    MostDiscussed,
}

/// The posts of the community.
#[utoipa::path(get, path = "/api/posts", tag = "posts", operation_id = "listPosts",
    params(ListPosts), responses((status = 200, body = Page<PostView>)))]
pub async fn list(
    State(app): State<App>,
    request: QueryRequest<ListPosts>,
) -> Result<QueryAnswer<Page<PostView>>, Problem> {
    let ListPosts { sort, limit, cursor } = &request.parameters;
    let (feed, reader) = (sort.unwrap_or(Feed::Newest), request.caller.id());
    let cursors = Cursor::of(app.vault(), "posts", &feed, reader);
    let after = cursor.as_ref().map(|cursor| cursors.open::<PostCursor>(cursor)).transpose()?;
    let models = app.models(&request.caller.actor);
    let query = || post::list(&models, feed, after, limit.0, reader);
    let (page, reached) = app.read(PROJECTION, Scope::All, &request, query).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    let items = show_posts(&app, &models, page.items).await?;
    Ok(QueryAnswer::new(Page { items, next_cursor }, reached))
}

/// One post.
#[utoipa::path(get, path = "/api/posts/{id}", tag = "posts", operation_id = "getPost",
    responses((status = 200, body = PostView)))]
pub async fn get(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<PostView>, Problem> {
    let models = app.models(&request.caller.actor);
    let query = || post::by_id(&models, id, request.caller.id());
    let (row, reached) = app.read(PROJECTION, Scope::Key(id), &request, query).await?;
    let body = show_posts(&app, &models, row.into_iter().collect()).await?.pop().ok_or_else(not_found::<Post>)?;
    let version = Some(body.version());
    Ok(QueryAnswer::of_one(body, reached, version))
}

/// The comments on a post, the oldest first; `parentId` and `depth` make them a tree.
#[utoipa::path(get, path = "/api/posts/{id}/comments", tag = "posts", operation_id = "listComments",
    params(Paging), responses((status = 200, body = Page<CommentView>)))]
pub async fn comments(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<Paging>,
) -> Result<QueryAnswer<Page<CommentView>>, Problem> {
    let Paging { limit, cursor } = &request.parameters;
    let reader = request.caller.id();
    let cursors = Cursor::of(app.vault(), "comments", &id, reader);
    let after = cursor.as_ref().map(|cursor| cursors.open::<CommentCursor>(cursor)).transpose()?;
    let models = app.models(&request.caller.actor);
    let exists = || post::by_id(&models, id, reader);
    let (row, _) = app.read(PROJECTION, Scope::Key(id), &request, exists).await?;
    row.ok_or_else(not_found::<Post>)?;
    let query = || post::comments(&models, id, after, limit.0);
    let (page, reached) = app.read(PROJECTION, Scope::Key(id), &request, query).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    let items = show_comments(&app, &models, page.items).await?;
    Ok(QueryAnswer::new(Page { items, next_cursor }, reached))
}
