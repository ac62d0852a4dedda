//! What Capitune decides, without any input or output: aggregates, their commands, domain events and
//! rules, the access policy, and the types that travel with a recorded event.

pub mod access;
pub mod account;
pub mod aggregate;
pub mod change;
pub mod comment;
pub mod dossier;
pub mod envelope;
pub mod live;
pub mod metadata;
pub mod organization;
pub mod personal;
pub mod post;
pub mod reaction;
pub mod rejection;
pub mod testing;

pub use access::{Action, Actor, Denial, Permission, Permissions, Resource, Role, Roles, can};
pub use aggregate::{Aggregate, Command, DomainEvent};
pub use change::Change;
pub use envelope::EventEnvelope;
pub use metadata::Metadata;
pub use personal::Personal;
pub use rejection::{FieldError, Rejection};

#[cfg(test)]
mod golden;
