//! The comment: an answer to a post or to another comment.

mod commands;
mod error;
mod events;

use uuid::Uuid;

pub use commands::CommentCommand;
pub use error::CommentError;
pub use events::CommentEvent;

use crate::access::{Actor, Denial, Resource, Role, can};
use crate::aggregate::Aggregate;
use crate::personal::Personal;
use crate::rejection::check_text;

/// How deep the tree below a post may be; a direct answer to the post has depth 1.
pub const MAX_DEPTH: u8 = 8;

/// The state of a comment.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs)] // the fields are those of the events
pub enum Comment {
    /// Not written yet.
    #[default]
    Absent,
    /// There for all members to read.
    Written { post: Uuid, author: Uuid, body: Personal<String> },
    /// Deleted by its author; its place in the tree stays.
    Deleted { post: Uuid, author: Uuid },
}

impl Comment {
    /// What the policy needs to know of it; nothing before it is written.
    pub fn resource(&self) -> Option<Resource> {
        match *self {
            Self::Absent => None,
            Self::Written { author, .. } => Some(Resource::Comment { author, deleted: false }),
            Self::Deleted { author, .. } => Some(Resource::Comment { author, deleted: true }),
        }
    }
}

impl Aggregate for Comment {
    const TYPE: &'static str = "comment";
    type Command = CommentCommand;
    type Event = CommentEvent;
    type Error = CommentError;

    fn authorize(&self, actor: &Actor, command: &CommentCommand) -> Result<Role, Denial> {
        let resource = match (self.resource(), command) {
            (Some(resource), _) => resource,
            (None, CommentCommand::Write { author, .. }) => Resource::Comment { author: *author, deleted: false },
            (None, _) => return Err(Denial::Hidden),
        };
        can(actor, command.action(), &resource)
    }

    fn decide(&self, command: CommentCommand) -> Result<Vec<CommentEvent>, CommentError> {
        match (self, command) {
            (Self::Absent, command @ CommentCommand::Write { .. }) => write(command),
            (_, CommentCommand::Write { .. }) => Err(CommentError::AlreadyWritten),
            (Self::Written { post, author, body: from }, CommentCommand::Edit { body, at }) => {
                let to = checked(*author, body)?;
                if *from == to {
                    return Ok(vec![]);
                }
                Ok(vec![CommentEvent::Edited { post: *post, from: from.clone(), to, at }])
            }
            (Self::Written { post, .. }, CommentCommand::Delete { at }) => {
                Ok(vec![CommentEvent::Deleted { post: *post, at }])
            }
            (Self::Absent | Self::Deleted { .. }, _) => Err(CommentError::NotFound),
        }
    }

    fn apply(&mut self, event: &CommentEvent) {
        match (&mut *self, event) {
            (_, CommentEvent::Written { post, author, body, .. }) => {
                *self = Self::Written { post: *post, author: *author, body: body.clone() };
            }
            (Self::Written { body, .. }, CommentEvent::Edited { to, .. }) => *body = to.clone(),
            (Self::Written { post, author, .. }, CommentEvent::Deleted { .. }) => {
                *self = Self::Deleted { post: *post, author: *author };
            }
            (Self::Absent | Self::Deleted { .. }, _) => {}
        }
    }

    fn partition_key(&self, id: Uuid) -> Uuid {
        match *self {
            Self::Absent => id,
            Self::Written { post, .. } | Self::Deleted { post, .. } => post,
        }
    }
}

fn write(command: CommentCommand) -> Result<Vec<CommentEvent>, CommentError> {
    let CommentCommand::Write { post, parent, depth, author, body, at } = command else {
        return Err(CommentError::NotFound);
    };
    if !(1..=MAX_DEPTH).contains(&depth) {
        return Err(CommentError::TooDeep);
    }
    let body = checked(author, body)?;
    Ok(vec![CommentEvent::Written { post, parent, depth, author, body, at }])
}

fn checked(author: Uuid, body: String) -> Result<Personal<String>, CommentError> {
    let mut errors = vec![];
    check_text(&mut errors, "/body", &body, 1, 5_000);
    if errors.is_empty() { Ok(Personal::new(author, body)) } else { Err(CommentError::Invalid(errors)) }
}

#[cfg(test)]
mod tests;
