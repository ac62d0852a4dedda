//! Why the binary ends, in sentences for an operator.

use std::io;
use std::net::SocketAddr;

use event_store::StoreError;
use projections::RebuildError;

use crate::auth::{AuthError, FirstAdminError};
use crate::case_file::CaseError;
use crate::config::ConfigError;
use crate::demo::DemoError;
use crate::embedded::EmbeddedError;
use crate::witnesses::WitnessError;

/// Why the binary ends.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings are not right.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A setting asks for what there is not.
    #[error("{0}")]
    Unsupported(&'static str),
    /// There is no projection of that name.
    #[error("there is no projection `{0}`; there are: {names}", names = projections::NAMES.join(", "))]
    UnknownProjection(String),
    /// The embedded servers do not run.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// Postgres does not answer, or the log is not what it should be.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schema cannot be brought up to date.
    #[error("the database cannot be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// NATS_URL cannot be used.
    #[error("NATS_URL cannot be used: {0}")]
    Nats(#[from] async_nats::ConnectError),
    /// Callers cannot be known.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Mail cannot be sent.
    #[error("CAPITUNE_SMTP_URL cannot be used: {0}")]
    Mail(#[from] lettre::transport::smtp::Error),
    /// There is no first admin.
    #[error(transparent)]
    FirstAdmin(#[from] FirstAdminError),
    /// Metrics cannot be collected.
    #[error("metrics cannot be collected: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// An address cannot be listened on.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The log is not what was signed.
    #[error("the log is not as it was recorded")]
    Tampered,
    /// Nothing is sealed yet.
    #[error("no tree head is signed yet: the process with the role `relay` signs one a second after an event")]
    NothingSealed,
    /// A kept head cannot be used.
    #[error("{file} holds no signed tree head: {reason}")]
    KeptHead {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A case file proves nothing.
    #[error("the case file cannot be relied upon: {0}")]
    Case(#[from] CaseError),
    /// A witness does not tell what it keeps.
    #[error("a witness does not tell which heads it keeps: {0}")]
    Witness(#[from] WitnessError),
    /// A file or the terminal cannot be written to.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The rebuild did not take over.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// Read models are not what the log says.
    #[error("{0} rows are not what the log says: `capitune rebuild` makes them anew")]
    Drifted(u64),
    /// There is no dossier of that id.
    #[error("there is no dossier {0}")]
    NoDossier(uuid::Uuid),
    /// Some lines of a file were not accepted.
    #[error("{0} lines were refused: mend them, and import the file again")]
    LinesRefused(u64),
    /// The demonstration could not be set up.
    #[error(transparent)]
    Demo(#[from] DemoError),
}

impl CliError {
    /// 2 for what the operator got wrong, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Unsupported(_)
            | Self::UnknownProjection(_)
            | Self::NoDossier(_)
            | Self::KeptHead { .. } => 2,
            _ => 1,
        }
    }
}
