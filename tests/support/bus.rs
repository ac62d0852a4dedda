//! JetStream as an operator, or an enemy, has it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use api::config::nats_options;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap};
use domain::EventEnvelope;
use event_store::LogId;
use serde_json::Value;
use tempfile::TempDir;

use super::{Node, eventually, servers, whole_log};

/// The nats-server's side of one log.
pub struct Bus {
    pub client: Client,
    pub context: Context,
    log: LogId,
}

impl Bus {
    /// The stream of the node's log on the nats-server at `url`.
    pub async fn connect(url: &str, node: &Node) -> Self {
        let (servers, options) = nats_options(url).unwrap();
        let client = options.connect(servers).await.unwrap();
        Self { context: jetstream::new(client.clone()), client, log: node.store.log_id() }
    }

    /// The same on the nats-server that all tests share.
    pub async fn shared(node: &Node) -> Self {
        Self::connect(&servers().await.nats_url, node).await
    }

    pub fn name(&self) -> String {
        format!("capitune_{}", self.log)
    }

    pub fn subject(&self, event: &EventEnvelope) -> String {
        format!("capitune.{}.{}.{}", self.log, event.aggregate_type, event.aggregate_id)
    }

    /// The headers of the relay.
    pub fn headers(&self, event: &EventEnvelope) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("Capitune-Log-Id", self.log.to_string());
        headers.insert("Capitune-Position", event.position.to_string());
        headers.insert("Capitune-Event-Id", event.event_id.to_string());
        headers
    }

    /// Publishes and gives the answer: `seq`, or `error.err_code`.
    pub async fn publish(&self, subject: String, headers: HeaderMap, payload: String) -> Value {
        let answer = self.client.request_with_headers(subject, headers, payload.into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    }

    /// Makes the stream as the relay does, with this as the first sequence.
    pub async fn create(&self, first: u64) {
        let config = jetstream::stream::Config {
            name: self.name(),
            subjects: vec![format!("capitune.{}.>", self.log)],
            first_sequence: Some(first),
            ..Default::default()
        };
        self.context.create_stream(config).await.unwrap();
    }

    pub async fn stream(&self) -> Option<Stream> {
        self.context.get_stream(self.name()).await.ok()
    }

    /// The last sequence of the stream, 0 when there is none.
    pub async fn last(&self) -> u64 {
        self.stream().await.map_or(0, |stream| stream.cached_info().state.last_sequence)
    }

    /// Waits until the relay has published the whole log.
    pub async fn published(&self, node: &Node) {
        eventually("the relay publishes up to the head", || async {
            self.last().await == node.store.head().await.unwrap()
        })
        .await;
    }

    /// Asserts that the stream holds, from its first message on, exactly the log, every event at its position.
    pub async fn assert_stream_is_the_log(&self, node: &Node) {
        self.published(node).await;
        let stream = self.stream().await.unwrap();
        let state = stream.cached_info().state.clone();
        assert_eq!(state.messages, state.last_sequence + 1 - state.first_sequence, "there are holes");
        let log = whole_log(&node.store).await;
        for event in &log[state.first_sequence as usize - 1..] {
            let message = stream.get_raw_message(event.position).await.unwrap();
            assert_is(&message, event);
        }
    }
}

fn assert_is(message: &StreamMessage, event: &EventEnvelope) {
    let header = |name: &str| message.headers.get(name).unwrap().as_str().to_owned();
    assert_eq!(message.sequence, event.position);
    assert_eq!(header("Capitune-Position"), event.position.to_string());
    assert_eq!(header("Capitune-Event-Id"), event.event_id.to_string());
    let published: EventEnvelope = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!((published.event_id, published.payload.get()), (event.event_id, event.payload.get()));
}

/// A nats-server of a test's own, to be stopped, killed and emptied.
pub struct NatsServer {
    child: Child,
    port: u16,
    store: TempDir,
}

impl NatsServer {
    pub async fn start() -> Self {
        let store = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = spawn(port, &store).await;
        let server = Self { child, port, store };
        server.ready().await;
        server
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it has stored until now, as it would be left by a power loss some time later.
    pub fn copy_of_store(&self) -> TempDir {
        let copy = TempDir::new().unwrap();
        let copied = Command::new("cp").arg("-a").arg(self.store.path().join(".")).arg(copy.path()).status().unwrap();
        assert!(copied.success());
        copy
    }

    /// Starts it again after it was killed, with this store instead of its own.
    pub async fn restart_on(&mut self, store: TempDir) {
        self.store = store;
        self.restart(false).await;
    }

    /// Starts it again after it was killed, with or without what it had stored.
    pub async fn restart(&mut self, emptied: bool) {
        if emptied {
            self.store = TempDir::new().unwrap();
        }
        self.child = spawn(self.port, &self.store).await;
        self.ready().await;
    }

    async fn ready(&self) {
        let address = ("127.0.0.1", self.port);
        eventually("nats-server listens", || async { tokio::net::TcpStream::connect(address).await.is_ok() }).await;
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three nats-servers that are one cluster.
pub struct NatsCluster {
    nodes: Vec<Child>,
    ports: Vec<u16>,
    stores: Vec<TempDir>,
    routes: Vec<u16>,
}

impl NatsCluster {
    pub async fn start() -> Self {
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = [port(), port(), port()].to_vec();
        let routes = [port(), port(), port()].to_vec();
        let stores = (0..3).map(|_| TempDir::new().unwrap()).collect();
        let mut cluster = Self { nodes: Vec::new(), ports, stores, routes };
        for node in 0..3 {
            let child = cluster.spawn(node).await;
            cluster.nodes.push(child);
        }
        for port in &cluster.ports {
            let address = ("127.0.0.1", *port);
            eventually("nats-server listens", || async { tokio::net::TcpStream::connect(address).await.is_ok() }).await;
        }
        cluster
    }

    async fn spawn(&self, node: usize) -> Child {
        let routes = self.routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
        Command::new(program().await)
            .args(["-a", "127.0.0.1", "-p", &self.ports[node].to_string(), "-js", "-sd"])
            .arg(self.stores[node].path())
            .args(["--name", &format!("node{node}"), "--cluster_name", "capitune"])
            .args(["--cluster", &format!("nats://127.0.0.1:{}", self.routes[node]), "--routes", &routes])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Every node's address.
    pub fn url(&self) -> String {
        self.ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// One node's address.
    pub fn url_of(&self, node: usize) -> String {
        format!("nats://127.0.0.1:{}", self.ports[node])
    }

    /// Kills a node.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill().unwrap();
        self.nodes[node].wait().unwrap();
    }

    /// Starts a killed node again, with what it had stored.
    pub async fn restart(&mut self, node: usize) {
        self.nodes[node] = self.spawn(node).await;
    }
}

impl Drop for NatsCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

async fn spawn(port: u16, store: &TempDir) -> Child {
    Command::new(program().await)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(store.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The program that the shared nats-server runs, which tells its process id in the name of its ports file.
async fn program() -> PathBuf {
    servers().await;
    let files = std::fs::read_dir(super::data_dir().join("nats")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let id = names.filter_map(|name| Some(name.strip_suffix(".ports")?.rsplit_once('_')?.1.to_owned())).next().unwrap();
    std::fs::read_link(format!("/proc/{id}/exe")).unwrap()
}
