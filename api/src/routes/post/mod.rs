//! The community: posts, comments, likes.

mod commands;
mod queries;
mod tree;
mod view;

pub use queries::{ListPosts, comments, get as post, list as posts};

use domain::comment::Comment;
use domain::post::Post;
use domain::reaction::Reaction;
use projections::{Projection, Scope};
use serde_json::Value;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use crate::answer::Served;
use crate::app::App;
use crate::auth::Caller;
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().merge(commands::router()).merge(queries::router())
}

const PROJECTION: &str = projections::post::Posts::NAME;

impl Served for Post {
    const COLLECTION: &'static str = "/api/posts";

    async fn represent(
        app: &App,
        caller: &Caller,
        id: Uuid,
        position: u64,
        deadline: Instant,
    ) -> Result<Option<Value>, Problem> {
        let models = app.models(&caller.actor);
        let query = || projections::post::by_id(&models, id, caller.id());
        let (row, _) = app.positions().read(PROJECTION, Scope::Key(id), position, deadline, query).await?;
        let post = view::posts(app, &models, row.into_iter().collect()).await?.pop();
        Ok(post.and_then(|post| serde_json::to_value(post).ok()))
    }
}

impl Served for Comment {
    const COLLECTION: &'static str = "/api/comments";

    async fn represent(
        app: &App,
        caller: &Caller,
        id: Uuid,
        position: u64,
        deadline: Instant,
    ) -> Result<Option<Value>, Problem> {
        let models = app.models(&caller.actor);
        let query = || projections::post::comment(&models, id);
        let (row, _) = app.positions().read(PROJECTION, Scope::All, position, deadline, query).await?;
        let comment = view::comments(app, &models, row.into_iter().collect()).await?.pop();
        Ok(comment.and_then(|comment| serde_json::to_value(comment).ok()))
    }
}

impl Served for Reaction {
    const COLLECTION: &'static str = "/api/posts";

    /// A like shows on its post, and is no resource of its own.
    async fn represent(_: &App, _: &Caller, _: Uuid, _: u64, _: Instant) -> Result<Option<Value>, Problem> {
        Ok(None)
    }
}
