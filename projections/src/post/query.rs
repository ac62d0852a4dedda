//! How the community is read. Every answer brings the checkpoint that its rows were read beside.

use chrono::{DateTime, Utc};
use domain::{Personal, Resource};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, QueryBuilder, Row};
use uuid::Uuid;

use super::Posts;
use crate::models::Models;
use crate::positions::{Reached, partition_of};
use crate::projection::Projection;
use crate::rows::{one, present};

/// A post as the API shows it; serialised, its text is still sealed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct PostRow {
    pub id: Uuid,
    pub author_id: Uuid,
    pub organization_id: Uuid,
    pub body: Personal<String>,
    pub likes: i64,
    pub comments: i64,
    /// Whether the reader likes it.
    pub liked: bool,
    pub version: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl PostRow {
    /// What the policy needs to know of it.
    pub fn resource(&self) -> Resource {
        Resource::Post { author: self.author_id, deleted: false }
    }
}

impl FromRow<'_, PgRow> for PostRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let body: Json<_> = row.try_get("body")?;
        Ok(Self {
            id: row.try_get("id")?,
            author_id: row.try_get("author_id")?,
            organization_id: row.try_get("organization_id")?,
            body: body.0,
            likes: row.try_get("likes")?,
            comments: row.try_get("comments")?,
            liked: row.try_get("liked")?,
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// A comment as the API shows it; a deleted one has no text any more.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct CommentRow {
    pub id: Uuid,
    pub post_id: Uuid,
    pub parent_id: Option<Uuid>,
    pub depth: i16,
    pub author_id: Uuid,
    pub body: Option<Personal<String>>,
    pub deleted: bool,
    pub version: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl CommentRow {
    /// What the policy needs to know of it.
    pub fn resource(&self) -> Resource {
        Resource::Comment { author: self.author_id, deleted: self.deleted }
    }
}

impl FromRow<'_, PgRow> for CommentRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let body: Option<Json<_>> = row.try_get("body")?;
        Ok(Self {
            id: row.try_get("id")?,
            post_id: row.try_get("post_id")?,
            parent_id: row.try_get("parent_id")?,
            depth: row.try_get("depth")?,
            author_id: row.try_get("author_id")?,
            deleted: body.is_none(),
            body: body.map(|json| json.0),
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// The order of a feed: the greatest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Feed {
    /// By the time of publication.
    Newest,
    /// By the number of likes.
    MostLiked,
    /// By the number of comments.
    MostDiscussed,
}

/// Where the next page of a feed begins: after the last row of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the last row's sort key and id
pub enum PostCursor {
    Newest(DateTime<Utc>, Uuid),
    MostLiked(i64, Uuid),
    MostDiscussed(i64, Uuid),
}

impl PostCursor {
    /// The feed that it continues.
    pub fn feed(&self) -> Feed {
        match self {
            Self::Newest(..) => Feed::Newest,
            Self::MostLiked(..) => Feed::MostLiked,
            Self::MostDiscussed(..) => Feed::MostDiscussed,
        }
    }
}

/// One page of a feed.
#[derive(Debug, Clone)]
pub struct PostPage {
    /// The rows.
    pub items: Vec<PostRow>,
    /// Where the next page begins, when there is one.
    pub next: Option<PostCursor>,
}

/// The post, unless it was deleted, and the checkpoint of its partition.
///
/// # Errors
/// When the database does not answer.
pub async fn by_id(models: &Models, id: Uuid, reader: Uuid) -> Result<(Option<PostRow>, Reached), sqlx::Error> {
    let row = sqlx::query(
        "select c.*, p.*,
                exists (select from post.likes l where l.post_id = p.id and l.user_id = $3) as liked
         from checkpoint_of('post', $2, $1) c
         left join post.posts p on p.id = $1 and p.body is not null",
    )
    .bind(id)
    .bind(partition_of(id, Posts::PARTITIONS))
    .bind(reader)
    .fetch_optional(models)
    .await?;
    one(row.as_ref())
}

/// One page of the posts, and the lowest checkpoint of all partitions. A cursor continues its own feed.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    models: &Models,
    feed: Feed,
    after: Option<PostCursor>,
    limit: u32,
    reader: Uuid,
) -> Result<(PostPage, Reached), sqlx::Error> {
    let feed = after.map_or(feed, |after| after.feed());
    let column = match feed {
        Feed::Newest => "created_at",
        Feed::MostLiked => "likes",
        Feed::MostDiscussed => "comments",
    };
    let mut query =
        QueryBuilder::new("select c.*, p.*, exists (select from post.likes l where l.post_id = p.id and l.user_id = ");
    query.push_bind(reader).push(
        ") as liked from checkpoint_of('post') c
         left join lateral (select * from post.posts where body is not null",
    );
    if let Some(after) = after {
        query.push(format!(" and ({column}, id) < ("));
        let id = match after {
            PostCursor::Newest(at, id) => query.push_bind(at).push(", ").push_bind(id),
            PostCursor::MostLiked(count, id) | PostCursor::MostDiscussed(count, id) => {
                query.push_bind(count).push(", ").push_bind(id)
            }
        };
        id.push(")");
    }
    query.push(format!(" order by {column} desc, id desc limit ")).push_bind(i64::from(limit) + 1);
    query.push(format!(") p on true order by p.{column} desc, p.id desc"));
    let (mut items, reached) = present::<PostRow>(&query.build().fetch_all(models).await?, "id")?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().filter(|_| more);
    let next = last.map(|row| match feed {
        Feed::Newest => PostCursor::Newest(row.created_at, row.id),
        Feed::MostLiked => PostCursor::MostLiked(row.likes, row.id),
        Feed::MostDiscussed => PostCursor::MostDiscussed(row.comments, row.id),
    });
    Ok((PostPage { items, next }, reached))
}

/// Where the next page of comments begins: after the last row of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommentCursor {
    /// When the last row was written.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// One page of comments.
#[derive(Debug, Clone)]
pub struct CommentPage {
    /// The rows, the oldest first.
    pub items: Vec<CommentRow>,
    /// Where the next page begins, when there is one.
    pub next: Option<CommentCursor>,
}

/// One page of a post's comments, the oldest first, and the checkpoint of the post's partition.
///
/// # Errors
/// When the database does not answer.
pub async fn comments(
    models: &Models,
    post: Uuid,
    after: Option<CommentCursor>,
    limit: u32,
) -> Result<(CommentPage, Reached), sqlx::Error> {
    let mut query = QueryBuilder::new("select c.*, m.* from checkpoint_of('post', ");
    query.push_bind(partition_of(post, Posts::PARTITIONS)).push(", ").push_bind(post);
    query.push(") c left join lateral (select * from post.comments where post_id = ").push_bind(post);
    if let Some(after) = after {
        query.push(" and (created_at, id) > (").push_bind(after.created_at);
        query.push(", ").push_bind(after.id).push(")");
    }
    query.push(" order by created_at, id limit ").push_bind(i64::from(limit) + 1);
    query.push(") m on true order by m.created_at, m.id");
    let (mut items, reached) = present::<CommentRow>(&query.build().fetch_all(models).await?, "id")?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().filter(|_| more);
    let next = last.map(|row| CommentCursor { created_at: row.created_at, id: row.id });
    Ok((CommentPage { items, next }, reached))
}

/// One comment, and the lowest checkpoint of all partitions: only the comment itself knows its post.
///
/// # Errors
/// When the database does not answer.
pub async fn comment(models: &Models, id: Uuid) -> Result<(Option<CommentRow>, Reached), sqlx::Error> {
    let row = sqlx::query(
        "select c.*, m.* from checkpoint_of('post') c
         left join post.comments m on m.id = $1",
    )
    .bind(id)
    .fetch_optional(models)
    .await?;
    one(row.as_ref())
}
