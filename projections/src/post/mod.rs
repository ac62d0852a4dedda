//! The community's read model: posts with their counts, comments, likes.

mod export;
mod fold;
mod query;
mod write;

pub use export::{LikeRow, comments_of, likes_of, posts_of};
pub use query::{
    CommentCursor, CommentPage, CommentRow, Feed, PostCursor, PostPage, PostRow, by_id, comment, comments, list,
};

use domain::EventEnvelope;
use domain::comment::{Comment, CommentEvent};
use domain::envelope::DecodeError;
use domain::post::{Post, PostEvent};
use domain::reaction::{Reaction, ReactionEvent};
use sqlx::PgConnection;

use crate::error::ProjectionError;
use crate::projection::{Applying, Projection, Recorded};
use fold::Community;

/// The projection that keeps the tables of `post`.
pub struct Posts;

/// What it follows.
pub enum Followed {
    /// A post's life.
    Post(PostEvent),
    /// A comment's life.
    Comment(CommentEvent),
    /// What a user thinks of a post.
    Reaction(ReactionEvent),
}

impl Followed {
    /// The post that the event of the stream `id` is about.
    fn post(&self, id: uuid::Uuid) -> uuid::Uuid {
        match self {
            Self::Post(_) => id,
            Self::Comment(
                CommentEvent::Written { post, .. }
                | CommentEvent::Edited { post, .. }
                | CommentEvent::Deleted { post, .. },
            )
            | Self::Reaction(ReactionEvent::Liked { post, .. } | ReactionEvent::Unliked { post, .. }) => *post,
        }
    }
}

impl Projection for Posts {
    const NAME: &'static str = "post";
    const VERSION: i32 = 1;
    const PARTITIONS: i32 = 4;
    const SCHEMA: &'static str = "post";
    type Event = Followed;

    fn interested(event: &EventEnvelope) -> bool {
        event.is::<Post>() || event.is::<Comment>() || event.is::<Reaction>()
    }

    fn decode(event: &EventEnvelope) -> Result<Followed, DecodeError> {
        if event.is::<Post>() {
            return event.decode::<Post>().map(Followed::Post);
        }
        if event.is::<Comment>() {
            return event.decode::<Comment>().map(Followed::Comment);
        }
        event.decode::<Reaction>().map(Followed::Reaction)
    }

    fn apply<'a>(batch: &'a [Recorded<Followed>], connection: &'a mut PgConnection) -> Applying<'a> {
        Box::pin(apply(batch, connection))
    }
}

async fn apply(batch: &[Recorded<Followed>], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut community = Community::load(batch, connection).await?;
    for Recorded { envelope, event } in batch {
        match event {
            Followed::Post(event) => community.post(envelope, event)?,
            Followed::Comment(event) => community.comment(envelope, event)?,
            Followed::Reaction(event) => community.reaction(event),
        }
    }
    write::write(&community, connection).await
}
