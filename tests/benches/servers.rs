//! The Postgres and the nats-server of one run, durable, in a data directory of their own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use api::config::nats_options;
use api::embedded::{Embedded, EmbeddedOptions};
use event_store::{Database, EventStore, MasterKey};
use sqlx::{Connection, PgConnection};

/// The master key of every run.
pub const MASTER_KEY: [u8; 32] = [7; 32];

/// Connections of each pool: as many as a process of ours opens by default.
const CONNECTIONS: u32 = 20;

const PREFIX: &str = "capitune-bench-";

/// A directory that is removed in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new name below `parent`; the directory itself is made by whoever uses it.
    pub fn new(parent: &Path, name: &str) -> Self {
        Self(parent.join(format!("{PREFIX}{}-{name}", std::process::id())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // There may be nothing to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The servers of this run.
pub struct Servers {
    embedded: Embedded,
    /// Below which directories are made.
    pub parent: PathBuf,
    _directory: Scratch,
}

impl Servers {
    /// Starts both below `parent`, which decides what disk is measured.
    pub async fn start(parent: &Path) -> Self {
        sweep(parent);
        let directory = Scratch::new(parent, "servers");
        let options = EmbeddedOptions { data_dir: directory.path().to_owned(), durable: true };
        let embedded = Embedded::start(options).await;
        let embedded = embedded.expect("`make setup` installs a Postgres and a nats-server");
        Self { embedded, parent: parent.to_owned(), _directory: directory }
    }

    /// Stops both.
    pub async fn stop(self) {
        self.embedded.stop().await;
    }

    /// A new database of that name, with all tables; its URL.
    pub async fn database(&self, name: &str) -> String {
        let base = self.embedded.database_url();
        execute(base, &format!("create database {name}")).await;
        let mut url = reqwest::Url::parse(base).unwrap();
        url.set_path(name);
        let database = Database::connect(url.as_str(), 2).await.unwrap();
        database.migrate().await.unwrap();
        database.reads.close().await;
        database.writes.close().await;
        url.to_string()
    }

    /// A new database of that name, opened as a process of ours opens it.
    pub async fn store(&self, name: &str) -> (String, Database, EventStore) {
        let url = self.database(name).await;
        let database = Database::connect(&url, CONNECTIONS).await.unwrap();
        let store = EventStore::open(&database, MasterKey::new(&MASTER_KEY)).await;
        (url, database, store.unwrap())
    }

    /// The address of the nats-server.
    pub fn nats_url(&self) -> &str {
        self.embedded.nats_url()
    }

    /// A connection to the nats-server.
    pub async fn nats(&self) -> async_nats::Client {
        let (servers, options) = nats_options(self.nats_url()).unwrap();
        options.connect(servers).await.unwrap()
    }

    /// What was measured on.
    pub async fn machine(&self) -> Vec<String> {
        let mut connection = PgConnection::connect(self.embedded.database_url()).await.unwrap();
        let (version, durability): (String, String) = sqlx::query_as(
            "select current_setting('server_version'), string_agg(name || ' ' || setting, ', ' order by name)
             from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit')",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let nats = self.nats().await.server_info().version;
        let sync = self.sync_time();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        vec![
            format!("{cores} cores ({}), shared by callers, servers and peers", processor()),
            format!("Postgres {version}: {durability}"),
            format!("nats-server {nats}"),
            format!("writing 8 kB and waiting for the disk: {}", crate::report::latency(sync)),
        ]
    }

    /// How long the disk takes to make 8 kB durable, in the median.
    fn sync_time(&self) -> Duration {
        let scratch = Scratch::new(&self.parent, "sync");
        std::fs::create_dir(scratch.path()).unwrap();
        let mut file = std::fs::File::create(scratch.path().join("file")).unwrap();
        let mut times = Vec::with_capacity(101);
        for _ in 0..101 {
            let started = Instant::now();
            file.write_all(&[0; 8192]).unwrap();
            file.sync_data().unwrap();
            times.push(started.elapsed());
        }
        times.sort();
        times[times.len() / 2]
    }
}

/// Runs statements on a connection of their own.
pub async fn execute(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Removes what runs that were interrupted left.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) && Path::new("/proc/self").exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn processor() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or(std::env::consts::ARCH.to_owned(), |model| model.trim_start_matches(['\t', ' ', ':']).to_owned())
}
