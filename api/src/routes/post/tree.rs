//! Where a new comment stands in the tree below its post.

use domain::comment::{Comment, CommentEvent};
use domain::{Aggregate, FieldError};
use event_store::{StoreError, StreamId};
use uuid::Uuid;

use crate::app::App;
use crate::problem::{Problem, codes};

/// How deep an answer to `parent`, or else to the post itself, is below the post.
///
/// # Errors
/// A 422 when the parent is no comment on this post, or none any more.
pub async fn depth(app: &App, post: Uuid, parent: Option<Uuid>) -> Result<u8, Problem> {
    let Some(id) = parent else { return Ok(1) };
    let (state, _) = app.commands().state::<Comment>(id).await?;
    if !matches!(state, Comment::Written { post: of, .. } if of == post) {
        let error = FieldError::new("/parentId", "field.invalid", "is no comment on this post");
        return Err(Problem::new(&codes::FIELD_INVALID).with_errors(vec![error]));
    }
    let stream = StreamId { aggregate_type: Comment::TYPE, id };
    let events = app.store().read_stream(stream, 0).await?;
    let written = events.first().map(|event| event.decode::<Comment>()).transpose();
    match written.map_err(|error| StoreError::Broken(error.to_string()))? {
        Some(CommentEvent::Written { depth, .. }) => Ok(depth.saturating_add(1)),
        _ => Err(StoreError::Broken(format!("comment {id} does not begin with its text")).into()),
    }
}
