//! A Postgres and its standby, each a server of its own, which a test kills, freezes, and promotes.

#![allow(dead_code, reason = "what one can do to a server, whether or not a test does it today")]

use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Gid, Uid, chown};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::front::Front;
use super::{PATIENCE, eventually, servers};

/// The superuser of both servers, and the database of the test.
const NAME: &str = "capitune";
/// The name under which a standby replicates, for `synchronous_standby_names`.
pub const STANDBY: &str = "standby";

const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "shared_buffers=32MB",
    "fsync=off",
    "full_page_writes=off",
    "wal_level=replica",
    "hot_standby=on",
    "max_wal_senders=8",
    "wal_keep_size=256MB",
    "wal_retrieve_retry_interval=200ms",
    "jit=off",
    "timezone=UTC",
    "log_line_prefix=%m [%p] ",
];

/// One server of a replicated pair. Killed and removed when it is dropped.
pub struct Server {
    directory: PathBuf,
    programs: Programs,
    port: u16,
    child: Option<Child>,
}

/// Where the programs are, and as whom they run.
#[derive(Clone)]
struct Programs {
    directory: PathBuf,
    user: u32,
    group: u32,
}

impl Programs {
    /// Those of the server that all tests share.
    async fn find() -> Self {
        let mut connection = PgConnection::connect(&servers().await.database_url).await.unwrap();
        let places = "select (select setting from pg_config where name = 'BINDIR'), current_setting('data_directory')";
        let (directory, data): (String, String) = sqlx::query_as(places).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let owner = std::fs::metadata(data).unwrap();
        Self { directory: directory.into(), user: owner.uid(), group: owner.gid() }
    }

    fn command(&self, program: &str, place: &Path) -> Command {
        let mut command = Command::new(self.directory.join(program));
        command.env_clear().env("LC_ALL", "C").current_dir(place).process_group(0).stdin(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(self.user).gid(self.group);
        }
        command
    }

    /// A directory that belongs to whom the programs run as.
    fn directory(&self) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("capitune-pair-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        chown(&directory, Some(Uid::from_raw(self.user)), Some(Gid::from_raw(self.group))).unwrap();
        directory
    }
}

fn succeed(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// A primary with an empty database. Its commits wait for no standby.
    pub async fn primary() -> Self {
        sweep();
        let programs = Programs::find().await;
        let directory = programs.directory();
        let mut initdb = programs.command("initdb", &directory);
        initdb.args(["-D", "data", "--locale=C", "--encoding=UTF8", "--auth=trust", "--no-sync", "--username", NAME]);
        succeed(initdb);
        let hba = directory.join("data/pg_hba.conf");
        std::fs::write(hba, "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n").unwrap();
        let mut server = Self { directory, programs, port: free_port(), child: None };
        server.start().await;
        super::execute(&server.url_of("postgres"), &format!("create database {NAME}")).await;
        server
    }

    /// A standby of this primary, by a base backup of now, that follows it asynchronously.
    pub async fn standby(&self) -> Self {
        self.standby_through(self.port).await
    }

    /// The same, following through a front of this primary, which a test may hold up so that the standby falls behind.
    pub async fn standby_behind(&self, front: &Front) -> Self {
        self.standby_through(front.port()).await
    }

    async fn standby_through(&self, port: u16) -> Self {
        let directory = self.programs.directory();
        let mut backup = self.programs.command("pg_basebackup", &directory);
        let primary = format!("host=127.0.0.1 port={port} user={NAME} application_name={STANDBY} sslmode=disable");
        backup.args(["-D", "data", "-R", "-X", "stream", "--checkpoint=fast", "--no-sync", "-d", &primary]);
        // Not on this thread: the front that it may go through is served by the same runtime.
        tokio::task::spawn_blocking(move || succeed(backup)).await.unwrap();
        let mut server = Self { directory, programs: self.programs.clone(), port: free_port(), child: None };
        server.start().await;
        eventually("the standby follows", || async { self.standbys().await == 1 }).await;
        server
    }

    async fn standbys(&self) -> i64 {
        self.ask("select count(*) from pg_stat_replication where state = 'streaming'").await
    }

    /// Makes every commit wait until the standby has it, or until nobody waits for it any more.
    pub async fn synchronous(&self, names: &str) {
        let set = format!("alter system set synchronous_standby_names = '{names}'");
        super::execute(&self.url(), &set).await;
        super::execute(&self.url(), "select pg_reload_conf()").await;
        let setting = || async { self.ask::<String>("select current_setting('synchronous_standby_names')").await };
        eventually("the setting is in force", || async { setting().await == names }).await;
        let synchronous = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        let expected = i64::from(!names.is_empty());
        eventually("the standby is synchronous", || async { self.ask::<i64>(synchronous).await == expected }).await;
    }

    /// Starts it, again when it was stopped or killed, and waits until it answers.
    pub async fn start(&mut self) {
        // A killed one left its lock, whose process id may be that of a stranger by now.
        let _ = std::fs::remove_file(self.directory.join("data/postmaster.pid"));
        let log = std::fs::File::options().append(true).create(true).open(self.log_file()).unwrap();
        let mut command = self.programs.command("postgres", &self.directory.join("data"));
        command.arg("-D").arg(self.directory.join("data")).args(["-p", &self.port.to_string()]);
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let url = self.url_of("postgres");
        eventually("the server answers", || async { PgConnection::connect(&url).await.is_ok() }).await;
    }

    /// Ends it in order, as for a restart.
    pub async fn stop(&mut self) {
        self.signal(Signal::INT);
        let child = self.child.as_mut().unwrap();
        eventually("the server ends", || std::future::ready(child.try_wait().unwrap().is_some())).await;
        self.child = None;
    }

    /// Kills it as a power cut would: every process of it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            self.signal_all(Signal::KILL);
            let _ = child.wait();
        }
    }

    /// Stops every process of it where it stands: connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        self.signal_all(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// Makes a standby the primary.
    pub async fn promote(&self) {
        let mut promote = self.programs.command("pg_ctl", &self.directory);
        promote.args(["promote", "-D", "data", "--no-wait"]);
        succeed(promote);
        eventually("the standby is promoted", || async { !self.is_standby().await }).await;
    }

    /// Whether it follows another.
    pub async fn is_standby(&self) -> bool {
        self.ask("select pg_is_in_recovery()").await
    }

    /// Waits until it has replayed all that `primary` has written.
    pub async fn catch_up_with(&self, primary: &Server) {
        let written: String = primary.ask("select pg_current_wal_lsn()::text").await;
        let replayed = format!("select coalesce(pg_last_wal_replay_lsn() >= '{written}', false)");
        eventually("the standby catches up", || async { self.ask::<bool>(&replayed).await }).await;
    }

    /// The one value that a query answers with, on a connection of its own.
    pub async fn ask<T>(&self, query: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        let value = sqlx::query_scalar(query).fetch_one(&mut connection);
        let value = timeout(PATIENCE, value).await.expect("the server answers").unwrap();
        connection.close().await.unwrap();
        value
    }

    /// How to connect to it.
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://{NAME}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Where it listens on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Its sessions and workers have process groups of their own: they are known by where they work.
    fn signal_all(&self, signal: Signal) {
        for id in working_in(&self.directory) {
            // One may have ended meanwhile.
            let _ = kill_process(id, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- {} ---\n{}", self.url(), self.log());
        }
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// How to connect to whichever of the servers is the primary.
pub fn url_of_several(servers: &[&Server]) -> String {
    let hosts: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    format!("postgres://{NAME}@{}/{NAME}?sslmode=disable&target_session_attrs=read-write", hosts.join(","))
}

/// How to connect through a front.
pub fn url_through(front: &Front) -> String {
    format!("postgres://{NAME}@127.0.0.1:{}/{NAME}?sslmode=disable", front.port())
}

fn working_in(directory: &Path) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let here = |id: &i32| std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|place| place.starts_with(directory));
    ids.filter(here).filter_map(Pid::from_raw).collect()
}

/// Kills and removes what earlier runs left, which were killed themselves.
fn sweep() {
    let entries: io::Result<Vec<_>> = std::fs::read_dir(std::env::temp_dir()).and_then(Iterator::collect);
    for entry in entries.into_iter().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix("capitune-pair-"));
        let run = rest.and_then(|rest| rest.split('-').next());
        if run.is_some_and(|run| !Path::new("/proc").join(run).exists()) {
            for id in working_in(&entry.path()) {
                let _ = kill_process(id, Signal::KILL);
            }
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
