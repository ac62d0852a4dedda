use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use super::process::working_in;
use super::{Attached, Embedded, EmbeddedError, EmbeddedOptions};

const CHILD_DIRECTORY: &str = "EMBEDDED_TEST_DIRECTORY";

/// A data directory of a test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self::named("")
    }

    fn named(suffix: &str) -> Self {
        let path = std::env::temp_dir().canonicalize().unwrap();
        Self(path.join(format!("capitune-{}{suffix}", Uuid::new_v4().simple())))
    }

    fn options(&self) -> EmbeddedOptions {
        EmbeddedOptions { data_dir: self.0.clone(), durable: false }
    }

    async fn start(&self) -> Embedded {
        Embedded::start(self.options()).await.unwrap()
    }

    fn processes(&self, program: &str) -> Vec<Pid> {
        let home = if program == "postgres" { "postgres" } else { "nats" };
        working_in(&self.0.join(home), program)
    }

    fn postmaster(&self) -> Pid {
        let text = fs::read_to_string(self.0.join("postgres/postmaster.pid")).unwrap();
        Pid::from_raw(text.lines().next().unwrap().parse().unwrap()).unwrap()
    }

    async fn wait_until_empty(&self) {
        until(|| self.processes("postgres").is_empty() && self.processes("nats-server").is_empty()).await;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

async fn until(condition: impl Fn() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < Duration::from_secs(20), "it did not come to pass in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn connect(system: &Embedded) -> PgConnection {
    PgConnection::connect(system.database_url()).await.unwrap()
}

async fn nats(system: &Embedded) -> async_nats::Client {
    let (servers, options) = crate::config::nats_options(system.nats_url()).unwrap();
    options.connect(servers).await.unwrap()
}

async fn ask(system: &Embedded, query: &str) -> String {
    connect(system).await.fetch_one(query).await.unwrap().get(0)
}

#[tokio::test]
async fn both_servers_serve_and_a_second_start_is_quick_and_keeps_the_data() {
    let scratch = Scratch::new();
    let system = scratch.start().await;
    connect(&system).await.execute("create table kept as select 7 as number").await.unwrap();
    let jetstream = async_nats::jetstream::new(nats(&system).await);
    let stream = async_nats::jetstream::stream::Config { name: "kept".into(), ..Default::default() };
    jetstream.create_stream(stream).await.unwrap();
    system.stop().await;
    assert!(scratch.processes("postgres").is_empty() && scratch.processes("nats-server").is_empty());

    let since = Instant::now();
    let system = scratch.start().await;
    assert!(since.elapsed() < Duration::from_millis(1500), "{:?}", since.elapsed());
    assert_eq!(ask(&system, "select number::text from kept").await, "7");
    let jetstream = async_nats::jetstream::new(nats(&system).await);
    assert!(jetstream.get_stream("kept").await.is_ok());
    system.stop().await;
}

#[tokio::test]
async fn durability_is_on_unless_it_is_given_up() {
    let scratch = Scratch::new();
    let durable = EmbeddedOptions { durable: true, ..scratch.options() };
    let durability = "select string_agg(setting, ' ' order by name) from pg_settings \
                      where name in ('fsync', 'full_page_writes', 'synchronous_commit')";
    let system = Embedded::start(durable).await.unwrap();
    assert_eq!(ask(&system, durability).await, "on on on");
    system.stop().await;
    let system = scratch.start().await;
    assert_eq!(ask(&system, durability).await, "off off off");
    system.stop().await;
}

#[tokio::test]
async fn nothing_runs_as_root_and_nothing_is_open_to_others() {
    let scratch = Scratch::new();
    let system = scratch.start().await;
    for pid in [scratch.postmaster(), scratch.processes("nats-server")[0]] {
        let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        assert!(!field("Uid:").split_whitespace().any(|id| id == "0"), "{status}");
        assert!(!field("Groups:").split_whitespace().any(|id| id == "0"), "{status}");
    }
    for entry in fs::read_dir(&scratch.0).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{}", entry.path().display());
    }
    system.stop().await;
}

#[tokio::test]
async fn psql_understands_the_connection_string() {
    let scratch = Scratch::named(" and \u{e9}");
    let system = scratch.start().await;
    let url = system.database_url().to_owned();
    let psql = tokio::process::Command::new("psql").args([&url, "-Atc", "select current_database()"]).output().await;
    // psql is not needed to run the system.
    if let Ok(output) = psql {
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "capitune", "{output:?}");
    }
    assert_eq!(ask(&system, "select current_user::text").await, "capitune");
    system.stop().await;
}

#[tokio::test]
async fn a_second_system_on_one_directory_is_refused() {
    let scratch = Scratch::new();
    let system = scratch.start().await;
    let refused = Embedded::start(scratch.options()).await.unwrap_err();
    assert!(matches!(&refused, EmbeddedError::InUse { owner, .. } if *owner == std::process::id().to_string()));
    assert_eq!(ask(&system, "select 'alive'").await, "alive");
    system.stop().await;
    scratch.start().await.stop().await;
}

#[tokio::test]
async fn another_process_finds_a_running_system_only() {
    let scratch = Scratch::new();
    assert!(matches!(Attached::read(&scratch.0), Err(EmbeddedError::NotRunning(_))));
    let system = scratch.start().await;
    let attached = Attached::read(&scratch.0).unwrap();
    assert_eq!(
        (attached.database_url.as_str(), attached.nats_url.as_str()),
        (system.database_url(), system.nats_url())
    );
    assert_eq!(attached.pid, std::process::id());
    assert!(!format!("{system:?}").contains(&attached.nats_url));
    let file = scratch.0.join("runtime.json");
    let content = fs::read(&file).unwrap();
    system.stop().await;
    assert!(!file.exists());
    fs::write(&file, content).unwrap();
    assert!(matches!(Attached::read(&scratch.0), Err(EmbeddedError::NotRunning(_))));
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_where_it_was() {
    let scratch = Scratch::new();
    let system = scratch.start().await;
    let client = nats(&system).await;
    let (postmaster, nats) = (scratch.postmaster(), scratch.processes("nats-server")[0]);
    kill_process(nats, Signal::KILL).unwrap();
    kill_process(postmaster, Signal::KILL).unwrap();
    until(|| scratch.processes("nats-server").iter().any(|pid| *pid != nats)).await;
    let since = Instant::now();
    while PgConnection::connect(system.database_url()).await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(scratch.postmaster(), postmaster);
    until(|| client.connection_state() == async_nats::connection::State::Connected).await;
    client.flush().await.unwrap();
    system.stop().await;
}

#[tokio::test]
async fn a_server_that_keeps_ending_is_given_up() {
    let scratch = Scratch::new();
    let system = scratch.start().await;
    let killer = async {
        loop {
            for pid in scratch.processes("nats-server") {
                kill_process(pid, Signal::KILL).ok();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let lost = tokio::select! {
        lost = system.exited() => lost,
        () = killer => unreachable!("it goes on for ever"),
    };
    assert!(lost.to_string().contains("nats-server keeps ending"), "{lost}");
    system.stop().await;
    assert!(scratch.processes("postgres").is_empty());
}

#[tokio::test]
async fn a_system_that_is_dropped_or_given_up_while_it_starts_ends() {
    let scratch = Scratch::new();
    let start = Embedded::start(scratch.options());
    assert!(tokio::time::timeout(Duration::from_millis(30), start).await.is_err());
    until(|| !super::directory::is_locked(&scratch.0)).await;
    drop(scratch.start().await);
    scratch.wait_until_empty().await;
}

#[tokio::test]
async fn a_path_that_is_no_good_for_a_socket_gets_it_elsewhere() {
    for suffix in ["-long".repeat(20), ",with,commas".into()] {
        let scratch = Scratch::named(&suffix);
        let system = scratch.start().await;
        assert!(system.database_url().contains("host=/tmp/capitune-"));
        assert_eq!(ask(&system, "select 'alive'").await, "alive");
        let sockets = system.database_url().split(['=', '&']).nth(1).unwrap().to_owned();
        system.stop().await;
        fs::remove_dir_all(sockets).unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_the_servers_cannot_reach_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new();
    fs::DirBuilder::new().mode(0o700).create(&scratch.0).unwrap();
    let options = EmbeddedOptions { data_dir: scratch.0.join("inside"), durable: false };
    let refused = Embedded::start(options).await.unwrap_err();
    assert!(matches!(&refused, EmbeddedError::Unreachable { closed, .. } if *closed == scratch.0), "{refused}");
}

#[tokio::test]
async fn a_half_made_cluster_is_made_anew() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.0.join("postgres.init/base")).unwrap();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o711)).unwrap();
    let system = scratch.start().await;
    assert_eq!(ask(&system, "select 'alive'").await, "alive");
    assert!(!scratch.0.join("postgres.init").exists());
    system.stop().await;
}

/// Not a test: what the next ones kill.
#[tokio::test]
#[ignore = "it runs until it is killed, in a process that other tests start"]
async fn a_system_until_it_is_killed() {
    let data_dir = std::env::var_os(CHILD_DIRECTORY).unwrap().into();
    let _system = Embedded::start(EmbeddedOptions { data_dir, durable: false }).await.unwrap();
    std::future::pending::<()>().await;
}

/// A system in a process of its own, once it is ready.
async fn start_elsewhere(directory: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::a_system_until_it_is_killed", "--ignored"])
        .env(CHILD_DIRECTORY, directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until(|| Attached::read(directory).is_ok()).await;
    child
}

#[tokio::test]
async fn nothing_outlives_a_process_that_is_killed() {
    let scratch = Scratch::new();
    let mut owner = start_elsewhere(&scratch.0).await;
    assert!(!scratch.processes("postgres").is_empty() && !scratch.processes("nats-server").is_empty());
    owner.kill().unwrap();
    owner.wait().unwrap();
    scratch.wait_until_empty().await;
}

#[tokio::test]
async fn what_a_killed_system_left_does_not_keep_the_next_from_starting() {
    let scratch = Scratch::new();
    let mut owner = start_elsewhere(&scratch.0).await;
    let refused = Embedded::start(scratch.options()).await.unwrap_err();
    assert!(refused.to_string().contains(&owner.id().to_string()), "{refused}");
    let postmaster = scratch.postmaster();
    // Stopped, the others cannot end before the next system starts.
    for pid in scratch.processes("postgres").into_iter().chain(scratch.processes("nats-server")) {
        kill_process(pid, Signal::STOP).unwrap();
    }
    kill_process(postmaster, Signal::KILL).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let left: Vec<Pid> = scratch.processes("postgres").into_iter().chain(scratch.processes("nats-server")).collect();
    assert!(!left.is_empty());
    // The locks now name a process that lives, and is not a postmaster.
    let pid_file = scratch.0.join("postgres/postmaster.pid");
    let locks = fs::read_to_string(&pid_file).unwrap();
    let owner_of_lock = fs::metadata(&pid_file).unwrap();
    fs::write(&pid_file, locks.replacen(&postmaster.as_raw_pid().to_string(), "1", 1)).unwrap();
    assert_ne!(owner_of_lock.uid(), 0);
    for pid in left {
        kill_process(pid, Signal::CONT).ok();
    }
    let system = scratch.start().await;
    assert_eq!(ask(&system, "select 'alive'").await, "alive");
    system.stop().await;
}
