//! The analyst's read model: figures about dossiers and accounts, and a feed of what changed. Nothing personal.

mod query;
mod state;
mod tally;

pub use query::{
    AnalyticsGlance, Change, Decisions, StatusCount, StatusDay, StatusDuration, changes, decisions_by_reviewer, glance,
    status_days, status_durations,
};

use domain::EventEnvelope;
use domain::account::{Account, AccountEvent};
use domain::dossier::{Dossier, DossierEvent};
use domain::envelope::DecodeError;
use sqlx::PgConnection;

use crate::error::ProjectionError;
use crate::projection::{Applying, Projection, Recorded};
use tally::Tally;

/// The projection that keeps the tables of `analytics`.
pub struct Analytics;

/// What it follows.
pub enum Followed {
    /// A dossier's life.
    Dossier(DossierEvent),
    /// An account's life.
    Account(AccountEvent),
}

impl Projection for Analytics {
    const NAME: &'static str = "analytics";
    const VERSION: i32 = 1;
    const PARTITIONS: i32 = 1;
    const SCHEMA: &'static str = "analytics";
    type Event = Followed;

    fn interested(event: &EventEnvelope) -> bool {
        event.is::<Dossier>() || event.is::<Account>()
    }

    fn decode(event: &EventEnvelope) -> Result<Followed, DecodeError> {
        if event.is::<Dossier>() {
            return event.decode::<Dossier>().map(Followed::Dossier);
        }
        event.decode::<Account>().map(Followed::Account)
    }

    fn apply<'a>(batch: &'a [Recorded<Followed>], connection: &'a mut PgConnection) -> Applying<'a> {
        Box::pin(apply(batch, connection))
    }
}

async fn apply(batch: &[Recorded<Followed>], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut dossiers = state::load(batch, connection).await?;
    let mut tally = Tally::default();
    for Recorded { envelope, event } in batch {
        match event {
            Followed::Dossier(event) => {
                let before = dossiers.remove(&envelope.aggregate_id);
                let after = state::DossierState::advance(before.as_ref(), envelope, event)?;
                tally.count(before.as_ref(), &after, event);
                dossiers.insert(after.id, after);
            }
            Followed::Account(AccountEvent::Registered { at, .. }) => tally.registered(*at),
            Followed::Account(_) => {}
        }
    }
    state::write(dossiers.values(), connection).await?;
    tally.write(connection).await
}
