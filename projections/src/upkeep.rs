//! What workers do beside carrying projections on: rebuilds that were asked for on any node, verification in the
//! background, and doing away with rows that were kept long enough.

use std::time::Duration;

use event_store::{Database, EventStore};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::projection::Definition;
use crate::rebuild::verify::{self, Extent, Verified};
use crate::rebuild::{self, RebuildError};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Every projection is verified against a sample of the log once in so long.
const VERIFY_EVERY: &str = "24 hours";

/// Looks after these projections until `cancel`.
pub(crate) async fn run(
    definitions: Vec<&'static Definition>,
    store: EventStore,
    database: Database,
    cancel: CancellationToken,
) {
    let upkeep = Upkeep { definitions, store, database, cancel };
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while upkeep.cancel.run_until_cancelled(tick.tick()).await.is_some() {
        if let Err(error) = upkeep.look().await {
            tracing::debug!(%error, "nobody could look after the projections");
        }
    }
}

struct Upkeep {
    definitions: Vec<&'static Definition>,
    store: EventStore,
    database: Database,
    cancel: CancellationToken,
}

impl Upkeep {
    async fn look(&self) -> Result<(), sqlx::Error> {
        let names: Vec<&str> = self.definitions.iter().map(|definition| definition.name).collect();
        for definition in self.those(rebuild::requested(&self.database.reads, &names).await?) {
            let (store, database) = (&self.store, &self.database);
            told(definition, "rebuild", rebuild::run_asked(definition, store, database, &self.cancel).await);
        }
        for definition in self.those(due(&self.database.writes, &names).await?) {
            told(definition, "verification", self.verify(definition).await);
        }
        for definition in self.those(rebuild::outdated(&self.database.reads, &names).await?) {
            told(definition, "sweep", rebuild::sweep(definition, &self.database).await);
        }
        Ok(())
    }

    fn those(&self, names: Vec<String>) -> impl Iterator<Item = &'static Definition> {
        let those = self.definitions.iter().filter(move |definition| names.iter().any(|name| name == definition.name));
        those.copied().collect::<Vec<_>>().into_iter()
    }

    async fn verify(&self, definition: &'static Definition) -> Result<(), RebuildError> {
        let (store, database, quiet) = (&self.store, &self.database, |_, _| {});
        let verified = verify::run(definition, store, database, Extent::Sampled, &self.cancel, &quiet).await?;
        let Verified { position, rows, drifted, drifts } = verified;
        let drift = drifts.first().map(|drift| format!("{} {}", drift.table, drift.key));
        if let Some(drift) = &drift {
            tracing::error!(projection = definition.name, position, drifted, drift, "rows are not what the log says");
        }
        sqlx::query(
            "update projection_verifications set position = $2, rows = $3, drifted = $4, drift = $5,
                 verified_at = clock_timestamp()
             where projection = $1",
        )
        .bind(definition.name)
        .bind(position.cast_signed())
        .bind(rows.cast_signed())
        .bind(drifted.cast_signed())
        .bind(drift)
        .execute(&self.database.writes)
        .await?;
        Ok(())
    }
}

/// What somebody else is at, or was told to leave, is nothing to tell of.
fn told(definition: &Definition, what: &str, result: Result<(), RebuildError>) {
    match result {
        Ok(()) | Err(RebuildError::Running | RebuildError::Cancelled) => {}
        Err(error) => tracing::error!(projection = definition.name, %error, "the {what} came to nothing"),
    }
}

/// Those of these projections that nobody has verified for long.
async fn due(pool: &PgPool, names: &[&str]) -> Result<Vec<String>, sqlx::Error> {
    let due = format!(
        "with new as (
             insert into projection_verifications (projection, position, rows, drifted)
             select name, 0, 0, 0 from unnest($1::text[]) as name
             where not exists (select from projection_verifications where projection = name)
             on conflict do nothing)
         select projection from projection_verifications
         where projection = any($1) and verified_at < clock_timestamp() - interval '{VERIFY_EVERY}'"
    );
    sqlx::query_scalar(&due).bind(names).fetch_all(pool).await
}
