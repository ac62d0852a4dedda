//! The live events' read model: what is announced, how many come, and who.

mod export;
mod fold;
mod query;
mod write;

pub use export::{RegistrationRow, registrations_of};
pub use query::{
    AttendeeCursor, AttendeePage, AttendeeRow, LiveCursor, LiveFilter, LivePage, LiveRow, Place, attendees, by_id, list,
};

use domain::EventEnvelope;
use domain::envelope::DecodeError;
use domain::live::{Live, LiveEvent};
use sqlx::PgConnection;

use crate::error::ProjectionError;
use crate::projection::{Applying, Projection, Recorded};
use fold::Programme;

/// The projection that keeps the tables of `live`.
pub struct Lives;

impl Projection for Lives {
    const NAME: &'static str = "live";
    const VERSION: i32 = 1;
    const PARTITIONS: i32 = 4;
    const SCHEMA: &'static str = "live";
    type Event = LiveEvent;

    fn interested(event: &EventEnvelope) -> bool {
        event.is::<Live>()
    }

    fn decode(event: &EventEnvelope) -> Result<LiveEvent, DecodeError> {
        event.decode::<Live>()
    }

    fn apply<'a>(batch: &'a [Recorded<LiveEvent>], connection: &'a mut PgConnection) -> Applying<'a> {
        Box::pin(apply(batch, connection))
    }
}

async fn apply(batch: &[Recorded<LiveEvent>], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut programme = Programme::load(batch, connection).await?;
    for Recorded { envelope, event } in batch {
        programme.advance(envelope, event)?;
    }
    write::write(&programme, connection).await
}
