//! The organisation: who belongs to it, as what, and what that allows.

mod charter;
mod commands;
mod error;
mod events;
mod role;

use chrono::TimeDelta;
use uuid::Uuid;

pub use charter::{Charter, Invitation};
pub use commands::{Kind, OrganizationCommand};
pub use error::OrganizationError;
pub use events::OrganizationEvent;
pub use role::MemberRole;

use crate::access::{Action, Actor, Denial, Permissions, Resource, Role, can};
use crate::aggregate::Aggregate;
use crate::rejection::check_text;

/// How long an invitation can be accepted.
pub const INVITED_FOR: TimeDelta = TimeDelta::days(14);

/// The state of an organisation.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Organization {
    /// Not created yet.
    #[default]
    Absent,
    /// Created.
    Created(Box<Charter>),
}

impl Organization {
    /// What is known of it; nothing before its creation.
    pub fn charter(&self) -> Option<&Charter> {
        match self {
            Self::Absent => None,
            Self::Created(charter) => Some(charter),
        }
    }

    /// What an account may do there; nothing for who is not a member.
    pub fn permissions_of(&self, account: Uuid) -> Option<Permissions> {
        self.charter().and_then(|charter| charter.permissions_of(account))
    }
}

impl Aggregate for Organization {
    const TYPE: &'static str = "organization";
    type Command = OrganizationCommand;
    type Event = OrganizationEvent;
    type Error = OrganizationError;

    fn authorize(&self, actor: &Actor, command: &OrganizationCommand) -> Result<Role, Denial> {
        use OrganizationCommand::*;
        let resource = Resource::Organization { membership: self.permissions_of(actor.id) };
        let action = match (self, command) {
            (_, Create { .. }) => Action::CreateOrganization,
            (Self::Absent, _) => return Err(Denial::Hidden),
            (Self::Created(charter), Accept { invitation, address, .. } | Decline { invitation, address, .. }) => {
                let addressee = charter.is_addressed(*invitation, address);
                return can(actor, Action::AnswerInvitation, &Resource::Invitation { addressee });
            }
            (_, Remove { user, .. } | Forget { user, .. }) if *user == actor.id => Action::LeaveOrganization,
            (_, Invite { .. } | Revoke { .. } | ChangeRole { .. } | Remove { .. } | Forget { .. }) => {
                Action::ManageMembers
            }
            (_, Edit { .. } | DefineRole { .. } | DeleteRole { .. }) => Action::EditOrganization,
        };
        can(actor, action, &resource)
    }

    fn decide(&self, command: OrganizationCommand) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        match (self, command) {
            (Self::Absent, OrganizationCommand::Create { name, kind, by, at }) => {
                let name = name.trim().to_owned();
                check_name(&name)?;
                Ok(vec![OrganizationEvent::Created { name, kind, by, at }])
            }
            (Self::Absent, _) => Err(OrganizationError::NotFound),
            (Self::Created(charter), command) => charter.decide(command),
        }
    }

    fn apply(&mut self, event: &OrganizationEvent) {
        match (self, event) {
            (state @ Self::Absent, OrganizationEvent::Created { name, kind, by, .. }) => {
                *state = Self::Created(Box::new(Charter::of(name.clone(), *kind, *by)));
            }
            (Self::Absent, _) => {}
            (Self::Created(charter), event) => charter.apply(event),
        }
    }
}

fn check_name(name: &str) -> Result<(), OrganizationError> {
    let mut errors = vec![];
    check_text(&mut errors, "/name", name, 1, 200);
    if errors.is_empty() { Ok(()) } else { Err(OrganizationError::Invalid(errors)) }
}

#[cfg(test)]
mod tests;
