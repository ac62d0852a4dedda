//! The settings of a process: read once at its start, from the environment and a configuration file.

mod address_range;
mod error;
mod master_key;
mod nats;
mod oidc_provider;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod web_origin;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;

pub use address_range::{AddressRange, NoAddressRange};
pub use error::ConfigError;
pub use master_key::MasterKey;
pub use nats::nats_options;
pub use oidc_provider::{GITHUB, OidcProvider, Protocol};
pub use settings::{SETTINGS, Setting, markdown};
pub use source::{EffectiveSetting, Origin};
pub use web_origin::{NoWebOrigin, WebOrigin};

use source::Source;

use crate::mail::{Transport, is_here};
use crate::witnesses::Place;

/// Every setting of a process, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// A listener of its own for the metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// Where the embedded servers keep their data.
    pub data_dir: PathBuf,
    /// The Postgres and the nats-server to use.
    pub servers: Servers,
    /// How many nats-servers keep the stream, when a number is set.
    pub nats_replicas: Option<usize>,
    /// The most connections to Postgres that requests use.
    pub database_connections: u32,
    /// The master key, when one is given; it always is with servers that are given.
    pub master_key: Option<MasterKey>,
    /// The first administrator.
    pub admin: Option<FirstAdmin>,
    /// Whether an account can be used only once its address is verified.
    pub require_verified_email: bool,
    /// The SMTP server that mail is sent by.
    pub smtp_url: Option<Secret>,
    /// In whose name mail is sent.
    pub mail_from: lettre::message::Mailbox,
    /// Where links in mail lead to.
    pub public_url: String,
    /// Where people may log in besides here.
    pub oidc_providers: Vec<OidcProvider>,
    /// Where signed tree heads are kept outside the database.
    pub audit_witnesses: Vec<Place>,
    /// How many requests are accepted.
    pub rate_limits: RateLimits,
    /// The proxies whose forwarded headers count.
    pub trusted_proxies: Vec<AddressRange>,
    /// The origins whose pages may call from a browser.
    pub cors_origins: Vec<WebOrigin>,
    /// The most requests in progress at once.
    pub max_requests: usize,
    /// Where analysts' exports are kept.
    pub exports: Url,
    /// Where it is told outside the database who was erased.
    pub erasure_ledger: Option<Url>,
    /// How many the smallest group has that analysts are shown a figure of.
    pub smallest_group: u32,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// The longest body of a request, in bytes.
    pub body_limit: usize,
    /// What is logged.
    pub log: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Whether a Postgres that may lose commits in a power loss is accepted.
    pub unsafe_durability: bool,
}

/// The Postgres and the nats-server to use.
#[derive(Debug, Clone)]
pub enum Servers {
    /// Our own, in the data directory.
    Embedded,
    /// Those that are given.
    Given {
        /// The URL of Postgres.
        database_url: Secret,
        /// The URLs of the nats-servers, separated by commas.
        nats_url: Secret,
    },
}

/// The first administrator, made at the start when missing.
#[derive(Debug, Clone)]
pub struct FirstAdmin {
    /// The address to log in with.
    pub email: Secret,
    /// The password to log in with.
    pub password: Secret,
}

/// How many requests are accepted; 0 stands for any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// To the authentication routes, per minute and client address.
    pub auth: u32,
    /// To every other route, per minute and user.
    pub general: u32,
    /// Uploads, per second and user.
    pub upload: u32,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object per line.
    Json,
}

/// A text that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Config {
    /// Reads the settings of this process.
    ///
    /// # Errors
    ///
    /// For a setting that is unknown, not accepted, or missing beside another.
    pub fn load() -> Result<Self, ConfigError> {
        Self::from_source(&source()?)
    }

    /// The settings as they were given, secrets masked, whether or not a process would start with them.
    ///
    /// # Errors
    ///
    /// For a setting that is unknown.
    pub fn effective() -> Result<Vec<EffectiveSetting>, ConfigError> {
        let mut settings = source()?.effective();
        for shown in &mut settings {
            if shown.setting.name == settings::DATA_DIR.name && shown.origin == Origin::Default {
                shown.value = default_data_dir().to_owned();
            }
        }
        Ok(settings)
    }

    /// The master key that counts: the one given, or else the embedded system's own, made when missing.
    ///
    /// # Errors
    ///
    /// When the embedded system's file cannot be read or made.
    pub fn master_key(&self, own_file: &Path) -> Result<MasterKey, ConfigError> {
        self.master_key.clone().map_or_else(|| MasterKey::read_or_create(own_file), Ok)
    }

    fn from_source(source: &Source) -> Result<Self, ConfigError> {
        let servers = servers(source)?;
        Ok(Self {
            listen: source.required(&settings::LISTEN, parsed)?,
            metrics_listen: source.optional(&settings::METRICS_LISTEN, parsed)?,
            data_dir: data_dir(source),
            master_key: master_key(source, &servers)?,
            servers,
            nats_replicas: source.optional(&settings::NATS_REPLICAS, |text| within(text, 1, 5))?,
            database_connections: source.required(&settings::DATABASE_CONNECTIONS, |text| within(text, 1, 10_000))?,
            admin: admin(source)?,
            require_verified_email: source.required(&settings::REQUIRE_VERIFIED_EMAIL, parsed)?,
            smtp_url: source.optional(&settings::SMTP_URL, smtp_url)?,
            mail_from: source.required(&settings::MAIL_FROM, parsed)?,
            public_url: source.required(&settings::PUBLIC_URL, public_url)?,
            oidc_providers: source.optional(&settings::OIDC_PROVIDERS, OidcProvider::parse_all)?.unwrap_or_default(),
            audit_witnesses: source.optional(&settings::AUDIT_WITNESSES, Place::parse_all)?.unwrap_or_default(),
            rate_limits: RateLimits {
                auth: source.required(&settings::RATE_LIMIT_AUTH, parsed)?,
                general: source.required(&settings::RATE_LIMIT_GENERAL, parsed)?,
                upload: source.required(&settings::RATE_LIMIT_UPLOAD, parsed)?,
            },
            trusted_proxies: source.optional(&settings::TRUSTED_PROXIES, list)?.unwrap_or_default(),
            cors_origins: source.optional(&settings::CORS_ORIGINS, list)?.unwrap_or_default(),
            max_requests: source.required(&settings::MAX_REQUESTS, |text| within(text, 1, 1_000_000))?,
            erasure_ledger: source.optional(&settings::ERASURE_LEDGER, place)?,
            exports: source.optional(&settings::EXPORTS, place)?.map_or_else(|| exports_in(&data_dir(source)), Ok)?,
            smallest_group: source.required(&settings::SMALLEST_GROUP, |text| within(text, 1, 1_000))?,
            request_timeout: source
                .required(&settings::REQUEST_TIMEOUT, |text| within(text, 1, 3600))
                .map(Duration::from_secs)?,
            body_limit: source.required(&settings::BODY_LIMIT, |text| within(text, 1024, 1 << 30))?,
            log: source.required(&settings::LOG, log_filter)?,
            log_format: source.required(&settings::LOG_FORMAT, log_format)?,
            unsafe_durability: source.required(&settings::UNSAFE_DURABILITY, parsed)?,
        })
    }
}

fn source() -> Result<Source, ConfigError> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    };
    let mut source = Source::environment(std::env::vars_os().map(text))?;
    let file = source.text(&settings::CONFIG).map(PathBuf::from);
    file.map_or(Ok(()), |file| source.add_file(&file))?;
    Ok(source)
}

fn servers(source: &Source) -> Result<Servers, ConfigError> {
    let database = source.optional(&settings::DATABASE_URL, |text| {
        PgConnectOptions::from_str(text).ok().map(|_| Secret(text.to_owned()))
    })?;
    let nats = source.optional(&settings::NATS_URL, |text| nats_options(text).map(|_| Secret(text.to_owned())))?;
    let [database_name, nats_name] = [settings::DATABASE_URL.name, settings::NATS_URL.name];
    match both(database, nats, database_name, nats_name)? {
        Some((database_url, nats_url)) => Ok(Servers::Given { database_url, nats_url }),
        None => Ok(Servers::Embedded),
    }
}

fn admin(source: &Source) -> Result<Option<FirstAdmin>, ConfigError> {
    let email = source.optional(&settings::ADMIN_EMAIL, |text| text.contains('@').then(|| Secret(text.to_owned())))?;
    let password = source.optional(&settings::ADMIN_PASSWORD, |text| Some(Secret(text.to_owned())))?;
    let admin = both(email, password, settings::ADMIN_EMAIL.name, settings::ADMIN_PASSWORD.name)?;
    Ok(admin.map(|(email, password)| FirstAdmin { email, password }))
}

/// Two settings that belong together: both, or neither.
fn both<A, B>(
    one: Option<A>,
    other: Option<B>,
    one_name: &'static str,
    other_name: &'static str,
) -> Result<Option<(A, B)>, ConfigError> {
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::Incomplete { given: one_name, missing: other_name }),
        (None, Some(_)) => Err(ConfigError::Incomplete { given: other_name, missing: one_name }),
    }
}

fn master_key(source: &Source, servers: &Servers) -> Result<Option<MasterKey>, ConfigError> {
    let key = source.optional(&settings::MASTER_KEY, MasterKey::parse)?;
    let file = source.text(&settings::MASTER_KEY_FILE).map(Path::new);
    match (key, file, servers) {
        (Some(_), Some(_), _) => Err(ConfigError::MasterKeyTwice),
        (Some(key), None, _) => Ok(Some(key)),
        (None, Some(file), _) => MasterKey::read(file).map(Some),
        (None, None, Servers::Given { .. }) => Err(ConfigError::MasterKeyMissing),
        (None, None, Servers::Embedded) => Ok(None),
    }
}

fn data_dir(source: &Source) -> PathBuf {
    source.given(&settings::DATA_DIR).unwrap_or_else(|| default_data_dir()).into()
}

fn default_data_dir() -> &'static str {
    if rustix::process::geteuid().is_root() { "/var/lib/capitune" } else { settings::DATA_DIR.default }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn within<T: FromStr + PartialOrd>(text: &str, least: T, most: T) -> Option<T> {
    parsed(text).filter(|number| (least..=most).contains(number))
}

fn list<T: FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(parsed).collect()
}

fn smtp_url(text: &str) -> Option<Secret> {
    let url = reqwest::Url::parse(text).ok()?;
    let encrypted = url.scheme() == "smtps" || url.query_pairs().any(|pair| pair == ("tls".into(), "required".into()));
    // No password goes over a network in clear.
    let safe = encrypted || url.password().is_none() || url.host_str().is_some_and(is_here);
    Transport::smtp(text).ok().filter(|_| safe).map(|_| Secret(text.to_owned()))
}

fn public_url(text: &str) -> Option<String> {
    let url = text.parse::<axum::http::Uri>().ok()?;
    let web = matches!(url.scheme_str(), Some("http" | "https")) && url.query().is_none();
    web.then(|| text.trim_end_matches('/').to_owned())
}

fn log_filter(text: &str) -> Option<String> {
    EnvFilter::try_new(text).ok().map(|_| text.to_owned())
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// The URL of a place for objects.
fn place(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "file" | "s3"))
}

fn exports_in(data_dir: &Path) -> Result<Url, ConfigError> {
    let directory = std::path::absolute(data_dir.join("exports")).ok();
    let url = directory.and_then(|directory| Url::from_directory_path(directory).ok());
    url.ok_or_else(|| ConfigError::invalid(&settings::DATA_DIR, &data_dir.display().to_string()))
}
