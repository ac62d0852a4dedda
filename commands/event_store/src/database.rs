//! Connections: pools with different promises, and the migrations.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgPool};

use crate::StoreError;

/// Every migration, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// Who writes: a role that owns nothing, and may only add to the log.
const APPLICATION: &str = "capitune_app";
/// Who reads the read models.
const READER: &str = "capitune_reader";
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The database, by its pools.
#[derive(Clone)]
pub struct Database {
    /// For queries. Its sessions are read-only, so a transaction that a hang-up leaves open cannot swallow a write.
    pub reads: PgPool,
    /// For read models, as a role that sees only what row-level security shows to a reader.
    pub models: PgPool,
    /// For transactions. Rolled back on return: sqlx 0.8 leaves a transaction open when `begin()` is cancelled, and
    /// would hand that connection to the next caller, whose acknowledged write would then vanish.
    pub writes: PgPool,
    application: PgConnectOptions,
    owner: PgConnectOptions,
}

impl Database {
    /// Connects to `url` with at most `connections` connections in each pool.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the URL is not one or the server does not answer.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)?.options([
            ("jit", "off"),
            ("plan_cache_mode", "force_generic_plan"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "10s"),
        ]);
        // Now, rather than with the first query: the URL may be wrong.
        options.connect().await?.close().await?;
        let pool = || PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
        let application = options.clone().options([("role", APPLICATION)]);
        let read_only = [("default_transaction_read_only", "on"), ("statement_timeout", "10s")];
        // Lazily, since migrations make the roles.
        let reading = application.clone().options(read_only);
        let reads = pool().test_before_acquire(false).connect_lazy_with(reading);
        let reading = options.clone().options(read_only).options([("role", READER)]);
        let models = pool().test_before_acquire(false).connect_lazy_with(reading);
        let writes = pool()
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.execute("rollback").await?;
                    Ok(true)
                })
            })
            .connect_lazy_with(application.clone());
        Ok(Self { reads, models, writes, application, owner: options })
    }

    /// How to open a connection of one's own, outside the pools.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.application.clone()
    }

    /// How to open a connection that may make and replace tables, as whoever the URL names.
    pub fn owner_options(&self) -> PgConnectOptions {
        self.owner.clone()
    }

    /// Applies the migrations that are still to be applied, under a lock that other processes wait for.
    ///
    /// # Errors
    /// [`MigrateError`] when one fails or when an applied one was edited.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let mut connection = self.owner.connect().await?;
        // Whoever may make no tables can work with those there are.
        if !is_up_to_date(&mut connection).await {
            MIGRATOR.run(&mut connection).await?;
        }
        connection.close().await?;
        Ok(())
    }
}

/// Whether exactly these migrations were applied.
async fn is_up_to_date(connection: &mut PgConnection) -> bool {
    let applied = "select version, checksum from _sqlx_migrations where success order by version";
    let applied: Result<Vec<(i64, Vec<u8>)>, _> = sqlx::query_as(applied).fetch_all(connection).await;
    let Ok(applied) = applied else { return false };
    let known = MIGRATOR.iter().map(|migration| (migration.version, migration.checksum.as_ref()));
    applied.iter().map(|(version, checksum)| (*version, checksum.as_slice())).eq(known)
}
