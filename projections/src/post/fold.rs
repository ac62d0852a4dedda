//! A batch of facts about posts, folded in memory upon the rows that stand.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};
use domain::comment::CommentEvent;
use domain::post::PostEvent;
use domain::reaction::ReactionEvent;
use domain::{EventEnvelope, Personal};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::Followed;
use crate::error::ProjectionError;
use crate::projection::Recorded;

/// A post's row; a deleted one has no body.
#[derive(sqlx::FromRow)]
pub(super) struct PostState {
    pub(super) id: Uuid,
    pub(super) author_id: Uuid,
    pub(super) organization_id: Uuid,
    pub(super) body: Option<Json<Personal<String>>>,
    pub(super) likes: i64,
    pub(super) comments: i64,
    pub(super) version: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

/// A comment's row; a deleted one has no body.
#[derive(sqlx::FromRow)]
pub(super) struct CommentState {
    pub(super) id: Uuid,
    pub(super) post_id: Uuid,
    pub(super) parent_id: Option<Uuid>,
    pub(super) depth: i16,
    pub(super) author_id: Uuid,
    pub(super) body: Option<Json<Personal<String>>>,
    pub(super) version: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

/// The rows that a batch touches, by id, and the likes that it sets or takes back.
pub(super) struct Community {
    pub(super) posts: BTreeMap<Uuid, PostState>,
    pub(super) comments: BTreeMap<Uuid, CommentState>,
    pub(super) likes: BTreeMap<(Uuid, Uuid), Option<DateTime<Utc>>>,
}

impl Community {
    pub(super) async fn load(
        batch: &[Recorded<Followed>],
        connection: &mut PgConnection,
    ) -> Result<Self, ProjectionError> {
        let mut posts = BTreeSet::new();
        let mut comments = BTreeSet::new();
        for Recorded { envelope, event } in batch {
            posts.insert(event.post(envelope.aggregate_id));
            if matches!(event, Followed::Comment(_)) && envelope.version > 1 {
                comments.insert(envelope.aggregate_id);
            }
        }
        let posts: Vec<PostState> = sqlx::query_as("select * from posts where id = any($1)")
            .bind(posts.into_iter().collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        let mut community = Self {
            posts: posts.into_iter().map(|post| (post.id, post)).collect(),
            comments: BTreeMap::new(),
            likes: BTreeMap::new(),
        };
        if !comments.is_empty() {
            let comments: Vec<CommentState> = sqlx::query_as("select * from comments where id = any($1)")
                .bind(comments.into_iter().collect::<Vec<_>>())
                .fetch_all(connection)
                .await?;
            community.comments = comments.into_iter().map(|comment| (comment.id, comment)).collect();
        }
        Ok(community)
    }

    pub(super) fn post(&mut self, envelope: &EventEnvelope, event: &PostEvent) -> Result<(), ProjectionError> {
        let id = envelope.aggregate_id;
        let standing = self.posts.get(&id).map_or(0, |post| post.version);
        follows(envelope, standing)?;
        match (self.posts.get_mut(&id), event) {
            (None, PostEvent::Published { author, organization, body, at }) => {
                let at = at.trunc_subsecs(6);
                let post = PostState {
                    id,
                    author_id: *author,
                    organization_id: *organization,
                    body: Some(Json(body.clone())),
                    likes: 0,
                    comments: 0,
                    version: 1,
                    created_at: at,
                    updated_at: at,
                };
                self.posts.insert(id, post);
            }
            (Some(post), event) => {
                post.version = envelope.version.cast_signed();
                match event {
                    PostEvent::Published { .. } => {}
                    PostEvent::Edited { to, at, .. } => {
                        (post.body, post.updated_at) = (Some(Json(to.clone())), at.trunc_subsecs(6));
                    }
                    PostEvent::Deleted { at } => (post.body, post.updated_at) = (None, at.trunc_subsecs(6)),
                }
            }
            (None, _) => return Err(misplaced(envelope, standing)),
        }
        Ok(())
    }

    pub(super) fn comment(&mut self, envelope: &EventEnvelope, event: &CommentEvent) -> Result<(), ProjectionError> {
        let id = envelope.aggregate_id;
        let standing = self.comments.get(&id).map_or(0, |comment| comment.version);
        follows(envelope, standing)?;
        match (self.comments.get_mut(&id), event) {
            (None, CommentEvent::Written { post, parent, depth, author, body, at }) => {
                let at = at.trunc_subsecs(6);
                let comment = CommentState {
                    id,
                    post_id: *post,
                    parent_id: *parent,
                    depth: i16::from(*depth),
                    author_id: *author,
                    body: Some(Json(body.clone())),
                    version: 1,
                    created_at: at,
                    updated_at: at,
                };
                self.comments.insert(id, comment);
                self.count(*post, |post| post.comments += 1);
            }
            (Some(comment), event) => {
                comment.version = envelope.version.cast_signed();
                match event {
                    CommentEvent::Written { .. } => {}
                    CommentEvent::Edited { to, at, .. } => {
                        (comment.body, comment.updated_at) = (Some(Json(to.clone())), at.trunc_subsecs(6));
                    }
                    CommentEvent::Deleted { post, at } => {
                        (comment.body, comment.updated_at) = (None, at.trunc_subsecs(6));
                        self.count(*post, |post| post.comments -= 1);
                    }
                }
            }
            (None, _) => return Err(misplaced(envelope, standing)),
        }
        Ok(())
    }

    /// A reaction's stream holds likes and their taking back by turns, so that each event counts for one.
    pub(super) fn reaction(&mut self, event: &ReactionEvent) {
        match *event {
            ReactionEvent::Liked { post, user, at } => {
                self.likes.insert((post, user), Some(at.trunc_subsecs(6)));
                self.count(post, |post| post.likes += 1);
            }
            ReactionEvent::Unliked { post, user, .. } => {
                self.likes.insert((post, user), None);
                self.count(post, |post| post.likes -= 1);
            }
        }
    }

    /// What is about a post that never was counts nowhere.
    fn count(&mut self, post: Uuid, change: impl FnOnce(&mut PostState)) {
        if let Some(post) = self.posts.get_mut(&post) {
            change(post);
        }
    }
}

fn follows(envelope: &EventEnvelope, standing: i64) -> Result<(), ProjectionError> {
    if envelope.version > standing.cast_unsigned() { Ok(()) } else { Err(misplaced(envelope, standing)) }
}

fn misplaced(envelope: &EventEnvelope, standing: i64) -> ProjectionError {
    let EventEnvelope { position, version, aggregate_type, .. } = envelope;
    ProjectionError::Poison(format!("position {position}: version {version} of a {aggregate_type} at {standing}"))
}
