//! What can keep an embedded system from starting or running, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why an embedded system does not start or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A file or directory could not be read, made or written.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Another process owns the data directory.
    #[error("the data directory {} is in use by process {owner}: stop it first, or choose another with CAPITUNE_DATA_DIR", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The owner's process id, as far as it is known.
        owner: String,
    },
    /// Run as root, and there is no user to run the servers as.
    #[error(
        "run as root, the servers need a user to run as, and there is neither `postgres` nor `nobody`: create one of them, or run as another user"
    )]
    NoUser,
    /// The user that the servers run as cannot reach the data directory.
    #[error("the data directory {} cannot be reached by the user `{user}`, that the servers run as, because {} is closed to it: choose another with CAPITUNE_DATA_DIR, or open that directory with chmod o+x", path.display(), closed.display())]
    Unreachable {
        /// The data directory.
        path: PathBuf,
        /// The directory on the way that is closed.
        closed: PathBuf,
        /// The user's name.
        user: String,
    },
    /// A directory belongs to a user other than the one that the servers run as.
    #[error("{} belongs to user id {owner}, while the servers run as user id {expected}: run as the user that made it, or chown it", path.display())]
    WrongOwner {
        /// The directory.
        path: PathBuf,
        /// The user id it belongs to.
        owner: u32,
        /// The user id it should belong to.
        expected: u32,
    },
    /// No Postgres that would do.
    #[error(
        "no Postgres found: {0}; run `make setup`, install it (Debian: apt install postgresql; macOS: brew install postgresql@17), or set CAPITUNE_PG_BIN to the directory of its programs"
    )]
    NoPostgres(String),
    /// No nats-server that would do.
    #[error(
        "no nats-server found: {0}; run `make setup`, install version 2.10 or later, or set CAPITUNE_NATS_BIN to the program"
    )]
    NoNats(String),
    /// A program could not be started.
    #[error("{} could not be started: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A server, or the preparation of its directory, failed.
    #[error("{service} does not start: {reason}")]
    NotReady {
        /// Which one.
        service: &'static str,
        /// What it said.
        reason: String,
    },
    /// A process that a former run left behind does not end.
    #[error("a {service} left behind by a former run still works in {} and does not end: stop it by hand", path.display())]
    LeftBehind {
        /// Which program.
        service: &'static str,
        /// Its directory.
        path: PathBuf,
    },
    /// A server ended again and again.
    #[error("{0}")]
    Lost(String),
    /// The thread that owns the servers could not be started, or has ended.
    #[error("the supervisor of the embedded servers does not run: {0}")]
    Supervisor(io::Error),
    /// There is no running system to attach to.
    #[error("no Capitune runs on the data directory {}: start it first, or set CAPITUNE_DATA_DIR to the directory it runs on", .0.display())]
    NotRunning(PathBuf),
}

impl EmbeddedError {
    pub(super) fn supervisor_ended() -> Self {
        Self::Supervisor(io::Error::other("its thread has ended"))
    }

    /// For `map_err`: an I/O error on `path`.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }
}
