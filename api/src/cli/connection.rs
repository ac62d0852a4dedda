//! The servers that a process works with, and its way into the log.

use std::path::PathBuf;
use std::time::Duration;

use event_store::{Database, EventStore};
use rand::random_range;

use super::CliError;
use crate::config::{self, Config, nats_options};
use crate::embedded::{Attached, Embedded, EmbeddedOptions};

/// The longest pause between two attempts to reach the bus.
const RECONNECT_MOST: Duration = Duration::from_secs(1);

/// Whose servers to use when none are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    /// Our own, started now.
    Own,
    /// Those of the system that runs on the data directory.
    Attached,
}

/// A way to the servers.
pub struct Connection {
    /// The embedded servers, when this process has started them.
    pub embedded: Option<Embedded>,
    /// The database.
    pub database: Database,
    nats_url: String,
    master_key_file: PathBuf,
}

impl Connection {
    /// Connects to the servers that are given, or else to embedded ones.
    ///
    /// # Errors
    /// [`CliError`] when they do not start, are not found, or do not answer.
    pub async fn open(config: &Config, servers: Servers) -> Result<Self, CliError> {
        let (embedded, database_url, nats_url, master_key_file) = match (&config.servers, servers) {
            (config::Servers::Given { database_url, nats_url }, _) => {
                (None, database_url.expose().to_owned(), nats_url.expose().to_owned(), PathBuf::new())
            }
            (config::Servers::Embedded, Servers::Own) => {
                let options = EmbeddedOptions { data_dir: config.data_dir.clone(), durable: !config.unsafe_durability };
                let embedded = Embedded::start(options).await?;
                let file = embedded.master_key_file().to_owned();
                let urls = (embedded.database_url().to_owned(), embedded.nats_url().to_owned());
                (Some(embedded), urls.0, urls.1, file)
            }
            (config::Servers::Embedded, Servers::Attached) => {
                let attached = Attached::read(&config.data_dir)?;
                (None, attached.database_url, attached.nats_url, attached.master_key_file)
            }
        };
        let database = Database::connect(&database_url, config.database_connections).await?;
        Ok(Self { embedded, database, nats_url, master_key_file })
    }

    /// Opens a client of the bus. Returns at once: the server may be down now, and later, for ever.
    ///
    /// # Errors
    /// [`CliError::Nats`] when the address is none.
    pub async fn bus(&self) -> Result<async_nats::Client, CliError> {
        let malformed = || async_nats::ConnectError::from(async_nats::ConnectErrorKind::ServerParse);
        let (servers, options) = nats_options(&self.nats_url).ok_or_else(malformed)?;
        let options = options
            .name("capitune")
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(|attempt| {
                Duration::from_millis(10 << attempt.min(10)).min(RECONNECT_MOST).mul_f64(random_range(0.5..1.0))
            })
            .event_callback(|event| async move { tracing::debug!(%event, "nats") });
        Ok(options.connect(servers).await?)
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// [`CliError::Migrate`] when it cannot be.
    pub async fn migrate(&self) -> Result<(), CliError> {
        Ok(self.database.migrate().await?)
    }

    /// Opens the log.
    ///
    /// # Errors
    /// [`CliError`] when the database does not answer, or for another log's master key.
    pub async fn store(&self, config: &Config) -> Result<EventStore, CliError> {
        let key = config.master_key(&self.master_key_file)?;
        Ok(EventStore::open(&self.database, key.key()).await?)
    }
}
