//! The private Postgres: a cluster of its own, reached over a unix socket only.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use rustix::process::Signal;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::process::Child;

use super::EmbeddedError;
use super::directory::DataDirectory;
use super::process::{Steps, command, stop_left_behind};
use super::programs;
use super::service::{Service, ended};

/// The name of the database, and of the superuser that owns it.
const NAME: &str = "capitune";
const PORT: u16 = 5432;
const LOG: &str = "postgres.log";
/// The longest directory that a socket's path, limited to 107 bytes, leaves room for.
const SOCKET_DIRECTORY_LIMIT: usize = 90;
/// Recovery after a crash replays up to `max_wal_size`: minutes on a slow disk.
const START_LIMIT: Duration = Duration::from_secs(300);
/// SQLSTATE of a connection to a database that does not exist.
const NO_SUCH_DATABASE: &str = "3D000";

/// For a small machine that others share, with a log that is written to all the time.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "port=5432",
    "max_connections=400",
    "shared_buffers=256MB",
    "wal_compression=on",
    "min_wal_size=256MB",
    "max_wal_size=2GB",
    "checkpoint_timeout=15min",
    "checkpoint_completion_target=0.9",
    "random_page_cost=1.1",
    "jit=off",
    "autovacuum=on",
    "idle_in_transaction_session_timeout=10s",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_line_prefix=%m [%p] ",
    // The details of an error and its statement may hold what was written: they stay out of the log.
    "log_error_verbosity=terse",
    "log_min_error_statement=panic",
];
/// A server that waits for a lock notices that its client has gone.
#[cfg(target_os = "linux")]
const PLATFORM: &[&str] = &["client_connection_check_interval=1s"];
#[cfg(not(target_os = "linux"))]
const PLATFORM: &[&str] = &[];
const DURABLE: &[&str] = &["fsync=on", "synchronous_commit=on", "full_page_writes=on"];
/// Tests come and go: a small log fills no disk, and is soon recovered from.
const UNSAFE: &[&str] = &[
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=512MB",
];

/// A cluster that is ready to be started.
#[derive(Debug)]
pub(super) struct Postgres {
    directory: Arc<DataDirectory>,
    programs: PathBuf,
    cluster: PathBuf,
    sockets: PathBuf,
    durable: bool,
    log_start: u64,
}

impl Postgres {
    /// Finds the programs, and makes the cluster when there is none yet.
    pub async fn prepare(directory: Arc<DataDirectory>, durable: bool) -> Result<Self, EmbeddedError> {
        let cluster = directory.path.join("postgres");
        let version = major_version(&cluster);
        let programs = programs::postgres(version, directory.user.as_ref())?;
        if version.is_none() {
            create_cluster(&directory, &programs, &cluster, durable).await?;
        }
        // For the check of its owner.
        directory.private_at(&cluster)?;
        let sockets = socket_directory(&directory)?;
        Ok(Self { directory, programs, cluster, sockets, durable, log_start: 0 })
    }

    /// A connection string for sqlx and libpq alike.
    pub fn url(&self) -> String {
        let host = percent_encode(&self.sockets);
        format!("postgresql:///{NAME}?host={host}&port={PORT}&user={NAME}&sslmode=disable")
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.sockets)
            .port(PORT)
            .username(NAME)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging()
    }

    /// Whether the server answers and has the database, which is made when missing.
    async fn serves(&self) -> Result<bool, sqlx::Error> {
        let connection = match PgConnection::connect_with(&self.options(NAME)).await {
            Ok(connection) => connection,
            Err(error) if has_code(&error, NO_SUCH_DATABASE) => {
                let mut connection = PgConnection::connect_with(&self.options("postgres")).await?;
                connection.execute(format!("create database {NAME}").as_str()).await?;
                connection
            }
            Err(_) => return Ok(false),
        };
        connection.close().await?;
        Ok(true)
    }

    /// The locks of a postmaster that was killed. Under our own lock none is in use once nothing is left behind, but
    /// a process id in them may belong to somebody else by now, and Postgres would believe it.
    fn remove_stale_locks(&self) {
        if cfg!(target_os = "linux") {
            let socket = self.sockets.join(format!(".s.PGSQL.{PORT}"));
            let socket_lock = self.sockets.join(format!(".s.PGSQL.{PORT}.lock"));
            for path in [self.cluster.join("postmaster.pid"), socket, socket_lock] {
                // Most often there is none.
                fs::remove_file(path).ok();
            }
        }
    }
}

impl Service for Postgres {
    const NAME: &'static str = "postgres";
    const STOP: &'static Steps = &[
        (Signal::INT, Duration::from_secs(30)),
        (Signal::QUIT, Duration::from_secs(5)),
        (Signal::KILL, Duration::from_secs(5)),
    ];

    async fn spawn(&mut self) -> Result<Child, EmbeddedError> {
        stop_left_behind(Self::NAME, &self.cluster, Self::STOP).await?;
        self.remove_stale_locks();
        let (log, length) = self.directory.open_log(LOG)?;
        let log_again = log.try_clone().map_err(EmbeddedError::io(LOG))?;
        self.log_start = length;
        let program = self.programs.join("postgres");
        // SIGINT is a fast shutdown: sessions are ended and everything is written.
        let mut command = command(&program, self.directory.user.as_ref(), Signal::INT);
        command.arg("-D").arg(&self.cluster).current_dir(&self.cluster).stdout(log).stderr(log_again);
        let durability = if self.durable { DURABLE } else { UNSAFE };
        for setting in SETTINGS.iter().chain(PLATFORM).chain(durability) {
            command.args(["-c", setting]);
        }
        let sockets = self.sockets.to_string_lossy().replace('"', "\"\"");
        command.arg("-c").arg(format!("unix_socket_directories=\"{sockets}\""));
        command.spawn().map_err(|source| EmbeddedError::Spawn { program, source })
    }

    async fn ready(&mut self, child: &mut Child) -> Result<(), EmbeddedError> {
        let since = Instant::now();
        let fails = |reason: String| EmbeddedError::NotReady { service: Self::NAME, reason };
        while since.elapsed() < START_LIMIT {
            match tokio::time::timeout(Duration::from_secs(5), self.serves()).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Err(error)) => return Err(fails(error.to_string())),
                // Not yet.
                Ok(Ok(false)) | Err(_) => {}
            }
            ended(child, Self::NAME, || self.directory.read_log(LOG, self.log_start))?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(fails(format!("no answer within {START_LIMIT:?}; see {LOG} in the data directory")))
    }
}

/// The major version that made a cluster; none when there is no cluster.
fn major_version(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Makes a cluster under another name, and renames it when it is whole.
async fn create_cluster(
    directory: &DataDirectory,
    programs: &Path,
    cluster: &Path,
    durable: bool,
) -> Result<(), EmbeddedError> {
    let draft = directory.path.join("postgres.init");
    stop_left_behind(Postgres::NAME, &draft, Postgres::STOP).await?;
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(EmbeddedError::io(&draft))?;
    }
    directory.private_at(&draft)?;
    let program = programs.join("initdb");
    let mut command = command(&program, directory.user.as_ref(), Signal::TERM);
    command.arg("-D").arg(&draft).current_dir(&draft);
    // Sorting for people is asked for where it is needed, by the name of a collation.
    command.args(["--locale=C", "--encoding=UTF8", "--auth=trust", "--no-instructions", "--username", NAME]);
    if !durable {
        command.arg("--no-sync");
    }
    let output = command.output().await.map_err(|source| EmbeddedError::Spawn { program, source })?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | ");
        return Err(EmbeddedError::NotReady { service: "initdb", reason });
    }
    let sync_parent = || File::open(&directory.path)?.sync_all();
    fs::rename(&draft, cluster).and_then(|()| sync_parent()).map_err(EmbeddedError::io(cluster))
}

/// Where the socket lies: in the data directory, or in a short place of the same owner when that path is too long for
/// a socket, or holds what libpq would take for the end of it.
fn socket_directory(directory: &DataDirectory) -> Result<PathBuf, EmbeddedError> {
    let inside = directory.path.join("run");
    if inside.to_str().is_some_and(|path| path.len() <= SOCKET_DIRECTORY_LIMIT && !path.contains(',')) {
        directory.private_at(&inside)?;
        return Ok(inside);
    }
    let hash = digest(&SHA256, directory.path.as_os_str().as_encoded_bytes());
    let name: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let outside = Path::new("/tmp").join(format!("{NAME}-{name}"));
    directory.private_at(&outside)?;
    Ok(outside)
}

/// libpq reads a plus sign as itself, so that only `%` encoding will do.
fn percent_encode(path: &Path) -> String {
    let encode = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    };
    path.as_os_str().as_encoded_bytes().iter().map(encode).collect()
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|it| it == code)
}
