//! The embedded system as its user has it: one directory, one command.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use api::embedded::Attached;
use event_store::MasterKey;
use rustix::process::{Pid, Signal, kill_process};

use super::process::Process;
use super::{Node, PATIENCE, eventually};

/// A data directory, removed in the end with whatever still runs in it.
pub struct DataDirectory(PathBuf);

impl DataDirectory {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("capitune-system-{}-{number}", std::process::id())))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `capitune` with these arguments on this directory, as a user with an empty environment would have it, except
    /// for the limits of requests.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Process::command(arguments);
        command
            .env("CAPITUNE_DATA_DIR", &self.0)
            .env_remove("CAPITUNE_ADMIN_EMAIL")
            .env_remove("CAPITUNE_ADMIN_PASSWORD");
        command
    }

    /// Starts the system, with an admin that tests know.
    pub async fn start(&self) -> Process {
        let mut command = Process::command(&[]);
        command.env("CAPITUNE_DATA_DIR", &self.0);
        let process = Process::spawn(command).await;
        process.ready().await;
        process
    }

    /// Where the running system's servers are.
    pub fn attached(&self) -> Attached {
        Attached::read(&self.0).unwrap()
    }

    /// A write side of a test on the running system.
    pub async fn node(&self) -> Node {
        let attached = self.attached();
        let key = api::config::MasterKey::read_or_create(&attached.master_key_file).unwrap();
        Node::open(&attached.database_url, MasterKey::new(key.bytes())).await
    }

    /// The processes that work in it.
    pub fn processes(&self) -> Vec<i32> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| self.is_home_of(*id)).collect()
    }

    fn is_home_of(&self, id: i32) -> bool {
        std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|directory| directory.starts_with(&self.0))
    }

    /// Kills everything that works in it.
    pub fn kill_processes(&self) {
        // One may have ended meanwhile, and its number may be that of a stranger.
        for id in self.processes().into_iter().filter(|id| self.is_home_of(*id)) {
            let _ = kill_process(Pid::from_raw(id).unwrap(), Signal::KILL);
        }
    }

    /// Waits until nothing works in it any more.
    pub async fn is_left(&self) {
        eventually("the servers end", || async { self.processes().is_empty() }).await;
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        self.kill_processes();
        let _ = std::fs::remove_dir_all(&self.0);
        let _ = std::fs::remove_dir_all(format!("{}-mailbox", self.0.display()));
    }
}

/// Runs a command to its end.
pub async fn run(command: Command) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let Output { status, stdout, stderr } = output.expect("it does not end").unwrap();
    (status.code(), [stdout, stderr].map(|text| String::from_utf8(text).unwrap()).concat())
}
