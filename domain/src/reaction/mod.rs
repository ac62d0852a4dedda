//! The reaction: one tiny stream per post and user, so that a much-liked post costs no more to like.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::{Action, Actor, Denial, Resource, Role, can};
use crate::aggregate::{Aggregate, Command, DomainEvent};
use crate::rejection::{Rejection, RejectionKind};

/// The id of the stream that holds what `user` thinks of `post`.
pub fn stream_id(post: Uuid, user: Uuid) -> Uuid {
    Uuid::new_v5(&post, user.as_bytes())
}

/// The state of a reaction.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs)] // the fields are those of the events
pub enum Reaction {
    /// The user never reacted.
    #[default]
    Absent,
    /// The user likes the post.
    Liked { post: Uuid, user: Uuid },
    /// The user no longer likes the post.
    Unliked { post: Uuid, user: Uuid },
}

/// An order to a reaction. `at` is the clock of the request.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs)] // the fields are those of the routes
pub enum ReactionCommand {
    /// Likes the post.
    Like { post: Uuid, user: Uuid, at: DateTime<Utc> },
    /// Takes the like back.
    Unlike { post: Uuid, user: Uuid, at: DateTime<Utc> },
}

/// A fact about a reaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
#[expect(missing_docs)] // the fields are those of the commands
pub enum ReactionEvent {
    /// The user likes the post.
    Liked { post: Uuid, user: Uuid, at: DateTime<Utc> },
    /// The user no longer likes the post.
    Unliked { post: Uuid, user: Uuid, at: DateTime<Utc> },
}

/// A refusal by a reaction: there are none, a like is a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReactionError {}

impl Aggregate for Reaction {
    const TYPE: &'static str = "reaction";
    type Command = ReactionCommand;
    type Event = ReactionEvent;
    type Error = ReactionError;

    fn authorize(&self, actor: &Actor, command: &ReactionCommand) -> Result<Role, Denial> {
        let user = match (self, command) {
            (Self::Liked { user, .. } | Self::Unliked { user, .. }, _) => *user,
            (Self::Absent, ReactionCommand::Like { user, .. }) => *user,
            (Self::Absent, ReactionCommand::Unlike { user, .. }) => *user,
        };
        can(actor, Action::React, &Resource::Reaction { user })
    }

    fn decide(&self, command: ReactionCommand) -> Result<Vec<ReactionEvent>, ReactionError> {
        Ok(match (self, command) {
            (Self::Liked { .. }, ReactionCommand::Like { .. }) => vec![],
            (_, ReactionCommand::Like { post, user, at }) => {
                vec![ReactionEvent::Liked { post, user, at }]
            }
            (Self::Liked { .. }, ReactionCommand::Unlike { post, user, at }) => {
                vec![ReactionEvent::Unliked { post, user, at }]
            }
            (_, ReactionCommand::Unlike { .. }) => vec![],
        })
    }

    fn apply(&mut self, event: &ReactionEvent) {
        *self = match *event {
            ReactionEvent::Liked { post, user, .. } => Self::Liked { post, user },
            ReactionEvent::Unliked { post, user, .. } => Self::Unliked { post, user },
        };
    }

    fn partition_key(&self, id: Uuid) -> Uuid {
        match *self {
            Self::Absent => id,
            Self::Liked { post, .. } | Self::Unliked { post, .. } => post,
        }
    }
}

impl Command for ReactionCommand {
    fn name(&self) -> &'static str {
        match self {
            Self::Like { .. } => "LikePost",
            Self::Unlike { .. } => "UnlikePost",
        }
    }
}

impl ReactionEvent {
    /// The stored names of all its variants.
    pub const TYPES: [&'static str; 2] = ["PostLiked", "PostUnliked"];
}

impl DomainEvent for ReactionEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Liked { .. } => "PostLiked",
            Self::Unliked { .. } => "PostUnliked",
        }
    }

    fn knows(event_type: &str, schema_version: u32) -> bool {
        schema_version == 1 && Self::TYPES.contains(&event_type)
    }
}

impl Rejection for ReactionError {
    fn code(&self) -> &'static str {
        match *self {}
    }

    fn french(&self) -> String {
        match *self {}
    }

    fn kind(&self) -> RejectionKind {
        match *self {}
    }
}

#[cfg(test)]
mod tests;
