//! The live event: a webinar with a number of seats, and those who registered for it.

mod commands;
mod details;
mod error;
mod events;
mod registrations;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use commands::LiveCommand;
pub use details::Details;
pub use error::LiveError;
pub use events::LiveEvent;
pub use registrations::{Place, Registrations};

use crate::access::{Actor, Denial, Resource, Role, can};
use crate::aggregate::Aggregate;
use crate::rejection::check_text;

/// The state of a live event.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Live {
    /// Not created yet.
    #[default]
    Absent,
    /// Created.
    Created(Box<Plan>),
}

/// What is known of a live event that was created.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The organisation that runs it.
    pub organization: Uuid,
    /// How far it has come.
    pub status: Status,
    /// What it is about, when, and for how many.
    pub details: Details,
    /// Who comes and who waits.
    pub registrations: Registrations,
}

/// How far a live event has come; upcoming, live and ended follow from the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Only its organisers see it.
    Draft,
    /// All see it and may register.
    Scheduled,
    /// It will not take place.
    Cancelled,
}

impl Status {
    /// Its name as clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Scheduled => "scheduled",
            Self::Cancelled => "cancelled",
        }
    }

    /// The organisers' commands that it allows, by the names that routes give them.
    pub fn allowed(self) -> &'static [&'static str] {
        match self {
            Self::Draft => &["edit", "publish"],
            Self::Scheduled => &["edit", "cancel"],
            Self::Cancelled => &[],
        }
    }
}

impl Live {
    /// What the policy needs to know of it; nothing before its creation.
    pub fn resource(&self) -> Option<Resource> {
        let plan = self.plan()?;
        let published = plan.status != Status::Draft;
        Some(Resource::Live { organization: plan.organization, published })
    }

    /// What is known of it; nothing before its creation.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Absent => None,
            Self::Created(plan) => Some(plan),
        }
    }
}

impl Aggregate for Live {
    const TYPE: &'static str = "event";
    type Command = LiveCommand;
    type Event = LiveEvent;
    type Error = LiveError;

    fn authorize(&self, actor: &Actor, command: &LiveCommand) -> Result<Role, Denial> {
        let resource = match (self.resource(), command) {
            (Some(resource), _) => resource,
            (None, LiveCommand::Create { organization, .. }) => {
                Resource::Live { organization: *organization, published: false }
            }
            (None, _) => return Err(Denial::Hidden),
        };
        can(actor, command.action(), &resource)
    }

    fn decide(&self, command: LiveCommand) -> Result<Vec<LiveEvent>, LiveError> {
        match (self, command) {
            (
                Self::Absent,
                LiveCommand::Create {
                    title,
                    description,
                    time_zone,
                    starts_at,
                    ends_at,
                    capacity,
                    stream_url,
                    organization,
                    by,
                    at,
                },
            ) => {
                let title = title.trim().to_owned();
                let details = Details { title, description, time_zone, starts_at, ends_at, capacity, stream_url };
                details.check()?;
                Ok(vec![LiveEvent::Created { organization, details, by, at }])
            }
            (Self::Absent, _) => Err(LiveError::NotFound),
            (Self::Created(plan), command) => plan.decide(command),
        }
    }

    fn apply(&mut self, event: &LiveEvent) {
        match (self, event) {
            (state @ Self::Absent, LiveEvent::Created { organization, details, .. }) => {
                *state = Self::Created(Box::new(Plan {
                    organization: *organization,
                    status: Status::Draft,
                    details: details.clone(),
                    registrations: Registrations::default(),
                }));
            }
            (Self::Absent, _) => {}
            (Self::Created(plan), event) => plan.apply(event),
        }
    }
}

impl Plan {
    fn decide(&self, command: LiveCommand) -> Result<Vec<LiveEvent>, LiveError> {
        match (self.status, command) {
            (Status::Draft, LiveCommand::Register { .. } | LiveCommand::Unregister { .. }) => Err(LiveError::NotFound),
            (_, LiveCommand::Register { user, at }) => self.register(user, at),
            (_, LiveCommand::Unregister { user, at }) => self.unregister(user, at),
            (Status::Draft | Status::Scheduled, command @ LiveCommand::Edit { .. }) => self.edit(command),
            (Status::Draft, LiveCommand::Publish { at }) => {
                self.not_ended(at)?;
                Ok(vec![LiveEvent::Published { at }])
            }
            (Status::Scheduled, LiveCommand::Cancel { reason, at }) => {
                self.not_ended(at)?;
                let mut errors = vec![];
                check_text(&mut errors, "/reason", &reason, 1, 5_000);
                if !errors.is_empty() {
                    return Err(LiveError::Invalid(errors));
                }
                Ok(vec![LiveEvent::Cancelled { reason, at }])
            }
            (from, command) => {
                let allowed = from.allowed().to_vec();
                Err(LiveError::InvalidTransition { from, command: command.slug(), allowed })
            }
        }
    }

    fn register(&self, user: Uuid, at: DateTime<Utc>) -> Result<Vec<LiveEvent>, LiveError> {
        if self.registrations.place(user).is_some() {
            return Ok(vec![]);
        }
        if self.status == Status::Cancelled {
            return Err(LiveError::Cancelled);
        }
        self.not_ended(at)?;
        Ok(vec![if self.registrations.free_seats(self.details.capacity) > 0 {
            LiveEvent::RegistrationConfirmed { user, at }
        } else {
            LiveEvent::RegistrationWaitlisted { user, at }
        }])
    }

    fn unregister(&self, user: Uuid, at: DateTime<Utc>) -> Result<Vec<LiveEvent>, LiveError> {
        let Some(place) = self.registrations.place(user) else {
            return Ok(vec![]);
        };
        self.not_ended(at)?;
        let mut events = vec![LiveEvent::RegistrationCancelled { user, at }];
        if place == Place::Confirmed {
            events.extend(self.registrations.promotions(1, at));
        }
        Ok(events)
    }

    fn edit(&self, command: LiveCommand) -> Result<Vec<LiveEvent>, LiveError> {
        let Some((event, details, at)) = self.details.edit(command)? else {
            return Ok(vec![]);
        };
        let confirmed = self.registrations.confirmed();
        if details.capacity.is_some_and(|capacity| (capacity as usize) < confirmed) {
            return Err(LiveError::CapacityBelowConfirmed { confirmed });
        }
        let free = self.registrations.free_seats(details.capacity);
        Ok([event].into_iter().chain(self.registrations.promotions(free, at)).collect())
    }

    fn not_ended(&self, at: DateTime<Utc>) -> Result<(), LiveError> {
        if at < self.details.ends_at { Ok(()) } else { Err(LiveError::Ended) }
    }

    fn apply(&mut self, event: &LiveEvent) {
        match event {
            LiveEvent::Created { .. } => {}
            LiveEvent::Edited { .. } => self.details.apply(event),
            LiveEvent::Published { .. } => self.status = Status::Scheduled,
            LiveEvent::Cancelled { .. } => {
                self.status = Status::Cancelled;
                self.registrations = Registrations::default();
            }
            LiveEvent::RegistrationConfirmed { user, .. } => self.registrations.confirm(*user),
            LiveEvent::RegistrationWaitlisted { user, .. } => self.registrations.wait(*user),
            LiveEvent::RegistrationCancelled { user, .. } => self.registrations.cancel(*user),
            LiveEvent::RegistrationsPromoted { users, .. } => {
                users.iter().for_each(|user| self.registrations.confirm(*user));
            }
        }
    }
}

#[cfg(test)]
mod tests;
