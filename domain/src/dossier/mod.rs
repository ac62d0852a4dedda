//! The dossier: one application file, from its draft to its decision.

mod commands;
mod decide;
mod edit;
mod error;
mod events;
mod fields;
mod stage;

pub use commands::{ChangeReason, DossierCommand};
pub use edit::Content;
pub use error::DossierError;
pub use events::DossierEvent;
pub use fields::{FieldValue, MAX_BYTES, MAX_FIELDS, MAX_ITEMS, MAX_TEXT, Scalar};
pub use stage::{Decision, Origin, Stage, Status};

use crate::access::{Actor, Denial, Resource, Role, can};
use crate::aggregate::Aggregate;

/// The state of a dossier.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Dossier {
    /// Not created yet.
    #[default]
    Absent,
    /// Created: what it holds, and how far it has come.
    Created {
        /// What its owner wrote.
        content: Box<Content>,
        /// How often it was submitted.
        revision: u32,
        /// How far it has come.
        stage: Stage,
    },
}

impl Dossier {
    /// What the policy needs to know of it; nothing before its creation.
    pub fn resource(&self) -> Option<Resource> {
        let Self::Created { content, revision, stage } = self else {
            return None;
        };
        Some(Resource::Dossier {
            owner: content.owner,
            organization: content.organization,
            reviewer: stage.reviewer(),
            submitted: *revision > 0,
            discarded: *stage == Stage::Discarded,
        })
    }

    /// What its owner wrote; nothing before its creation.
    pub fn content(&self) -> Option<&Content> {
        match self {
            Self::Absent => None,
            Self::Created { content, .. } => Some(content),
        }
    }

    /// How far it has come; nothing before its creation.
    pub fn stage(&self) -> Option<&Stage> {
        match self {
            Self::Absent => None,
            Self::Created { stage, .. } => Some(stage),
        }
    }
}

impl Aggregate for Dossier {
    const TYPE: &'static str = "dossier";
    type Command = DossierCommand;
    type Event = DossierEvent;
    type Error = DossierError;

    fn authorize(&self, actor: &Actor, command: &DossierCommand) -> Result<Role, Denial> {
        let resource = match (self.resource(), command) {
            (Some(resource), _) => resource,
            (None, DossierCommand::Create { owner, organization, .. }) => Resource::Dossier {
                owner: *owner,
                organization: *organization,
                reviewer: None,
                submitted: false,
                discarded: false,
            },
            (None, _) => return Err(Denial::Hidden),
        };
        can(actor, command.action(), &resource)
    }

    fn decide(&self, command: DossierCommand) -> Result<Vec<DossierEvent>, DossierError> {
        match self {
            Self::Absent => decide::absent(command),
            Self::Created { content, revision, stage } => decide::created(content, *revision, stage, command),
        }
    }

    fn apply(&mut self, event: &DossierEvent) {
        match self {
            Self::Absent => {
                if let Some(content) = Content::created(event) {
                    let content = Box::new(content);
                    *self = Self::Created { content, revision: 0, stage: Stage::Draft };
                }
            }
            Self::Created { content, revision, stage } => {
                content.apply(event);
                if let DossierEvent::Submitted { revision: submitted, .. } = event {
                    *revision = *submitted;
                }
                *stage = stage.after(event);
            }
        }
    }
}

#[cfg(test)]
mod tests;
