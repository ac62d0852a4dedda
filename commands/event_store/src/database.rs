//! Connections: pools with different promises, and the migrations.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgPool};
use tokio::time::sleep;

use crate::StoreError;

/// Every migration, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// Who writes: a role that owns nothing, and may only add to the log.
const APPLICATION: &str = "capitune_app";
/// Who reads the read models.
const READER: &str = "capitune_reader";
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the migrations are tried when a table that they change is in use, and how long others have it in between.
const MIGRATION_ATTEMPTS: u32 = 60;
const MIGRATION_PAUSE: Duration = Duration::from_secs(1);
/// The SQLSTATE of a lock that was waited for in vain.
const LOCK_NOT_AVAILABLE: &str = "55P03";

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

    /// Applies the migrations that are still to be applied, under a lock that other processes wait for. Whoever waits
    /// for a table that is in use lets those behind it pass every now and then.
    ///
    /// # Errors
    /// [`MigrateError`] when one fails, when an applied one was edited, or when a table is in use for minutes.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let mut attempt = 1;
        loop {
            match self.try_migrate().await {
                Err(error) if attempt < MIGRATION_ATTEMPTS && is_lock_timeout(&error) => {
                    tracing::warn!(attempt, "the migrations wait for a table that is in use");
                    sleep(MIGRATION_PAUSE).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn try_migrate(&self) -> Result<(), MigrateError> {
        let mut connection = self.owner.clone().options([("lock_timeout", "2s")]).connect().await?;
        // Whoever may make no tables can work with those there are.
        if !is_up_to_date(&mut connection).await {
            MIGRATOR.run(&mut connection).await?;
        }
        connection.close().await?;
        Ok(())
    }
}

/// Whether these migrations were applied; a newer build, which this one works beside, may have applied more.
async fn is_up_to_date(connection: &mut PgConnection) -> bool {
    let applied = "select version, checksum from _sqlx_migrations where success";
    let applied: Result<Vec<(i64, Vec<u8>)>, _> = sqlx::query_as(applied).fetch_all(connection).await;
    let Ok(applied) = applied else { return false };
    let applied: HashMap<i64, Vec<u8>> = applied.into_iter().collect();
    MIGRATOR.iter().all(|migration| applied.get(&migration.version).is_some_and(|sum| **sum == *migration.checksum))
}

fn is_lock_timeout(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(LOCK_NOT_AVAILABLE))
}
