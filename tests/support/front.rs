//! A TCP front that a test points from one server to another, as a load balancer does at a fail-over.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the front does with what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    /// The port on the loopback address that new connections go to; none are accepted without one.
    target: Option<u16>,
    /// Raised to break every connection that is open.
    cut: u32,
    /// Nothing goes through in either direction; all of it arrives later.
    hold: bool,
}

/// A front on a free port of the loopback address.
pub struct Front {
    port: u16,
    plan: Arc<watch::Sender<Plan>>,
    task: JoinHandle<()>,
}

impl Front {
    /// Leads to this port.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(watch::Sender::new(Plan { target: Some(target), cut: 0, hold: false }));
        let task = tokio::spawn(accept(listener, plan.clone()));
        Self { port, plan, task }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every open connection, and leads new ones to another port.
    pub fn point_to(&self, target: u16) {
        self.plan.send_modify(|plan| *plan = Plan { target: Some(target), cut: plan.cut + 1, hold: false });
    }

    /// Breaks every open connection, and those that are made until it is pointed somewhere again.
    pub fn refuse(&self) {
        self.plan.send_modify(|plan| *plan = Plan { target: None, cut: plan.cut + 1, hold: false });
    }

    /// Whether nothing goes through for now.
    pub fn hold(&self, hold: bool) {
        self.plan.send_modify(|plan| plan.hold = hold);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
        self.refuse();
    }
}

async fn accept(listener: TcpListener, plan: Arc<watch::Sender<Plan>>) {
    while let Ok((client, _)) = listener.accept().await {
        let plan = plan.subscribe();
        tokio::spawn(async move {
            let now = *plan.borrow();
            let Some(target) = now.target else { return };
            // A server that is down closes what came for it.
            let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let mut cut = plan.clone();
            tokio::select! {
                () = carry(from_client, to_server, plan.clone()) => {}
                () = carry(from_server, to_client, plan) => {}
                _ = cut.wait_for(|plan| plan.cut != now.cut) => {}
            }
        });
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut plan: watch::Receiver<Plan>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if plan.wait_for(|plan| !plan.hold).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    // What was written last still has to arrive.
    let _ = tokio::time::timeout(Duration::from_secs(1), to.shutdown()).await;
}
