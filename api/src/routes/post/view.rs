//! Posts and comments as members see them.

use chrono::{DateTime, Utc};
use domain::Aggregate;
use domain::comment::Comment;
use domain::post::Post;
use event_store::StreamId;
use projections::Models;
use projections::post::{CommentRow, PostRow};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::account::names;
use crate::app::App;
use crate::problem::Problem;

/// A post.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Post)]
pub struct PostView {
    id: Uuid,
    author_id: Uuid,
    /// Null once the author's account was erased, as is the text.
    author_name: Option<String>,
    organization_id: Uuid,
    body: Option<String>,
    likes: i64,
    comments: i64,
    /// Whether the reader likes it.
    liked: bool,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl PostView {
    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// A comment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Comment)]
pub struct CommentView {
    id: Uuid,
    post_id: Uuid,
    /// The comment that it answers; null when it answers the post.
    parent_id: Option<Uuid>,
    /// 1 for an answer to the post, one more for each level below.
    depth: i16,
    author_id: Uuid,
    author_name: Option<String>,
    /// Null once it was deleted.
    body: Option<String>,
    deleted: bool,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The posts, opened.
///
/// # Errors
/// A 503 when keys or names cannot be read.
pub async fn posts(app: &App, models: &Models, rows: Vec<PostRow>) -> Result<Vec<PostView>, Problem> {
    let names = names(app, models, rows.iter().map(|row| row.author_id)).await?;
    let bodies = open(app, Post::TYPE, rows.iter().map(|row| (row.id, &row.body))).await?;
    let view = |(row, body): (PostRow, Option<String>)| PostView {
        id: row.id,
        author_id: row.author_id,
        author_name: names.get(&row.author_id).cloned(),
        organization_id: row.organization_id,
        body,
        likes: row.likes,
        comments: row.comments,
        liked: row.liked,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok(rows.into_iter().zip(bodies).map(view).collect())
}

/// The comments, opened.
///
/// # Errors
/// A 503 when keys or names cannot be read.
pub async fn comments(app: &App, models: &Models, rows: Vec<CommentRow>) -> Result<Vec<CommentView>, Problem> {
    let names = names(app, models, rows.iter().map(|row| row.author_id)).await?;
    let bodies = open(app, Comment::TYPE, rows.iter().map(|row| (row.id, &row.body))).await?;
    let view = |(row, body): (CommentRow, Option<String>)| CommentView {
        id: row.id,
        post_id: row.post_id,
        parent_id: row.parent_id,
        depth: row.depth,
        author_id: row.author_id,
        author_name: names.get(&row.author_id).cloned(),
        body,
        deleted: row.deleted,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok(rows.into_iter().zip(bodies).map(view).collect())
}

/// The texts of streams of one type.
async fn open<'a, T: Serialize + 'a>(
    app: &App,
    aggregate_type: &'static str,
    texts: impl Iterator<Item = (Uuid, &'a T)>,
) -> Result<Vec<Option<String>>, Problem> {
    let documents: Vec<(StreamId, &T)> = texts.map(|(id, text)| (StreamId { aggregate_type, id }, text)).collect();
    Ok(app.vault().reveal_as(&documents).await?)
}
