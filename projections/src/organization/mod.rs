//! The organisations' read model: what there is, and who belongs to it as what.

mod query;
mod write;

pub use query::{
    MemberCursor, MemberPage, MemberRow, MembershipCursor, OrganizationPage, OrganizationRow, by_id, list_of, members,
};

use domain::EventEnvelope;
use domain::envelope::DecodeError;
use domain::organization::{Organization, OrganizationEvent};
use sqlx::PgConnection;

use crate::projection::{Applying, Projection, Recorded};

/// The projection that keeps the tables of `organization`.
pub struct Organizations;

impl Projection for Organizations {
    const NAME: &'static str = "organization";
    const VERSION: i32 = 1;
    const PARTITIONS: i32 = 4;
    const SCHEMA: &'static str = "organization";
    type Event = OrganizationEvent;

    fn interested(event: &EventEnvelope) -> bool {
        event.is::<Organization>()
    }

    fn decode(event: &EventEnvelope) -> Result<OrganizationEvent, DecodeError> {
        event.decode::<Organization>()
    }

    fn apply<'a>(batch: &'a [Recorded<OrganizationEvent>], connection: &'a mut PgConnection) -> Applying<'a> {
        Box::pin(async move {
            for recorded in batch {
                write::apply(recorded, connection).await?;
            }
            Ok(())
        })
    }
}
