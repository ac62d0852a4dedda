//! Connections: pools with different promises, and the migrations.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool};

use crate::StoreError;

/// Every migration, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

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
    options: PgConnectOptions,
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
        let pool = || PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
        let reading = options.clone().options([("default_transaction_read_only", "on"), ("statement_timeout", "10s")]);
        let reads = pool().test_before_acquire(false).connect_with(reading.clone()).await?;
        // Lazily, since the first migration makes the role.
        let models = pool().test_before_acquire(false).connect_lazy_with(reading.options([("role", READER)]));
        let writes = pool()
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.execute("rollback").await?;
                    Ok(true)
                })
            })
            .connect_with(options.clone())
            .await?;
        Ok(Self { reads, models, writes, options })
    }

    /// How to open a connection of one's own, outside the pools.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Applies the migrations that are still to be applied, under a lock that other processes wait for.
    ///
    /// # Errors
    /// [`MigrateError`] when one fails or when an applied one was edited.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        MIGRATOR.run(&self.writes).await
    }
}
