//! What every test stands on: one private Postgres and one nats-server for the whole run, a database per test, and a
//! write side on it.

pub mod archive;
pub mod bus;
pub mod client;
pub mod data_directory;
pub mod front;
pub mod links;
pub mod models;
pub mod oidc;
pub mod people;
pub mod process;
pub mod proxy;
pub mod replication;
pub mod s3;
pub mod smtp;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use api::embedded::{Embedded, EmbeddedOptions};
use chrono::Utc;
use commands::{Commands, Context, Executed};
use domain::access::DEFAULT_ORGANIZATION;
use domain::dossier::{Dossier, DossierCommand};
use domain::{Actor, Role};
use event_store::{Database, EventStore, IdempotencyKey, MasterKey};
use projections::Models;
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::{OnceCell, mpsc};
use tokio::time::Instant;
use uuid::Uuid;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The servers of this run.
pub struct Servers {
    pub database_url: String,
    pub nats_url: String,
}

/// Starts the servers once. They die with the test process.
pub async fn servers() -> &'static Servers {
    static SERVERS: OnceCell<Servers> = OnceCell::const_new();
    SERVERS
        .get_or_init(|| async {
            // A runtime of their own: that of the first test ends before the others are done.
            let (ready, started) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    sweep();
                    let options = EmbeddedOptions { data_dir: data_dir(), durable: false };
                    let embedded = Embedded::start(options).await.unwrap();
                    let servers = Servers {
                        database_url: embedded.database_url().to_owned(),
                        nats_url: embedded.nats_url().to_owned(),
                    };
                    make_template(&servers.database_url).await;
                    tokio::spawn(drop_databases(servers.database_url.clone()));
                    let _ = ready.send(servers);
                    embedded.exited().await;
                });
            });
            started.await.expect("Postgres and nats-server start (`make setup` installs them)")
        })
        .await
}

fn data_dir() -> PathBuf {
    std::env::temp_dir().join(format!("capitune-test-{}", std::process::id()))
}

/// Where `make setup` has put the servers that only tests need.
pub fn packages(name: &str) -> PathBuf {
    let cache = match rustix::process::geteuid().is_root() {
        true => PathBuf::from("/var/cache"),
        false => std::env::var_os("XDG_CACHE_HOME")
            .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from),
    };
    cache.join("capitune").join(name)
}

/// Removes what earlier runs left.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("capitune-test-"));
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

async fn make_template(url: &str) {
    execute(url, "create database template_capitune").await;
    let database = Database::connect(&with_database(url, "template_capitune"), 2).await.unwrap();
    database.migrate().await.unwrap();
    database.reads.close().await;
    database.writes.close().await;
}

/// The URL of another database on the same server.
pub fn with_database(url: &str, name: &str) -> String {
    let mut url = reqwest::Url::parse(url).unwrap();
    url.set_path(name);
    url.to_string()
}

/// Runs one statement on a connection of its own.
pub async fn execute(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Whose test has ended.
static LEFT: OnceLock<mpsc::UnboundedSender<String>> = OnceLock::new();

/// The databases of the test that runs on this thread.
#[derive(Default)]
struct Databases(RefCell<Vec<String>>);

impl Drop for Databases {
    fn drop(&mut self) {
        for name in self.0.take() {
            let _ = LEFT.get().map(|left| left.send(name));
        }
    }
}

thread_local! {
    static DATABASES: Databases = Databases::default();
}

/// Drops the databases of tests that have ended: all of them together would fill small disks.
async fn drop_databases(url: String) {
    let (sender, mut left) = mpsc::unbounded_channel();
    LEFT.set(sender).unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    while let Some(name) = left.recv().await {
        let _ = connection.execute(format!("drop database {name} with (force)").as_str()).await;
    }
}

/// A fresh, migrated database, for as long as the test runs.
pub async fn database_url() -> String {
    let url = kept_database_url().await;
    let name = url.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    DATABASES.with(|databases| databases.0.borrow_mut().push(name));
    url
}

/// The same for as long as any test runs.
pub async fn kept_database_url() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let base = &servers().await.database_url;
    execute(base, &format!("create database {name} template template_capitune")).await;
    let url = with_database(base, &name);
    // The copy is a log of its own, with a stream of its own.
    execute(&url, "update log_identity set log_id = gen_random_uuid()").await;
    url
}

/// A copy of this database, as a backup of now would be, for as long as the test runs; nobody may be at work on it.
pub async fn copy_of(url: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("copy_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let base = &servers().await.database_url;
    let copied = reqwest::Url::parse(url).unwrap().path().trim_start_matches('/').to_owned();
    // Connections of processes that have ended may be there for a moment.
    let gone = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{copied}'");
    execute(base, &gone).await;
    execute(base, &format!("create database {name} template {copied}")).await;
    DATABASES.with(|databases| databases.0.borrow_mut().push(name.clone()));
    with_database(base, &name)
}

/// The master key of every test.
pub fn master_key() -> MasterKey {
    MasterKey::new(&[42; 32])
}

/// One process's write side.
#[derive(Clone)]
pub struct Node {
    pub database: Database,
    pub store: EventStore,
    pub commands: Commands,
}

impl Node {
    /// A write side on the database at `url`; several of them are several processes, as far as the log can tell.
    pub async fn start(url: &str) -> Self {
        Self::open(url, master_key()).await
    }

    /// The same, with another master key.
    pub async fn open(url: &str, key: MasterKey) -> Self {
        let database = Database::connect(url, 8).await.unwrap();
        let store = EventStore::open(&database, key).await.unwrap();
        let commands = Commands::new(store.clone(), &database);
        Self { database, store, commands }
    }

    /// A person who can own what they write.
    pub async fn applicant(&self) -> Actor {
        let id = Uuid::now_v7();
        self.store.vault().create_key(id).await.unwrap();
        actor(id, &[Role::Applicant])
    }

    /// A person with these roles.
    pub async fn person(&self, roles: &[Role]) -> Actor {
        let id = Uuid::now_v7();
        self.store.vault().create_key(id).await.unwrap();
        actor(id, roles)
    }

    /// The read models, as somebody with these roles sees them.
    pub fn models_for(&self, roles: &[Role]) -> Models {
        Models::new(&self.database, &actor(Uuid::now_v7(), roles))
    }

    /// A new dossier of `owner`.
    pub async fn create_dossier(&self, owner: &Actor) -> Executed {
        let id = Uuid::now_v7();
        self.commands.execute::<Dossier>(id, create(owner), context(owner)).await.unwrap()
    }

    /// New dossiers of somebody, each with a second title.
    pub async fn write(&self, dossiers: usize) {
        let owner = self.applicant().await;
        for number in 0..dossiers {
            let dossier = self.create_dossier(&owner).await;
            self.retitle(dossier.id, &owner, &format!("Title {number}")).await;
        }
    }

    /// The one value that a query answers with.
    pub async fn ask<T>(&self, query: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(query).fetch_one(&self.database.reads).await.unwrap()
    }

    /// Gives the dossier another title.
    pub async fn retitle(&self, id: Uuid, owner: &Actor, title: &str) -> Executed {
        self.commands.execute::<Dossier>(id, edit_title(title), context(owner)).await.unwrap()
    }
}

pub fn actor(id: Uuid, roles: &[Role]) -> Actor {
    Actor::new(id, roles.iter().copied().collect(), DEFAULT_ORGANIZATION)
}

pub fn create(owner: &Actor) -> DossierCommand {
    DossierCommand::Create {
        owner: owner.id,
        organization: owner.organization,
        category: "housing".to_owned(),
        title: "A request".to_owned(),
        description: Some("Two rooms".to_owned()),
        fields: BTreeMap::new(),
        at: Utc::now(),
    }
}

pub fn edit_title(title: &str) -> DossierCommand {
    DossierCommand::Edit {
        title: Some(title.to_owned()),
        category: None,
        description: None,
        fields: None,
        at: Utc::now(),
    }
}

pub fn context(actor: &Actor) -> Context {
    let request = Uuid::now_v7();
    Context {
        actor: *actor,
        on_behalf_of: None,
        request_id: request.to_string(),
        traceparent: None,
        correlation_id: request,
        causation_id: request,
        client: None,
        if_match: None,
        idempotency: None,
        claims: Vec::new(),
        deadline: Instant::now() + PATIENCE,
    }
}

pub fn context_with_key(actor: &Actor, key: &str) -> Context {
    let key = IdempotencyKey { scope: actor.id, key: key.to_owned(), digest: b"request".to_vec(), status: 201 };
    Context { idempotency: Some(key), ..context(actor) }
}

/// Every event of the log, proved contiguous by the read itself.
pub async fn whole_log(store: &EventStore) -> Vec<domain::EventEnvelope> {
    let mut events = Vec::new();
    loop {
        let after = events.last().map_or(0, |event: &domain::EventEnvelope| event.position);
        let page = store.read_log(after, 500).await.unwrap();
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}

/// Tries until `condition` holds.
pub async fn eventually<F, R>(what: &str, mut condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
