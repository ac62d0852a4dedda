//! Posts with their authors and comments.

use async_graphql::{ComplexObject, Context, Enum, Object, Result, SimpleObject};
use axum::extract::State;
use chrono::{DateTime, Utc};
use projections::post::Feed;
use serde::Deserialize;
use uuid::Uuid;

use super::people::{Person, person};
use super::{GraphPage, LIST, LOOKUP, answered, asked, cost, found, limit, seen};
use crate::extract::{Id, NoParameters, Paging};
use crate::routes::post::{ListPosts, comments, post, posts};

/// A post.
#[derive(SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
#[graphql(complex)]
pub struct Post {
    id: Uuid,
    author_id: Uuid,
    organization_id: Uuid,
    /// Null once the author's account was erased.
    body: Option<String>,
    likes: i64,
    #[serde(rename = "comments")]
    comment_count: i64,
    /// Whether the reader likes it.
    liked: bool,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A comment.
#[derive(SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
#[graphql(complex)]
pub struct Comment {
    id: Uuid,
    /// The comment that it answers; null when it answers the post.
    parent_id: Option<Uuid>,
    /// 1 for an answer to the post, one more for each level below.
    depth: i32,
    author_id: Uuid,
    /// Null once it was deleted.
    body: Option<String>,
    deleted: bool,
    created_at: DateTime<Utc>,
}

#[ComplexObject]
impl Comment {
    /// Who wrote it.
    async fn author(&self, context: &Context<'_>) -> Result<Option<Person>> {
        person(context, self.author_id).await
    }
}

#[ComplexObject]
impl Post {
    /// Who wrote it.
    async fn author(&self, context: &Context<'_>) -> Result<Option<Person>> {
        person(context, self.author_id).await
    }

    /// What was said about it, the oldest first.
    #[graphql(complexity = "LOOKUP + cost(first, child_complexity)")]
    async fn comments(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<GraphPage<Comment>> {
        let asked = asked(context);
        let request = asked.query(Paging { limit: limit(first)?, cursor: after });
        let answer = answered(comments(State(asked.app.clone()), Id(self.id), request).await)?;
        asked.reached(answer.reached);
        GraphPage::of(answer.body)
    }
}

/// The orders of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
enum FeedOrder {
    Newest,
    MostLiked,
    MostDiscussed,
}

impl From<FeedOrder> for Feed {
    fn from(order: FeedOrder) -> Self {
        match order {
            FeedOrder::Newest => Self::Newest,
            FeedOrder::MostLiked => Self::MostLiked,
            FeedOrder::MostDiscussed => Self::MostDiscussed,
        }
    }
}

/// The part of the graph that is about the community.
#[derive(Default)]
pub struct Community;

#[Object]
impl Community {
    /// The posts of the community.
    #[graphql(complexity = "LIST + cost(first, child_complexity)")]
    async fn posts(
        &self,
        context: &Context<'_>,
        order: Option<FeedOrder>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<GraphPage<Post>> {
        let asked = asked(context);
        let parameters = ListPosts { sort: order.map(Feed::from), limit: limit(first)?, cursor: after };
        let answer = answered(posts(State(asked.app.clone()), asked.query(parameters)).await)?;
        asked.reached(answer.reached);
        GraphPage::of(answer.body)
    }

    /// One post; null when there is none.
    #[graphql(complexity = "LOOKUP + child_complexity")]
    async fn post(&self, context: &Context<'_>, id: Uuid) -> Result<Option<Post>> {
        let asked = asked(context);
        let answer = found(post(State(asked.app.clone()), Id(id), asked.query(NoParameters {})).await)?;
        let Some(answer) = answer else { return Ok(None) };
        asked.reached(answer.reached);
        seen(&answer.body).map(Some)
    }
}
