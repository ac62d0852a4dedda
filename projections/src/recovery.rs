//! Recovery from a loss of the log's tail: finds out when streams and read models agree with the log again.

use std::time::Duration;

use event_store::{Database, EventStore};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::relay::RelayStatus;

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Waits for losses of the log's tail until `cancel`, and marks each as recovered once every checkpoint stands at an
/// event of the log and the process's relay, where it leads one, has compared the stream with the log again.
pub fn keep_recovering(
    store: &EventStore,
    database: &Database,
    relay: Option<watch::Receiver<RelayStatus>>,
    cancel: CancellationToken,
) -> JoinHandle<()> {
    let (store, reads) = (store.clone(), database.reads.clone());
    tokio::spawn(async move {
        cancel.run_until_cancelled(recover(store, reads, relay)).await;
    })
}

async fn recover(store: EventStore, reads: PgPool, relay: Option<watch::Receiver<RelayStatus>>) {
    let mut losses = store.continuity().subscribe();
    while losses.changed().await.is_ok() {
        let noticed = *losses.borrow_and_update();
        let compared = || relay.as_ref().is_none_or(|relay| has_compared(*relay.borrow(), noticed));
        while !compared() || !are_of_the_log(&reads).await {
            sleep(LOOK_EVERY).await;
        }
        if store.continuity().losses() == noticed {
            store.continuity().recovered();
            tracing::info!("streams and read models agree with the log again");
        }
    }
}

fn has_compared(relay: RelayStatus, losses: u64) -> bool {
    !relay.leading || relay.losses >= losses
}

/// Whether every checkpoint stands at an event of the log.
async fn are_of_the_log(reads: &PgPool) -> bool {
    let strange = "select exists (select from checkpoints c where c.position > 0 and not exists (
            select from events e where e.position = c.position and (c.event_id is null or c.event_id = e.event_id)))";
    matches!(sqlx::query_scalar(strange).fetch_one(reads).await, Ok(false))
}
