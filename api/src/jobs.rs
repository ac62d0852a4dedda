//! Rebuilds that were asked for over HTTP: they go on in the background, and tell how far they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use event_store::{Database, EventStore};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// How a rebuild is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rebuild {
    /// What became of it.
    pub status: RebuildStatus,
    /// Events applied so far.
    pub done: u64,
    /// Events to apply, as far as is known.
    pub total: u64,
}

/// What became of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RebuildStatus {
    /// It goes on.
    Running,
    /// The new rows have taken over.
    Finished,
    /// The old rows stand; the log of the process says why.
    Failed,
}

type Rebuilds = Arc<Mutex<BTreeMap<&'static str, Rebuild>>>;

/// The rebuilds that this process was asked for.
pub struct Jobs {
    store: EventStore,
    database: Database,
    stop: CancellationToken,
    rebuilds: Rebuilds,
}

impl Jobs {
    /// None yet.
    pub fn new(store: EventStore, database: Database, stop: CancellationToken) -> Self {
        Self { store, database, stop, rebuilds: Rebuilds::default() }
    }

    /// How the last rebuild of a projection is, when this process was asked for one.
    pub fn rebuild(&self, projection: &str) -> Option<Rebuild> {
        let rebuilds = self.rebuilds.lock().unwrap_or_else(PoisonError::into_inner);
        rebuilds.get(projection).cloned()
    }

    /// Starts to rebuild a projection, unless that goes on already; none when there is no such projection.
    pub fn start_rebuild(&self, projection: &str) -> Option<Rebuild> {
        let name = projections::NAMES.into_iter().find(|name| *name == projection)?;
        let started = Rebuild { status: RebuildStatus::Running, done: 0, total: 0 };
        let mut rebuilds = self.rebuilds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = rebuilds.get(name).filter(|rebuild| rebuild.status == RebuildStatus::Running) {
            return Some(running.clone());
        }
        rebuilds.insert(name, started.clone());
        drop(rebuilds);
        let (store, database, stop) = (self.store.clone(), self.database.clone(), self.stop.clone());
        let rebuilds = self.rebuilds.clone();
        tokio::spawn(async move {
            let progressed = rebuilds.clone();
            let progress = move |done, total| {
                update(&progressed, name, |rebuild| {
                    (rebuild.done, rebuild.total) = (done, total);
                })
            };
            let rebuilt = projections::rebuild(name, &store, &database, &stop, &progress).await;
            let status = match rebuilt {
                Ok(_) => RebuildStatus::Finished,
                Err(error) => {
                    tracing::error!(%error, projection = name, "a rebuild did not take over");
                    RebuildStatus::Failed
                }
            };
            update(&rebuilds, name, |rebuild| rebuild.status = status);
        });
        Some(started)
    }
}

fn update(rebuilds: &Rebuilds, name: &str, change: impl FnOnce(&mut Rebuild)) {
    let mut rebuilds = rebuilds.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(rebuild) = rebuilds.get_mut(name) {
        change(rebuild);
    }
}
