//! What every handler can reach.

use std::sync::Arc;
use std::time::Duration;

use commands::Commands;
use domain::Actor;
use event_store::{Database, EventStore, Vault};
use metrics_exporter_prometheus::PrometheusHandle;
use projections::{Models, ReadPositions};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::accesses::Accesses;
use crate::admission::Admission;
use crate::analytics_exports::ExportPlace;
use crate::auth::{Auth, AuthError};
use crate::avatars::Avatars;
use crate::config::{AddressRange, Config};
use crate::cors::Origins;
use crate::erasure::Ledger;
use crate::invitations::Invitations;
use crate::mail::Mailbox;
use crate::rate_limit::Limiter;

/// The longest that a client may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The longest that a command may take.
const LONGEST_COMMAND: Duration = Duration::from_secs(10);

/// Tables that may be read at once.
const TABLES: usize = 8;

/// Streams that may be followed at once: each asks the database a few times a second while things change.
const STREAMS: usize = 64;

/// What every handler can reach. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

/// What an application is made of.
pub struct Parts {
    /// The database.
    pub database: Database,
    /// The log.
    pub store: EventStore,
    /// How far the read models are.
    pub positions: ReadPositions,
    /// The client of the bus.
    pub bus: async_nats::Client,
    /// Renders the metrics.
    pub metrics: Option<PrometheusHandle>,
    /// Where messages are kept that no server sends.
    pub mailbox: Option<Mailbox>,
    /// Where it is told outside the database who was erased.
    pub ledger: Option<Ledger>,
    /// Ends what goes on in the background.
    pub stop: CancellationToken,
}

struct Inner {
    parts: Parts,
    commands: Commands,
    accesses: Accesses,
    auth: Auth,
    avatars: Avatars,
    invitations: Invitations,
    health_pool: PgPool,
    body_limit: usize,
    request_timeout: Duration,
    trusted_proxies: Vec<AddressRange>,
    require_verified_email: bool,
    admission: Admission,
    tables: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    smallest_group: i64,
    exports: ExportPlace,
    limiter: Limiter,
    origins: Origins,
    unsafe_durability: bool,
    metrics_apart: bool,
}

impl App {
    /// An application of these parts.
    ///
    /// # Errors
    /// [`AuthError`] when signing does not work on this machine, or the store does not answer.
    pub async fn open(config: &Config, parts: Parts) -> Result<Self, AuthError> {
        let commands = Commands::new(parts.store.clone(), &parts.database);
        let auth = Auth::open(config, &parts.database, &parts.store, commands.clone()).await?;
        let limiter = Limiter::start(config.rate_limits, &parts.database, parts.stop.clone());
        let accesses = Accesses::start(&parts.database, parts.store.clone(), parts.stop.clone());
        let avatars = Avatars::new(&parts.database);
        let invitations = Invitations::new(parts.database.writes.clone(), parts.mailbox.clone());
        // Of its own: how busy the others are says nothing about Postgres.
        let health_pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(parts.database.connect_options());
        Ok(Self {
            inner: Arc::new(Inner {
                parts,
                commands,
                accesses,
                auth,
                avatars,
                invitations,
                health_pool,
                body_limit: config.body_limit,
                request_timeout: config.request_timeout,
                trusted_proxies: config.trusted_proxies.clone(),
                require_verified_email: config.require_verified_email,
                admission: Admission::new(config.max_requests),
                tables: Arc::new(Semaphore::new(TABLES)),
                streams: Arc::new(Semaphore::new(STREAMS)),
                smallest_group: i64::from(config.smallest_group),
                exports: ExportPlace::at(config.exports.clone()),
                limiter,
                origins: Origins::new(config.cors_origins.clone()),
                unsafe_durability: config.unsafe_durability,
                metrics_apart: config.metrics_listen.is_some(),
            }),
        })
    }

    /// Executes commands.
    pub fn commands(&self) -> &Commands {
        &self.inner.commands
    }

    /// Records who gets at what.
    pub fn accesses(&self) -> &Accesses {
        &self.inner.accesses
    }

    /// Knows callers.
    pub fn auth(&self) -> &Auth {
        &self.inner.auth
    }

    /// What people show of themselves.
    pub fn avatars(&self) -> &Avatars {
        &self.inner.avatars
    }

    /// Who is invited to organisations.
    pub fn invitations(&self) -> &Invitations {
        &self.inner.invitations
    }

    /// The log.
    pub fn store(&self) -> &EventStore {
        &self.inner.parts.store
    }

    /// Seals and opens what is personal.
    pub fn vault(&self) -> &Vault {
        self.inner.parts.store.vault()
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.inner.parts.database
    }

    /// How many tables may be read at once; reading one takes a permit.
    pub fn tables(&self) -> Arc<Semaphore> {
        self.inner.tables.clone()
    }

    /// How many streams may be followed at once; following one takes a permit.
    pub fn streams(&self) -> Arc<Semaphore> {
        self.inner.streams.clone()
    }

    /// Where exports are kept.
    pub fn exports(&self) -> &ExportPlace {
        &self.inner.exports
    }

    /// Where it is told outside the database who was erased.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.inner.parts.ledger.as_ref()
    }

    /// How many the smallest group has that is shown.
    pub fn smallest_group(&self) -> i64 {
        self.inner.smallest_group
    }

    /// Connections for queries.
    pub fn reads(&self) -> &PgPool {
        &self.inner.parts.database.reads
    }

    /// The read models, as `reader` sees them.
    pub fn models(&self, reader: &Actor) -> Models {
        Models::new(&self.inner.parts.database, reader)
    }

    /// Connections for what is written beside the log.
    pub fn writes(&self) -> &PgPool {
        &self.inner.parts.database.writes
    }

    /// How far the read models are.
    pub fn positions(&self) -> &ReadPositions {
        &self.inner.parts.positions
    }

    /// The client of the bus.
    pub fn bus(&self) -> &async_nats::Client {
        &self.inner.parts.bus
    }

    /// A connection for questions about Postgres itself.
    pub fn health_pool(&self) -> &PgPool {
        &self.inner.health_pool
    }

    /// Ends when the process is to stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.inner.parts.stop
    }

    /// Renders the metrics.
    pub fn metrics(&self) -> Option<&PrometheusHandle> {
        self.inner.parts.metrics.as_ref()
    }

    /// Whether the metrics have a listener of their own.
    pub fn metrics_apart(&self) -> bool {
        self.inner.metrics_apart
    }

    /// The longest body, in bytes.
    pub fn body_limit(&self) -> usize {
        self.inner.body_limit
    }

    /// How long a request may take.
    pub fn request_timeout(&self) -> Duration {
        self.inner.request_timeout
    }

    /// The longest that a request may wait for something to happen, and still be answered in time.
    pub fn longest_wait(&self) -> Duration {
        LONGEST_WAIT.min(self.inner.request_timeout.saturating_sub(Duration::from_secs(1)))
    }

    /// How long a command may take: its outcome is told before its request is given up.
    pub fn command_timeout(&self) -> Duration {
        LONGEST_COMMAND.min(self.inner.request_timeout.mul_f64(0.8))
    }

    /// The proxies whose forwarded headers count.
    pub fn trusted_proxies(&self) -> &[AddressRange] {
        &self.inner.trusted_proxies
    }

    /// Whether an account can be used only once its address is verified.
    pub fn requires_verified_email(&self) -> bool {
        self.inner.require_verified_email
    }

    /// Where messages are kept that no server sends.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.inner.parts.mailbox.as_ref()
    }

    /// Lets in as many requests at once as can be served.
    pub fn admission(&self) -> &Admission {
        &self.inner.admission
    }

    /// Counts requests.
    pub fn limiter(&self) -> &Limiter {
        &self.inner.limiter
    }

    /// The origins whose pages may call from a browser.
    pub fn origins(&self) -> &Origins {
        &self.inner.origins
    }

    /// Whether a Postgres that may lose commits is accepted.
    pub fn unsafe_durability(&self) -> bool {
        self.inner.unsafe_durability
    }
}
