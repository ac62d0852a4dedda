//! The processes that are measured: the binary itself, and the peers in another process of this benchmark.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::load::{Connection, Request};
use crate::servers::{MASTER_KEY, Servers};

/// Who runs an instance that has an admin.
pub const ADMIN_EMAIL: &str = "admin@example.org";
/// Their password.
pub const ADMIN_PASSWORD: &str = "correct horse battery staple";

/// How long a process may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A process that serves HTTP.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Process {
    /// The whole system on servers that are given.
    pub async fn capitune(database_url: &str, servers: &Servers) -> (Self, Duration) {
        let master_key: String = MASTER_KEY.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::start([
            ("DATABASE_URL", database_url),
            ("NATS_URL", servers.nats_url()),
            ("CAPITUNE_MASTER_KEY", &master_key),
        ])
        .await
    }

    /// The same with an admin.
    pub async fn capitune_with_admin(database_url: &str, servers: &Servers) -> Self {
        let master_key: String = MASTER_KEY.iter().map(|byte| format!("{byte:02x}")).collect();
        let settings = [
            ("DATABASE_URL", database_url),
            ("NATS_URL", servers.nats_url()),
            ("CAPITUNE_MASTER_KEY", &master_key),
            ("CAPITUNE_ADMIN_EMAIL", ADMIN_EMAIL),
            ("CAPITUNE_ADMIN_PASSWORD", ADMIN_PASSWORD),
        ];
        Self::start(settings).await.0
    }

    /// The whole system with servers of its own in `directory`.
    pub async fn capitune_embedded(directory: &Path) -> (Self, Duration) {
        Self::start([("CAPITUNE_DATA_DIR", directory)]).await
    }

    /// Starts the binary, without limits on rates, and waits until it is ready; how long that took.
    async fn start<V: AsRef<OsStr>>(settings: impl IntoIterator<Item = (&str, V)>) -> (Self, Duration) {
        let address = free_address();
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_capitune"))
            .env_remove("DATABASE_URL")
            .env_remove("NATS_URL")
            .envs(settings)
            .env("CAPITUNE_LISTEN", address.to_string())
            .env("CAPITUNE_LOG", "error")
            .env("CAPITUNE_RATE_LIMIT_AUTH", "0")
            .env("CAPITUNE_RATE_LIMIT_GENERAL", "0")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let process = Self { child, address };
        let ready = timeout(PATIENCE, process.ready()).await;
        ready.expect("the process is ready in time");
        (process, started.elapsed())
    }

    /// The peers, on a database whose read models ours has filled.
    pub async fn peers(database_url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--peers")
            .env("DATABASE_URL", database_url)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        Self { child, address: address.parse().unwrap() }
    }

    async fn ready(&self) {
        let request =
            Request { method: "GET", target: "/health/ready".to_owned(), token: Arc::from(""), body: String::new() };
        loop {
            if let Ok(mut connection) = Connection::open(self.address).await
                && let Ok(answer) = connection.ask(&request).await
                && answer.status == 200
            {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
    }

    /// How much memory it holds now, and held at most, in bytes; only Linux tells.
    pub fn memory(&self) -> Option<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
        };
        field("VmRSS:").zip(field("VmHWM:"))
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
