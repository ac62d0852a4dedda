//! A server that is kept running: started, watched, started again when it ends, stopped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use super::EmbeddedError;
use super::process::{Steps, terminate};

/// How many times a server may end within `WINDOW` before it is given up.
const ENDINGS: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// The pause before a server that ended is started again.
const PAUSE: Duration = Duration::from_millis(200);

/// One of the two servers.
pub(super) trait Service {
    /// The name of its process.
    const NAME: &'static str;
    /// How it is stopped.
    const STOP: &'static Steps;

    /// Clears away what an earlier one left, and starts the process.
    async fn spawn(&mut self) -> Result<Child, EmbeddedError>;

    /// Answers once the process serves, or an error once it has ended or taken too long.
    async fn ready(&mut self, child: &mut Child) -> Result<(), EmbeddedError>;
}

/// A server and its process.
#[derive(Debug)]
pub(super) struct Running<S> {
    pub service: S,
    child: Child,
}

impl<S: Service> Running<S> {
    /// Starts the server, and answers once it serves.
    pub async fn start(mut service: S) -> Result<Self, EmbeddedError> {
        let mut child = service.spawn().await?;
        if let Err(error) = service.ready(&mut child).await {
            terminate(&mut child, S::STOP).await;
            return Err(error);
        }
        Ok(Self { service, child })
    }

    /// Keeps the server running until it is to stop, or until it has ended too often.
    pub async fn keep(mut self, stop: &CancellationToken) -> Result<(), EmbeddedError> {
        let mut endings = VecDeque::new();
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => None,
                reason = self.run() => Some(reason),
            };
            terminate(&mut self.child, S::STOP).await;
            let Some(reason) = ended else { return Ok(()) };
            endings.retain(|at: &Instant| at.elapsed() < WINDOW);
            endings.push_back(Instant::now());
            if endings.len() >= ENDINGS {
                return Err(EmbeddedError::Lost(format!("{} keeps ending: {reason}", S::NAME)));
            }
            tracing::error!(service = S::NAME, %reason, "a server ended, it is started again");
            tokio::time::sleep(PAUSE).await;
            self.child = self.service.spawn().await?;
        }
    }

    /// Stops the server.
    pub async fn stop(mut self) {
        terminate(&mut self.child, S::STOP).await;
    }

    /// Answers why the process ended, or did not come to serve.
    async fn run(&mut self) -> String {
        if let Err(error) = self.service.ready(&mut self.child).await {
            return error.to_string();
        }
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

/// The error when a process ended before it came to serve; none while it lives.
pub(super) fn ended(
    child: &mut Child,
    service: &'static str,
    log: impl FnOnce() -> String,
) -> Result<(), EmbeddedError> {
    match child.try_wait() {
        Ok(None) => Ok(()),
        Ok(Some(status)) => {
            let reason = format!("{status}; the end of its log: {}", log());
            Err(EmbeddedError::NotReady { service, reason })
        }
        Err(error) => Err(EmbeddedError::NotReady { service, reason: error.to_string() }),
    }
}
