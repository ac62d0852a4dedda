//! Announcing the checkpoints that this worker moved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event_store::Database;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::positions::{CHECKPOINTS, ReadPositions};

/// Announcements closer together than this are made once.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(2);
/// Partitions in one announcement, at most: Postgres limits its size.
const ANNOUNCED: usize = 128;

/// Tells this process and all others what this worker has reached.
#[derive(Clone)]
pub(crate) struct Announcer {
    positions: ReadPositions,
    pending: Arc<Pending>,
}

#[derive(Default)]
struct Pending {
    moved: Mutex<BTreeMap<(&'static str, i32), u64>>,
    wake: Notify,
}

impl Announcer {
    pub(crate) fn start(
        database: &Database,
        positions: ReadPositions,
        cancel: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let announcer = Self { positions, pending: Arc::default() };
        let pending = announcer.pending.clone();
        let options = database.connect_options().options([("synchronous_commit", "off")]);
        let task = tokio::spawn(async move {
            cancel.run_until_cancelled(pending.announce(options)).await;
        });
        (announcer, task)
    }

    pub(crate) fn moved(&self, projection: &'static str, partitions: &[i32], position: u64) {
        self.positions.raise(projection, partitions.iter().copied(), position);
        let mut moved = self.pending.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.extend(partitions.iter().map(|partition| ((projection, *partition), position)));
        drop(moved);
        self.pending.wake.notify_one();
    }
}

impl Pending {
    /// On a connection of its own: a `NOTIFY` inside a batch would take a lock on the whole database.
    async fn announce(&self, options: PgConnectOptions) {
        let mut connection: Option<PgConnection> = None;
        loop {
            self.wake.notified().await;
            let moved = std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner));
            let moved: Vec<_> =
                moved.into_iter().map(|((name, partition), position)| (name, partition, position)).collect();
            for announced in moved.chunks(ANNOUNCED) {
                if let Err(error) = announce(&options, &mut connection, announced).await {
                    // Readers poll as well; a lost announcement costs freshness only.
                    tracing::debug!(%error, "checkpoints could not be announced");
                    connection = None;
                }
            }
            sleep(ANNOUNCE_EVERY).await;
        }
    }
}

async fn announce(
    options: &PgConnectOptions,
    connection: &mut Option<PgConnection>,
    moved: &[(&str, i32, u64)],
) -> Result<(), sqlx::Error> {
    let open = match connection.take() {
        Some(open) => open,
        None => options.connect().await?,
    };
    let payload = serde_json::to_string(moved).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let open = connection.insert(open);
    sqlx::query("select pg_notify($1, $2)").bind(CHECKPOINTS).bind(payload).execute(open).await?;
    Ok(())
}
