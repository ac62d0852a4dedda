//! A proxy in front of a server that loses, or holds up, what it is told to.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

/// What the proxy does with the next message that calls `append_batch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The connection breaks before the server sees the call.
    Request,
    /// The server executes the call and commits; its answer is lost with the connection.
    Answer,
}

/// Which of what goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Requests,
    /// From the server.
    Answers,
}

/// A proxy in front of a Postgres, which listens on a unix socket here, or of a nats-server.
pub struct Proxy {
    // Holds the socket; removed with the proxy.
    _directory: Option<TempDir>,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    requests_to_cut: AtomicU32,
    answers_to_cut: AtomicU32,
    refuse: AtomicBool,
    hold_requests: AtomicBool,
    hold_answers: AtomicBool,
    cuts_made: AtomicU32,
}

impl Plan {
    fn held(&self, way: Way) -> &AtomicBool {
        match way {
            Way::Requests => &self.hold_requests,
            Way::Answers => &self.hold_answers,
        }
    }

    /// Waits as long as nothing goes through this way.
    async fn pass(&self, way: Way) {
        while self.held(way).load(Ordering::SeqCst) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Proxy {
    /// Stands in front of the Postgres at `url`.
    pub async fn start(url: &str) -> (Self, String) {
        let mut parsed = reqwest::Url::parse(url).unwrap();
        let host = parsed.query_pairs().find(|(key, _)| key == "host").unwrap().1.into_owned();
        let server = Path::new(&host).join(".s.PGSQL.5432");
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let plan = Arc::new(Plan::default());
        let pairs: Vec<(String, String)> = parsed.query_pairs().into_owned().filter(|(key, _)| key != "host").collect();
        parsed.query_pairs_mut().clear().extend_pairs(pairs).append_pair("host", directory.path().to_str().unwrap());
        let accepted = plan.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if accepted.refuse.load(Ordering::SeqCst) {
                    continue;
                }
                if let Ok(server) = UnixStream::connect(&server).await {
                    tokio::spawn(carry(client, server, accepted.clone()));
                }
            }
        });
        (Self { _directory: Some(directory), plan }, parsed.to_string())
    }

    /// Stands in front of the nats-server at `url`.
    pub async fn of_nats(url: &str) -> (Self, String) {
        let server = url.strip_prefix("nats://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::new(Plan::default());
        let accepted = plan.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(&server).await {
                    tokio::spawn(carry(client, server, accepted.clone()));
                }
            }
        });
        (Self { _directory: None, plan }, format!("nats://{address}"))
    }

    /// Whether what goes this way is held up; all of it arrives later.
    pub fn hold(&self, way: Way, hold: bool) {
        self.plan.held(way).store(hold, Ordering::SeqCst);
    }

    /// Cuts the connection at the next `times` appends.
    pub fn cut(&self, what: Cut, times: u32) {
        match what {
            Cut::Request => self.plan.requests_to_cut.store(times, Ordering::SeqCst),
            Cut::Answer => self.plan.answers_to_cut.store(times, Ordering::SeqCst),
        }
    }

    /// Whether new connections are refused.
    pub fn refuse(&self, refuse: bool) {
        self.plan.refuse.store(refuse, Ordering::SeqCst);
    }

    /// How many connections were cut.
    pub fn cuts_made(&self) -> u32 {
        self.plan.cuts_made.load(Ordering::SeqCst)
    }
}

async fn carry<S: AsyncRead + AsyncWrite>(client: S, server: S, plan: Arc<Plan>) {
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let lose_answer = Arc::new(AtomicBool::new(false));
    tokio::select! {
        () = carry_answers(from_server, to_client, plan.clone(), lose_answer.clone()) => {}
        () = carry_requests(from_client, to_server, plan, lose_answer) => {}
    }
}

async fn carry_requests(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    plan: Arc<Plan>,
    lose_answer: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 1 << 16];
    // The name of the prepared append, once it was prepared on this connection.
    let mut appends = false;
    while let Ok(length @ 1..) = client.read(&mut buffer).await {
        let message = &buffer[..length];
        appends |= contains(message, b"append_batch");
        // A bind message carries the call; the preparation alone has nothing to lose yet.
        if appends && message.contains(&b'E') && contains(message, b"dossier") {
            if take(&plan.requests_to_cut) {
                plan.cuts_made.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if take(&plan.answers_to_cut) {
                lose_answer.store(true, Ordering::SeqCst);
            }
        }
        plan.pass(Way::Requests).await;
        if server.write_all(message).await.is_err() {
            return;
        }
    }
}

async fn carry_answers(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    plan: Arc<Plan>,
    lose_answer: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = server.read(&mut buffer).await {
        if lose_answer.load(Ordering::SeqCst) {
            plan.cuts_made.fetch_add(1, Ordering::SeqCst);
            return;
        }
        plan.pass(Way::Answers).await;
        if client.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn contains(message: &[u8], text: &[u8]) -> bool {
    message.windows(text.len()).any(|window| window == text)
}

fn take(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
