//! The dossier's read model: what its owner, its pro and an auditor see of it.

mod query;
mod row;
pub(crate) mod status;
mod write;

pub use query::{
    DossierCursor, DossierFilter, DossierPage, DossierSort, Narrowing, Place, SortKey, Visible, by_id, list,
};
pub use row::{ChangeRequest, DecisionMade, DossierRow};

use domain::EventEnvelope;
use domain::dossier::{Dossier, DossierEvent};
use domain::envelope::DecodeError;
use sqlx::PgConnection;

use crate::projection::{Applying, Projection, Recorded};

/// The projection that keeps `dossier.dossiers`.
pub struct Dossiers;

impl Projection for Dossiers {
    const NAME: &'static str = "dossier";
    const VERSION: i32 = 1;
    const PARTITIONS: i32 = 8;
    const SCHEMA: &'static str = "dossier";
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
