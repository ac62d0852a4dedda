//! The binary as a process: started in a role, killed at will.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Client;
use super::{PATIENCE, servers};

/// The address of the first admin of every test system.
pub const ADMIN_EMAIL: &str = "admin@capitune.test";
/// Their password.
pub const ADMIN_PASSWORD: &str = "a password for tests";

/// A running `capitune`.
pub struct Process {
    child: Child,
    address: String,
    log: PathBuf,
}

impl Process {
    /// Starts `capitune` with `arguments` on the database and the nats-server given, none of which it spawns.
    pub async fn start(database_url: &str, nats_url: &str, arguments: &[&str]) -> Self {
        Self::spawn(Self::command_on(database_url, nats_url, arguments)).await
    }

    /// The command on servers that are given.
    pub fn command_on(database_url: &str, nats_url: &str, arguments: &[&str]) -> Command {
        let mut command = Self::command(arguments);
        command
            .env("DATABASE_URL", database_url)
            .env("NATS_URL", nats_url)
            .env("CAPITUNE_MASTER_KEY", "2a".repeat(32))
            .env("CAPITUNE_UNSAFE_DURABILITY", "true");
        command
    }

    /// The command with what all tests share, for a test that needs an environment of its own.
    pub fn command(arguments: &[&str]) -> Command {
        api::install_tls();
        let mut command = Command::new(env!("CARGO_BIN_EXE_capitune"));
        command
            .args(arguments)
            .env_remove("DATABASE_URL")
            .env_remove("NATS_URL")
            .env("CAPITUNE_ADMIN_EMAIL", ADMIN_EMAIL)
            .env("CAPITUNE_ADMIN_PASSWORD", ADMIN_PASSWORD)
            .env("CAPITUNE_RATE_LIMIT_AUTH", "0")
            .env("CAPITUNE_RATE_LIMIT_GENERAL", "0")
            // What tests do is counted in ones and twos.
            .env("CAPITUNE_SMALLEST_GROUP", "1")
            // Many processes share one Postgres.
            .env("CAPITUNE_DATABASE_CONNECTIONS", "6")
            .stdin(Stdio::null());
        command
    }

    /// Starts it on a free port; its output goes to a file that a failing test shows.
    pub async fn spawn(mut command: Command) -> Self {
        let address = free_address();
        let log =
            std::env::temp_dir().join(format!("capitune-test-{}-{}.log", std::process::id(), uuid::Uuid::now_v7()));
        let output = std::fs::File::create(&log).unwrap();
        command.env("CAPITUNE_LISTEN", &address).stdout(output.try_clone().unwrap()).stderr(output);
        Self { child: command.spawn().unwrap(), address, log }
    }

    /// Starts a process that serves the API, and waits until it is ready.
    pub async fn api(database_url: &str, arguments: &[&str]) -> Self {
        let process = Self::start(database_url, &servers().await.nats_url, arguments).await;
        process.ready().await;
        process
    }

    /// Starts a process that carries all projections on.
    pub async fn worker(database_url: &str) -> Self {
        Self::start(database_url, &servers().await.nats_url, &["worker"]).await
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) {
        let started = Instant::now();
        while !self.is_ready().await {
            assert!(started.elapsed() < PATIENCE, "{} is not ready:\n{}", self.address, self.output());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether it is ready now.
    pub async fn is_ready(&self) -> bool {
        let answer = reqwest::get(format!("{}/health/ready", self.url())).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of it, not signed in.
    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }

    /// A client of it, signed in as the first admin.
    pub async fn admin(&self) -> Client {
        self.client().log_in(ADMIN_EMAIL, ADMIN_PASSWORD).await
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name: `KILL`, `STOP`, `CONT`, `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Kills it as a power cut would, and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end and gives its exit code.
    pub async fn end(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.output());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- {} ---\n{}", self.address, self.output());
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
