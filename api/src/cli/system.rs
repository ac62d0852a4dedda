//! A running process: its roles, its orderly start, its orderly end.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use event_store::audit::Sealer;
use event_store::{Database, EventStore};
use metrics_exporter_prometheus::PrometheusHandle;
use projections::mail::Mails;
use projections::{Projection, Projections, ReadPositions, Relay, keep_recovering};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Servers};
use super::{CliError, Ending, welcome};
use crate::analytics_exports::keep_making;
use crate::app::{App, Parts};
use crate::auth::{NewAdmin, ensure_first_admin};
use crate::config::{self, Config};
use crate::embedded::{Embedded, EmbeddedError};
use crate::erasure::Ledger;
use crate::invitations::{self, Invitations};
use crate::mail::{MailSender, Mailbox, Transport, keep_sending};
use crate::witnesses::Witnesses;
use crate::{erasure, routes, server, telemetry};

/// What a process does.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    api: bool,
    relay: bool,
    projections: Vec<&'static str>,
}

impl Roles {
    /// Everything.
    pub fn all() -> Self {
        Self { api: true, relay: true, projections: projections::NAMES.to_vec() }
    }

    /// Only the API.
    pub fn api() -> Self {
        Self { api: true, ..Self::default() }
    }

    /// Only the relay.
    pub fn relay() -> Self {
        Self { relay: true, ..Self::default() }
    }

    /// Only these projections, or all when none are named.
    ///
    /// # Errors
    /// [`CliError::UnknownProjection`] for one that does not exist.
    pub fn worker(names: &[String]) -> Result<Self, CliError> {
        let known = |name: &String| {
            let found = projections::NAMES.into_iter().find(|known| known == name);
            found.ok_or_else(|| CliError::UnknownProjection(name.clone()))
        };
        let named = names.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        let projections = if named.is_empty() { projections::NAMES.to_vec() } else { named };
        Ok(Self { projections, ..Self::default() })
    }
}

/// A process at work.
pub struct System {
    embedded: Option<Embedded>,
    relay: Option<Relay>,
    projections: Option<Projections>,
    /// What works behind the requests besides.
    helpers: Vec<JoinHandle<()>>,
    servers: Vec<JoinHandle<()>>,
    /// Ends what answers requests.
    stop: CancellationToken,
    /// Ends what works behind them.
    background: CancellationToken,
}

impl System {
    /// Starts the roles, and says where to find them.
    ///
    /// # Errors
    /// [`CliError`] for whatever keeps one of them from starting.
    pub async fn start(config: &Config, servers: Servers, roles: Roles) -> Result<Self, CliError> {
        let transport = transport(config)?;
        if config.require_verified_email && transport.is_none() {
            return Err(CliError::Unsupported(
                "CAPITUNE_REQUIRE_VERIFIED_EMAIL is true, but there is no way to send mail: set CAPITUNE_SMTP_URL",
            ));
        }
        let mut connection = Connection::open(config, servers).await?;
        connection.migrate().await?;
        let metrics = telemetry::metrics()?;
        let store = connection.store(config).await?;
        let bus = connection.bus().await?;
        let (stop, background) = (CancellationToken::new(), CancellationToken::new());
        let database = connection.database.clone();
        let positions = ReadPositions::start(&database, background.clone());
        let (replicas, cancel) = (config.nats_replicas, &background);
        let relay = roles.relay.then(|| Relay::start(store.clone(), &database, bus.clone(), replicas, cancel.clone()));
        let mut helpers = if roles.relay { seal(config, &store, &database, &background) } else { Vec::new() };
        helpers.push(keep_recovering(&store, &database, relay.as_ref().map(Relay::status), background.clone()));
        let mailbox = match &transport {
            Some(Transport::Mailbox(mailbox)) => Some(mailbox.clone()),
            _ => None,
        };
        if let Some(transport) = transport.filter(|_| roles.projections.contains(&Mails::NAME)) {
            let invitations = Invitations::new(database.writes.clone(), mailbox.clone());
            let sender = MailSender::new(&store, &database, invitations, transport, config);
            helpers.push(keep_sending(sender, background.clone()));
        }
        let projections = (!roles.projections.is_empty()).then(|| {
            let (bus, positions) = (bus.clone(), positions.clone());
            Projections::start(&roles.projections, &store, &database, bus, positions, background.clone())
        });
        let (embedded, servers) = (connection.embedded.take(), Vec::new());
        let mut system = Self { embedded, relay, projections, helpers, servers, stop, background };
        if let Some(address) = config.metrics_listen {
            let (listener, _) = listen(address).await?;
            system.serve(listener, metrics_router(metrics.clone()));
        }
        if roles.api {
            let (stop, metrics) = (system.stop.clone(), Some(metrics));
            let ledger = ledger(config, &store)?;
            let parts = Parts { database, store, positions, bus, metrics, mailbox, ledger, stop };
            let (address, admin) = system.serve_api(config, parts).await?;
            welcome::print(config, system.embedded.as_ref(), address, admin)?;
        }
        Ok(system)
    }

    async fn serve_api(&mut self, config: &Config, parts: Parts) -> Result<(SocketAddr, Option<NewAdmin>), CliError> {
        let app = App::open(config, parts).await?;
        let configured = config.admin.as_ref();
        let configured = configured.map(|admin| (admin.email.expose().to_owned(), admin.password.expose().to_owned()));
        erasure::agree_with_ledger(&app).await;
        // First: no admin is made by a start that cannot show the password.
        let (listener, address) = listen(config.listen).await?;
        let keep = |email: &str, password: &str| welcome::keep(self.embedded.as_ref(), email, password);
        let admin = ensure_first_admin(&app, configured, keep).await?;
        erasure::keep_finishing(&app);
        invitations::keep_forgetting(&app);
        keep_making(app.clone());
        app.auth().sessions.keep_swept(app.stop().clone());
        app.auth().guesses.keep_swept(app.stop().clone());
        app.auth().api_tokens.keep_swept(app.stop().clone());
        app.auth().tokens.keep_rotated(app.stop().clone());
        self.serve(listener, routes::router(app));
        Ok((address, admin))
    }

    fn serve(&mut self, listener: TcpListener, router: Router) {
        self.servers.push(tokio::spawn(server::serve(listener, router, self.stop.clone())));
    }

    /// Works until it is asked to end, or until an embedded server is lost; then ends in order.
    ///
    /// # Errors
    /// [`CliError`] when it did not end because it was asked to.
    pub async fn run(self, mut ending: Ending) -> Result<(), CliError> {
        let lost = tokio::select! {
            () = ending.asked() => None,
            lost = lost(self.embedded.as_ref()) => Some(lost),
        };
        // Who asks a second time does not want to wait.
        let impatient = tokio::spawn(async move {
            ending.asked().await;
            std::process::exit(130);
        });
        self.end().await;
        impatient.abort();
        lost.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Ends in order: what answers requests first, what works behind them then.
    pub async fn end(self) {
        tracing::info!("ending");
        self.stop.cancel();
        futures::future::join_all(self.servers).await;
        self.background.cancel();
        futures::future::join_all(self.helpers).await;
        if let Some(projections) = self.projections {
            projections.stopped().await;
        }
        if let Some(relay) = self.relay {
            relay.stopped().await;
        }
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// Whoever carries the log out seals it, too, and tells the witnesses.
fn seal(config: &Config, store: &EventStore, database: &Database, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let sealer = Sealer::new(store.clone()).run(stop.clone().cancelled_owned());
    let places = config.audit_witnesses.clone();
    let witnesses = Witnesses::new(store.clone(), database.writes.clone(), places).run(stop.clone());
    vec![tokio::spawn(sealer), tokio::spawn(witnesses)]
}

/// Where it is told who was erased, if it is; a place that is set and cannot be used is not as if none were.
fn ledger(config: &Config, store: &EventStore) -> Result<Option<Ledger>, CliError> {
    let Some(url) = &config.erasure_ledger else { return Ok(None) };
    let ledger = Ledger::open(url, store.log_id());
    let refused = CliError::Unsupported("CAPITUNE_ERASURE_LEDGER cannot be opened: is it a directory to write to?");
    ledger.map(Some).ok_or(refused)
}

/// How mail leaves, if it does.
fn transport(config: &Config) -> Result<Option<Transport>, CliError> {
    match (&config.smtp_url, &config.servers) {
        (Some(url), _) => Ok(Some(Transport::smtp(url.expose())?)),
        (None, config::Servers::Embedded) => {
            Ok(Some(Transport::Mailbox(Mailbox::beside(&config.data_dir, &config.public_url))))
        }
        (None, config::Servers::Given { .. }) => {
            tracing::warn!("no mail is sent: CAPITUNE_SMTP_URL is not set");
            Ok(None)
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), CliError> {
    let refused = |source| CliError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

fn metrics_router(metrics: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(move || async move { routes::prometheus(metrics.render()) }))
}

async fn lost(embedded: Option<&Embedded>) -> EmbeddedError {
    match embedded {
        Some(embedded) => embedded.exited().await,
        None => std::future::pending().await,
    }
}
