//! The post: what a member tells the community.

mod commands;
mod error;
mod events;

use uuid::Uuid;

pub use commands::PostCommand;
pub use error::PostError;
pub use events::PostEvent;

use crate::access::{Actor, Denial, Resource, Role, can};
use crate::aggregate::Aggregate;
use crate::personal::Personal;
use crate::rejection::check_text;

/// The state of a post.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs)] // the fields are those of the events
pub enum Post {
    /// Not published yet.
    #[default]
    Absent,
    /// There for all members to read.
    Published { author: Uuid, body: Personal<String> },
    /// Deleted by its author.
    Deleted { author: Uuid },
}

impl Post {
    /// What the policy needs to know of it; nothing before it is published.
    pub fn resource(&self) -> Option<Resource> {
        match *self {
            Self::Absent => None,
            Self::Published { author, .. } => Some(Resource::Post { author, deleted: false }),
            Self::Deleted { author } => Some(Resource::Post { author, deleted: true }),
        }
    }
}

impl Aggregate for Post {
    const TYPE: &'static str = "post";
    type Command = PostCommand;
    type Event = PostEvent;
    type Error = PostError;

    fn authorize(&self, actor: &Actor, command: &PostCommand) -> Result<Role, Denial> {
        let resource = match (self.resource(), command) {
            (Some(resource), _) => resource,
            (None, PostCommand::Publish { author, .. }) => Resource::Post { author: *author, deleted: false },
            (None, _) => return Err(Denial::Hidden),
        };
        can(actor, command.action(), &resource)
    }

    fn decide(&self, command: PostCommand) -> Result<Vec<PostEvent>, PostError> {
        match (self, command) {
            (Self::Absent, PostCommand::Publish { author, organization, body, at }) => {
                let body = checked(author, body)?;
                Ok(vec![PostEvent::Published { author, organization, body, at }])
            }
            (_, PostCommand::Publish { .. }) => Err(PostError::AlreadyPublished),
            (Self::Published { author, body: from }, PostCommand::Edit { body, at }) => {
                let to = checked(*author, body)?;
                if *from == to {
                    return Ok(vec![]);
                }
                Ok(vec![PostEvent::Edited { from: from.clone(), to, at }])
            }
            (Self::Published { .. }, PostCommand::Delete { at }) => Ok(vec![PostEvent::Deleted { at }]),
            (Self::Absent | Self::Deleted { .. }, _) => Err(PostError::NotFound),
        }
    }

    fn apply(&mut self, event: &PostEvent) {
        match (&mut *self, event) {
            (_, PostEvent::Published { author, body, .. }) => {
                *self = Self::Published { author: *author, body: body.clone() };
            }
            (Self::Published { body, .. }, PostEvent::Edited { to, .. }) => *body = to.clone(),
            (Self::Published { author, .. }, PostEvent::Deleted { .. }) => {
                *self = Self::Deleted { author: *author };
            }
            (Self::Absent | Self::Deleted { .. }, _) => {}
        }
    }
}

fn checked(author: Uuid, body: String) -> Result<Personal<String>, PostError> {
    let mut errors = vec![];
    check_text(&mut errors, "/body", &body, 1, 10_000);
    if errors.is_empty() { Ok(Personal::new(author, body)) } else { Err(PostError::Invalid(errors)) }
}

#[cfg(test)]
mod tests;
