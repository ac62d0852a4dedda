//! The analyst's read model: figures about dossiers, accounts, the community and live events, and a feed of what changed.
//! Nothing personal.

mod feed;
mod live_events;
mod query;
mod read_model;
mod state;
mod tally;

pub use feed::{Change, Topic, changes};
pub use query::{AnalyticsGlance, ReadRow, StatusCount, glance, rows};
pub use read_model::{Asked, Cell, Column, Kind, READ_MODELS, ReadModel};

use std::time::Duration;

use domain::account::{Account, AccountEvent};
use domain::comment::{Comment, CommentEvent};
use domain::dossier::{Dossier, DossierEvent};
use domain::envelope::DecodeError;
use domain::live::{Live, LiveEvent};
use domain::post::{Post, PostEvent};
use domain::reaction::{Reaction, ReactionEvent};
use domain::{Aggregate, EventEnvelope};
use sqlx::PgConnection;

use crate::error::ProjectionError;
use crate::projection::{Applying, Pace, Projection, Recorded};
use tally::Tally;

/// The projection that keeps the tables of `analytics`.
pub struct Analytics;

/// What it follows.
pub enum Followed {
    /// A dossier's life.
    Dossier(DossierEvent),
    /// An account's life.
    Account(AccountEvent),
    /// A post's life.
    Post(PostEvent),
    /// A comment's life.
    Comment(CommentEvent),
    /// What somebody thinks of a post.
    Reaction(ReactionEvent),
    /// A live event's life.
    Live(LiveEvent),
}

impl Projection for Analytics {
    const NAME: &'static str = "analytics";
    const VERSION: i32 = 3;
    const PARTITIONS: i32 = 1;
    const SCHEMA: &'static str = "analytics";
    const SUMS: &'static [&'static str] = &[
        "status_days",
        "status_durations",
        "reviewer_decisions",
        "registration_days",
        "change_requests",
        "community_days",
    ];
    // Read by people who look at more than the last moment.
    const PACE: Pace = Pace { few: Duration::from_millis(50), many: Duration::from_millis(100) };
    type Event = Followed;

    fn interested(event: &EventEnvelope) -> bool {
        event.is::<Dossier>()
            || event.is::<Account>()
            || event.is::<Post>()
            || event.is::<Comment>()
            || event.is::<Reaction>()
            || event.is::<Live>()
    }

    fn decode(event: &EventEnvelope) -> Result<Followed, DecodeError> {
        match event.aggregate_type.as_str() {
            Dossier::TYPE => event.decode::<Dossier>().map(Followed::Dossier),
            Post::TYPE => event.decode::<Post>().map(Followed::Post),
            Comment::TYPE => event.decode::<Comment>().map(Followed::Comment),
            Reaction::TYPE => event.decode::<Reaction>().map(Followed::Reaction),
            Live::TYPE => event.decode::<Live>().map(Followed::Live),
            _ => event.decode::<Account>().map(Followed::Account),
        }
    }

    fn apply<'a>(batch: &'a [Recorded<Followed>], connection: &'a mut PgConnection) -> Applying<'a> {
        Box::pin(apply(batch, connection))
    }
}

async fn apply(batch: &[Recorded<Followed>], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let mut dossiers = state::load(batch, connection).await?;
    let mut live_events = live_events::load(batch, connection).await?;
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
            Followed::Post(PostEvent::Published { at, .. }) => tally.day(*at).posts += 1,
            Followed::Comment(CommentEvent::Written { at, .. }) => tally.day(*at).comments += 1,
            Followed::Post(_) | Followed::Comment(_) => {}
            Followed::Reaction(ReactionEvent::Liked { at, .. }) => tally.day(*at).likes += 1,
            Followed::Reaction(ReactionEvent::Unliked { at, .. }) => tally.day(*at).unlikes += 1,
            Followed::Live(event) => {
                let before = live_events.remove(&envelope.aggregate_id);
                let after = live_events::advance(before, envelope, event)?;
                live_events.insert(after.id, after);
            }
        }
    }
    state::write(dossiers.values(), connection).await?;
    live_events::write(live_events.values(), connection).await?;
    tally.write(connection).await
}
