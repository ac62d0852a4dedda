//! Every projection, one line each.

use event_store::{Database, EventStore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::account::Accounts;
use crate::analytics::Analytics;
use crate::announcer::Announcer;
use crate::dossier::Dossiers;
use crate::failures::{self, Failure, Release, ReleaseError};
use crate::lease::Leases;
use crate::live::Lives;
use crate::mail::Mails;
use crate::organization::Organizations;
use crate::past::Past;
use crate::positions::ReadPositions;
use crate::post::Posts;
use crate::projection::Definition;
use crate::rebuild::verify::{Extent, Verified};
use crate::rebuild::{self, Progress, RebuildError, Rebuilt, Remade};
use crate::runtime::{self, Worker};
use crate::status;
use crate::subscription::Feed;
use crate::upkeep;

static ALL: [Definition; 8] = [
    Definition::of::<Dossiers>(),
    Definition::of::<Accounts>(),
    Definition::of::<Analytics>(),
    Definition::of::<Posts>(),
    Definition::of::<Lives>(),
    Definition::of::<Mails>(),
    Definition::of::<Organizations>(),
    Definition::of::<Past>(),
];

/// The names of all projections.
pub const NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut n = 0;
    while n < ALL.len() {
        names[n] = ALL[n].name;
        n += 1;
    }
    names
};

/// The number of partitions of each projection.
pub(crate) const PARTITIONS: [(&str, i32); ALL.len()] = {
    let mut partitions = [("", 0); ALL.len()];
    let mut n = 0;
    while n < ALL.len() {
        partitions[n] = (ALL[n].name, ALL[n].partitions);
        n += 1;
    }
    partitions
};

/// The projections that this process carries on.
pub struct Projections {
    tasks: Vec<JoinHandle<()>>,
}

impl Projections {
    /// Starts those of `names` that exist, until `cancel`. Several processes share their partitions out among them.
    pub fn start(
        names: &[&str],
        store: &EventStore,
        database: &Database,
        bus: async_nats::Client,
        positions: ReadPositions,
        cancel: CancellationToken,
    ) -> Self {
        let started: Vec<&'static Definition> =
            ALL.iter().filter(|definition| names.contains(&definition.name)).collect();
        // The leases outlive the projections, and are given up only when nobody writes under them any more.
        let released = CancellationToken::new();
        let leases = Leases::keep(database, &started, released.clone());
        let (feed, feeding) = Feed::start(store.clone(), bus, cancel.clone());
        let (announcer, announcing) = Announcer::start(database, positions, cancel.clone());
        let worker = Worker {
            id: leases.worker,
            store: store.clone(),
            database: database.clone(),
            feed,
            announcer,
            held: leases.held,
        };
        let names = started.iter().map(|definition| definition.name).collect();
        let (pool, reporting) = (database.reads.clone(), cancel.clone());
        let reporting = tokio::spawn(async move {
            reporting.run_until_cancelled(status::report(pool, names)).await;
        });
        let keeping = tokio::spawn(upkeep::run(started.clone(), store.clone(), database.clone(), cancel.clone()));
        let runners: Vec<_> = started
            .into_iter()
            .map(|definition| tokio::spawn(runtime::run(definition, worker.clone(), cancel.clone())))
            .collect();
        let releasing = tokio::spawn(async move {
            futures::future::join_all(runners).await;
            released.cancel();
        });
        Self { tasks: vec![feeding, announcing, reporting, keeping, releasing, leases.task] }
    }

    /// Resolves when all have stopped and given up their leases.
    pub async fn stopped(self) {
        futures::future::join_all(self.tasks).await;
    }
}

/// Rebuilds the projection of that name from the log while its old rows go on being read.
///
/// # Errors
/// [`RebuildError`]: the old rows stand.
pub async fn rebuild(
    name: &str,
    store: &EventStore,
    database: &Database,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Rebuilt, RebuildError> {
    let definition = definition(name).ok_or(RebuildError::Unknown)?;
    rebuild::run(definition, store, database, cancel, progress).await
}

/// Makes the rows of one aggregate anew, with those of all that shares its partition key: the comments of a post. Rows
/// that add up several aggregates stay as they are.
///
/// # Errors
/// [`RebuildError`]: the rows of before stand.
pub async fn rebuild_aggregate(
    name: &str,
    aggregate: Uuid,
    store: &EventStore,
    database: &Database,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Remade, RebuildError> {
    let definition = definition(name).ok_or(RebuildError::Unknown)?;
    rebuild::aggregate::run(definition, aggregate, store, database, cancel, progress).await
}

/// Compares the live rows of the projection of that name with what the log makes of them.
///
/// # Errors
/// [`RebuildError`] when that cannot be told; what drifted is no error but found.
pub async fn verify(
    name: &str,
    store: &EventStore,
    database: &Database,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Result<Verified, RebuildError> {
    let definition = definition(name).ok_or(RebuildError::Unknown)?;
    rebuild::verify::run(definition, store, database, Extent::Whole, cancel, progress).await
}

/// Puts the rows that the last rebuild replaced back in their place.
///
/// # Errors
/// [`RebuildError`]: the live rows stand.
pub async fn roll_back(name: &str, store: &EventStore, database: &Database) -> Result<Rebuilt, RebuildError> {
    let definition = definition(name).ok_or(RebuildError::Unknown)?;
    rebuild::roll_back(definition, store, database).await
}

fn definition(name: &str) -> Option<&'static Definition> {
    ALL.iter().find(|definition| definition.name == name)
}

/// Applies what the projection of that name holds back behind a failure. What fails then is told: the same event, or one
/// after it.
///
/// # Errors
/// [`ReleaseError`]: nothing was released.
pub async fn release(
    name: &str,
    failure: Uuid,
    release: Release,
    store: &EventStore,
    database: &Database,
) -> Result<Option<Failure>, ReleaseError> {
    let definition = definition(name).ok_or(ReleaseError::Unknown)?;
    failures::release(definition, failure, release, store, database).await
}
