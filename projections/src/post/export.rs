//! What one person wrote and liked, for their own copy of it; page by page, by id.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use crate::models::Models;

use super::query::{CommentRow, PostRow};

/// A like, as its user takes it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct LikeRow {
    pub post_id: Uuid,
    pub at: DateTime<Utc>,
}

/// The next posts of their author.
///
/// # Errors
/// When the database does not answer.
pub async fn posts_of(models: &Models, author: Uuid, after: Uuid, limit: u32) -> Result<Vec<PostRow>, sqlx::Error> {
    let query = "select p.*, exists (select from post.likes l where l.post_id = p.id and l.user_id = $1) as liked
                 from post.posts p where author_id = $1 and id > $2 and body is not null order by id limit $3";
    sqlx::query_as(query).bind(author).bind(after).bind(i64::from(limit)).fetch_all(models).await
}

/// The next comments of their author.
///
/// # Errors
/// When the database does not answer.
pub async fn comments_of(
    models: &Models,
    author: Uuid,
    after: Uuid,
    limit: u32,
) -> Result<Vec<CommentRow>, sqlx::Error> {
    let query = "select * from post.comments where author_id = $1 and id > $2 order by id limit $3";
    sqlx::query_as(query).bind(author).bind(after).bind(i64::from(limit)).fetch_all(models).await
}

/// The next likes of a user.
///
/// # Errors
/// When the database does not answer.
pub async fn likes_of(models: &Models, user: Uuid, after: Uuid, limit: u32) -> Result<Vec<LikeRow>, sqlx::Error> {
    let query =
        "select post_id, at from post.likes where user_id = $1 and post_id > $2 order by user_id, post_id limit $3";
    sqlx::query_as(query).bind(user).bind(after).bind(i64::from(limit)).fetch_all(models).await
}
