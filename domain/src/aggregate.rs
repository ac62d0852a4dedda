//! What an aggregate is: a state that decides and applies, and the domain events it emits.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use crate::access::{Actor, Denial, Role};
use crate::rejection::Rejection;

/// A consistency boundary: all its rules hold at every version of its stream.
///
/// `Default` is the state before the first event.
pub trait Aggregate: Clone + Default + Send + Sync + 'static {
    /// The stored name of the aggregate, part of every stream's identity; never renamed.
    const TYPE: &'static str;
    /// Its orders.
    type Command: Command;
    /// Its facts.
    type Event: DomainEvent;
    /// Its refusals.
    type Error: Rejection;

    /// Whether `actor` may give this command to the aggregate as it stands, and under which role.
    ///
    /// # Errors
    /// [`Denial::Hidden`] when the actor may not even know the aggregate, [`Denial::Forbidden`] otherwise.
    fn authorize(&self, actor: &Actor, command: &Self::Command) -> Result<Role, Denial>;

    /// Decides on a command; an empty list means that nothing had to change.
    ///
    /// # Errors
    /// The aggregate's own refusal, with the sentence and the code the caller sees.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Applies a fact. Facts cannot be refused.
    fn apply(&mut self, event: &Self::Event);

    /// The id whose events projections must see in order together with this stream's: the stream's own
    /// unless the aggregate belongs to another (a comment's and a like's is their post).
    fn partition_key(&self, id: Uuid) -> Uuid {
        id
    }
}

/// An order given to an aggregate.
pub trait Command: Clone + Debug + Send + Sync + 'static {
    /// Its name in the imperative, as recorded in the metadata of the events it caused: `SubmitDossier`.
    fn name(&self) -> &'static str;
}

/// A fact recorded in a stream. Serialised as `{"Variant": {…}}`, fields in camelCase.
pub trait DomainEvent: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stored type name: `DossierSubmitted`; never renamed.
    fn event_type(&self) -> &'static str;

    /// The version of this event's shape, from 1.
    fn schema_version(&self) -> u32 {
        1
    }

    /// Whether this build knows the stored type name at this schema version, as it is or by upcasting.
    fn knows(event_type: &str, schema_version: u32) -> bool;

    /// Brings an older payload to today's shape, for writer and reader alike.
    fn upcast(_event_type: &str, _schema_version: u32, payload: Value) -> Value {
        payload
    }

    /// The event that a stored payload holds, in today's shape.
    ///
    /// # Errors
    /// When the JSON is not of the shape that its type and schema version promise.
    fn decode(event_type: &str, schema_version: u32, payload: &str) -> Result<Self, serde_json::Error> {
        // Almost every event has today's shape, which needs no detour.
        if let Ok(event) = serde_json::from_str::<Self>(payload)
            && event.schema_version() == schema_version
        {
            return Ok(event);
        }
        let payload = Self::upcast(event_type, schema_version, serde_json::from_str(payload)?);
        serde_json::from_value(payload)
    }
}
