//! The thread that owns the servers from their start to their end.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::directory::DataDirectory;
use super::nats::Nats;
use super::postgres::Postgres;
use super::service::Running;
use super::{Attached, EmbeddedError, EmbeddedOptions, MASTER_KEY_FILE};

/// What the thread is to do, and whom it tells.
pub(super) struct Job {
    pub options: EmbeddedOptions,
    /// Answers when the system is to stop, also when nobody holds it any more.
    pub stop_requested: oneshot::Receiver<()>,
    pub lost: watch::Sender<Option<String>>,
    pub ready: oneshot::Sender<Result<(Attached, PathBuf), EmbeddedError>>,
}

/// Runs a system on this thread until it is stopped or given up.
pub(super) fn run(job: Job) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(supervise(job)),
        // Whoever asked may be gone.
        Err(error) => drop(job.ready.send(Err(EmbeddedError::Supervisor(error)))),
    }
}

async fn supervise(job: Job) {
    let System { directory, postgres, nats } = match System::start(&job.options).await {
        Ok((system, attached)) => {
            // Whoever asked may be gone; `stop_requested` then answers at once.
            job.ready.send(Ok((attached, system.directory.path.clone()))).ok();
            system
        }
        Err(error) => return drop(job.ready.send(Err(error))),
    };
    let stop = CancellationToken::new();
    let stopper = async {
        job.stop_requested.await.ok();
        stop.cancel();
    };
    let report = |outcome: Result<(), EmbeddedError>| {
        if let Err(error) = outcome {
            tracing::error!(%error, "a server is given up");
            job.lost.send_replace(Some(error.to_string()));
        }
    };
    let postgres = async { report(postgres.keep(&stop).await) };
    let nats = async { report(nats.keep(&stop).await) };
    tokio::join!(stopper, postgres, nats);
    Attached::remove(&directory.path);
}

/// Everything that runs in one data directory.
struct System {
    directory: Arc<DataDirectory>,
    postgres: Running<Postgres>,
    nats: Running<Nats>,
}

impl System {
    async fn start(options: &EmbeddedOptions) -> Result<(Self, Attached), EmbeddedError> {
        let directory = Arc::new(DataDirectory::open(&options.data_dir).await?);
        Attached::remove(&directory.path);
        let postgres = async { Running::start(Postgres::prepare(directory.clone(), options.durable).await?).await };
        let nats = async { Running::start(Nats::prepare(directory.clone())?).await };
        let (postgres, nats) = match tokio::join!(postgres, nats) {
            (Ok(postgres), Ok(nats)) => (postgres, nats),
            (Err(error), Ok(nats)) => {
                nats.stop().await;
                return Err(error);
            }
            (Ok(postgres), Err(error)) => {
                postgres.stop().await;
                return Err(error);
            }
            (Err(error), Err(_)) => return Err(error),
        };
        let attached = Attached {
            pid: std::process::id(),
            database_url: postgres.service.url(),
            nats_url: nats.service.url(),
            master_key_file: directory.path.join(MASTER_KEY_FILE),
        };
        let system = Self { directory, postgres, nats };
        match attached.write(&system.directory.path) {
            Ok(()) => Ok((system, attached)),
            Err(error) => {
                tokio::join!(system.postgres.stop(), system.nats.stop());
                Err(error)
            }
        }
    }
}
