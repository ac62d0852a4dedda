//! HTTP as enemies speak it: byte by byte, on a connection of their own.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::system;

/// A connection to a process.
pub struct Raw {
    stream: TcpStream,
    pub host: String,
}

impl Raw {
    /// To the one that all tests share.
    pub async fn connect() -> Self {
        Self::to(&system().await.process.url()).await
    }

    pub async fn to(url: &str) -> Self {
        let host = url.trim_start_matches("http://").to_owned();
        Self { stream: TcpStream::connect(&host).await.unwrap(), host }
    }

    /// Sends bytes; a server that has hung up already is fine.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(Duration::from_secs(5), self.stream.write_all(bytes.as_ref())).await;
    }

    /// The status of the next answer, as soon as its first line has come.
    pub async fn status(&mut self) -> u16 {
        let mut line = Vec::new();
        // An interim answer is followed by an empty line.
        while line.len() < 3 || !line.ends_with(b"\r\n") {
            line.push(timeout(super::SOON, self.stream.read_u8()).await.expect("no answer comes").unwrap());
        }
        let line = String::from_utf8_lossy(&line);
        *statuses(&line).first().unwrap_or_else(|| panic!("{line} is no status"))
    }

    /// What comes until the server hangs up, or until it is silent for `patience`; and whether it hung up.
    pub async fn receive(&mut self, patience: Duration) -> (String, bool) {
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match timeout(patience, self.stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return (String::from_utf8_lossy(&received).into_owned(), true),
                Ok(Ok(length)) => received.extend_from_slice(&buffer[..length]),
                Err(_) => return (String::from_utf8_lossy(&received).into_owned(), false),
            }
        }
    }
}

/// What one request, given byte by byte, is answered with. `HOST` stands for the server's own.
pub async fn exchange(request: impl AsRef<[u8]>) -> (String, bool) {
    let mut raw = Raw::connect().await;
    let request = replace(request.as_ref(), b"HOST", raw.host.as_bytes());
    raw.send(request).await;
    raw.receive(Duration::from_millis(700)).await
}

/// The statuses of all answers in what came.
pub fn statuses(received: &str) -> Vec<u16> {
    let starts = received.match_indices("HTTP/1.");
    starts.filter_map(|(at, _)| received.get(at + 9..at + 12)?.parse().ok()).collect()
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(what.len()).position(|window| window == what) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(with);
        rest = &rest[at + what.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}
