//! A small HTTP/1.1 load generator: keep-alive connections that send a request and wait for its answer.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::measure::Figure;

/// One request.
pub struct Request {
    /// `GET`, `POST`, `PUT`.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// The bearer token; none when empty.
    pub token: Arc<str>,
    /// A JSON text; none when empty.
    pub body: String,
}

impl Request {
    fn write(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        let Self { method, target, token, body } = self;
        let _ = write!(buffer, "{method} {target} HTTP/1.1\r\nhost: localhost\r\nuser-agent: benchmark\r\n");
        if !token.is_empty() {
            let _ = write!(buffer, "authorization: Bearer {token}\r\n");
        }
        if *method != "GET" {
            let (key, length) = (Uuid::now_v7(), body.len());
            let _ = write!(
                buffer,
                "idempotency-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
            );
        }
        let _ = write!(buffer, "\r\n{body}");
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.body).unwrap()
    }
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, request: Vec::new(), received: Vec::with_capacity(1 << 16) })
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, request: &Request) -> std::io::Result<Answer<'_>> {
        request.write(&mut self.request);
        self.stream.write_all(&self.request).await?;
        self.received.clear();
        let (status, body, end) = loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = Head::of(&self.received) {
                break (head.status, head.body, head.body + head.length);
            }
        };
        while self.received.len() < end {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Answer { status, body: &self.received[body..end] })
    }

    /// The same, when nothing but success will do.
    pub async fn succeed(&mut self, request: &Request) -> Answer<'_> {
        let answer = self.ask(request).await.unwrap();
        let text = String::from_utf8_lossy(answer.body);
        assert!(matches!(answer.status, 200..=299), "{} {}: {text}", request.method, request.target);
        answer
    }
}

/// Where an answer's body begins, and how long it is.
struct Head {
    status: u16,
    body: usize,
    length: usize,
}

impl Head {
    /// None while there is more to come.
    fn of(received: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(body) = answer.parse(received).unwrap() else {
            return None;
        };
        let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
        let length = length.expect("every answer tells its length");
        Some(Self { status: answer.code?, body, length })
    }
}

/// Sends what `request(connection, number)` says over `connections` connections for `time`.
pub async fn load<F>(address: SocketAddr, connections: usize, time: Duration, request: F) -> Figure
where
    F: Fn(usize, usize) -> Request + Send + Sync + 'static,
{
    let request = Arc::new(request);
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(address).await.unwrap());
    }
    let started = Instant::now();
    let tasks: Vec<_> = open
        .into_iter()
        .enumerate()
        .map(|(number, connection)| {
            let request = request.clone();
            let until = started + time;
            tokio::spawn(keep_asking(connection, until, move |n| request(number, n)))
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    Figure::from_latencies(latencies, started.elapsed())
}

async fn keep_asking(mut connection: Connection, until: Instant, request: impl Fn(usize) -> Request) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(16_384);
    for number in 0.. {
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        connection.succeed(&request(number)).await;
        latencies.push(begun.elapsed());
    }
    latencies
}
