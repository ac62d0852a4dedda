//! A private Postgres and nats-server, started as children of this process in a data directory of its own.
//!
//! They listen on a unix socket and on loopback only, never run as root, and end with this process, also when it is
//! killed. One process at a time owns a data directory.

mod attached;
mod directory;
mod error;
mod nats;
mod postgres;
mod process;
mod programs;
mod service;
mod supervisor;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use tokio::sync::{oneshot, watch};

pub use attached::Attached;
pub use error::EmbeddedError;

pub(crate) use directory::write_private;

/// The file of the master key that an embedded system makes for itself, in its data directory.
pub const MASTER_KEY_FILE: &str = "master.key";

/// Where and how an embedded system runs.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The directory that holds everything; it is made when missing.
    pub data_dir: PathBuf,
    /// Whether a commit survives a power loss. False is for tests: faster, and unsafe.
    pub durable: bool,
}

/// A running embedded system. Dropping it stops it too, without waiting for the end.
#[derive(Debug)]
pub struct Embedded {
    system: Attached,
    data_dir: PathBuf,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
    lost: watch::Receiver<Option<String>>,
}

impl Embedded {
    /// Starts both servers and answers once they accept connections and the database exists.
    ///
    /// # Errors
    ///
    /// When another process owns the data directory, when it cannot be used, when a server is missing or too old, or
    /// when one does not start.
    pub async fn start(options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let (stop, stop_requested) = oneshot::channel();
        let (lost_sender, lost) = watch::channel(None);
        let (ready_sender, ready) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        let job = supervisor::Job { options, stop_requested, lost: lost_sender, ready: ready_sender };
        // A child that asked to die with its parent dies with the *thread* that started it: this one does nothing else.
        std::thread::Builder::new()
            .name("embedded".into())
            .spawn(move || {
                supervisor::run(job);
                // Nobody may be waiting for the end.
                ended_sender.send(()).ok();
            })
            .map_err(EmbeddedError::Supervisor)?;
        let (system, data_dir) = ready.await.map_err(|_| EmbeddedError::supervisor_ended())??;
        Ok(Self { system, data_dir, stop, ended, lost })
    }

    /// A connection string over the unix socket, for sqlx and psql alike.
    pub fn database_url(&self) -> &str {
        &self.system.database_url
    }

    /// The address of the nats-server, with its token.
    pub fn nats_url(&self) -> &str {
        &self.system.nats_url
    }

    /// The data directory, absolute and without symbolic links.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where the system's own master key is kept, unless one is given.
    pub fn master_key_file(&self) -> &Path {
        &self.system.master_key_file
    }

    /// Waits until a server is lost for good: one that ends is started again, unless it keeps ending.
    pub async fn exited(&self) -> EmbeddedError {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => EmbeddedError::Lost(reason),
            _ => EmbeddedError::supervisor_ended(),
        }
    }

    /// Stops both servers in order, and answers once they have ended and the data directory is free.
    pub async fn stop(self) {
        // Both fail only when the supervisor has already ended.
        self.stop.send(()).ok();
        self.ended.await.ok();
    }
}
