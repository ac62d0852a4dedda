//! Listening to a channel of Postgres, on a connection of its own, for as long as the process runs.

use std::time::Duration;

use event_store::Database;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;

/// Calls `heard` with each payload announced on `channel`. What is announced while the connection is down is lost:
/// whoever listens polls as well.
pub(crate) fn listen(
    database: &Database,
    channel: &'static str,
    cancel: CancellationToken,
    mut heard: impl FnMut(&str) + Send + 'static,
) -> JoinHandle<()> {
    let options = database.connect_options();
    tokio::spawn(async move {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let listening = async {
            loop {
                let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
                if let Err(error) = hear(&pool, channel, &mut heard, &mut backoff).await {
                    tracing::debug!(%error, channel, "listening was interrupted");
                }
                tokio::time::sleep(backoff.pause()).await;
            }
        };
        cancel.run_until_cancelled(listening).await;
    })
}

async fn hear(
    pool: &sqlx::PgPool,
    channel: &str,
    heard: &mut impl FnMut(&str),
    backoff: &mut Backoff,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    backoff.reset();
    loop {
        heard(listener.recv().await?.payload());
    }
}
