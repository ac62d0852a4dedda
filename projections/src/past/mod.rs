//! The auditor's read model: which dossiers a list would have shown at any moment of the log.

mod query;
mod write;

pub use query::{Moment, PastCursor, PastFilter, PastPage, list};

use std::time::Duration;

use domain::EventEnvelope;
use domain::dossier::{Dossier, DossierEvent};
use domain::envelope::DecodeError;
use sqlx::PgConnection;

use crate::projection::{Applying, Pace, Projection, Recorded};

/// The projection that keeps `past.dossiers`.
pub struct Past;

impl Projection for Past {
    const NAME: &'static str = "past";
    const VERSION: i32 = 2;
    const PARTITIONS: i32 = 8;
    const SCHEMA: &'static str = "past";
    // Read by people who look at more than the last moment.
    const PACE: Pace = Pace { few: Duration::from_millis(50), many: Duration::from_millis(100) };
    type Event = DossierEvent;

    fn interested(event: &EventEnvelope) -> bool {
        event.is::<Dossier>()
    }

    fn decode(event: &EventEnvelope) -> Result<DossierEvent, DecodeError> {
        event.decode::<Dossier>()
    }

    fn apply<'a>(batch: &'a [Recorded<DossierEvent>], connection: &'a mut PgConnection) -> Applying<'a> {
        Box::pin(write::apply(batch, connection))
    }
}
