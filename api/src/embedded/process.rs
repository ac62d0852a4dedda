//! Child processes: which user they run as, how they end with their parent, how they are stopped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::process::{Child, Command};

use super::EmbeddedError;

/// A way to stop a process: signals in turn, each with the time it is given to work.
pub(super) type Steps = [(Signal, Duration)];

/// The user that children run as instead of root.
#[derive(Debug, Clone)]
pub(super) struct RunAs {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl RunAs {
    /// `postgres` or else `nobody` when this process is root; none otherwise, since children then are who we are.
    pub fn find() -> Result<Option<Self>, EmbeddedError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let path = "/etc/passwd";
        let users = fs::read_to_string(path).map_err(EmbeddedError::io(path))?;
        let user = Self::named("postgres", &users).or_else(|| Self::named("nobody", &users));
        user.map(Some).ok_or(EmbeddedError::NoUser)
    }

    fn named(name: &str, users: &str) -> Option<Self> {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { name: name.into(), uid, gid })
        })
    }

    /// The first directory on the way to `path`, or `path` itself, that this user may not enter or execute.
    pub fn closed_on_the_way(&self, path: &Path) -> Option<PathBuf> {
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        way.into_iter().find(|part| !self.may_enter(part)).map(Path::to_path_buf)
    }

    fn may_enter(&self, path: &Path) -> bool {
        let Ok(metadata) = fs::metadata(path) else {
            return false;
        };
        let bit = if metadata.uid() == self.uid {
            0o100
        } else if metadata.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        metadata.mode() & bit != 0
    }
}

/// A command that runs as `user`, apart from our terminal and without our environment, which holds secrets, and that
/// receives `on_parent_death` when the thread that spawns it ends.
pub(super) fn command(program: &Path, user: Option<&RunAs>, on_parent_death: Signal) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    // A process group of its own: Ctrl-C then reaches us first, and we stop the child in order.
    command.stdin(Stdio::null()).process_group(0);
    if let Some(user) = user {
        // Setting the user clears the supplementary groups as well.
        command.uid(user.uid).gid(user.gid);
    }
    end_with_parent(&mut command, on_parent_death);
    command
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code)]
fn end_with_parent(command: &mut Command, signal: Signal) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};
    let parent = getpid();
    let before_exec = move || {
        set_parent_process_death_signal(Some(signal))?;
        // The parent may have ended before the line above took effect.
        if getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: the closure makes three plain system calls,
    // allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(before_exec);
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_command: &mut Command, _signal: Signal) {}

/// Stops a child of ours and waits for its end.
pub(super) async fn terminate(child: &mut Child, steps: &Steps) {
    for (signal, patience) in steps {
        let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else {
            return;
        };
        // It fails only when the child has just ended, which the next line notices.
        kill_process(pid, *signal).ok();
        if tokio::time::timeout(*patience, child.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(pid = pid.as_raw_pid(), ?signal, "a server does not stop");
    }
}

/// Stops whatever a former run left working in `directory`, and waits for its end.
pub(super) async fn stop_left_behind(
    service: &'static str,
    directory: &Path,
    steps: &Steps,
) -> Result<(), EmbeddedError> {
    for (signal, patience) in steps {
        let since = Instant::now();
        let mut signalled = false;
        while since.elapsed() < *patience {
            let processes = working_in(directory, service);
            if processes.is_empty() {
                return Ok(());
            }
            if !signalled {
                tracing::info!(service, count = processes.len(), "stopping what a former run left behind");
                for pid in processes {
                    // It fails only for a process that has just ended.
                    kill_process(pid, *signal).ok();
                }
                signalled = true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Err(EmbeddedError::LeftBehind { service, path: directory.to_path_buf() })
}

/// The processes named `program` whose working directory is `directory`. Zombies are not among them: they have none.
pub(super) fn working_in(directory: &Path, program: &str) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.file_name().to_str()?.parse().ok()?)))
        .filter(|(process, _)| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == directory))
        .filter(|(process, _)| fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == program))
        .filter_map(|(_, pid)| Pid::from_raw(pid))
        .collect()
}
