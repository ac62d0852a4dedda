//! Serving HTTP: bounded headers, patience for slow clients, an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::head_patience::{HeadPatience, IDLE};
use crate::lingering::Lingering;
use crate::metadata::Peer;

/// How long requests in flight may take once the server is to stop.
const DRAIN: Duration = Duration::from_secs(25);
/// How long a client may take none of what it is sent.
const UNREAD: Duration = Duration::from_secs(60);
/// How much of a request's head is kept in memory.
const HEAD_BUFFER: usize = 64 * 1024;
const MOST_HEADERS: usize = 100;
/// How many open files are kept for everything that is no client's connection.
const OTHER_FILES: u64 = 256;
const FEWEST_CONNECTIONS: u64 = 64;

/// Serves `router` until `stop`, then lets the requests in flight finish.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(most_connections()));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match places.clone().try_acquire_owned() {
                Ok(place) => accept(stream, peer, &router, &graceful, place),
                // Closed at once: with no file left, not even the database could be reached.
                Err(_) => tracing::debug!("a connection too many"),
            },
            Err(error) => {
                // Out of file descriptors, usually: some will be closed in a moment.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

/// As many as the system lets us open files, but for a few.
fn most_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let more = Rlimit { current: limit.maximum, ..limit };
    let files = setrlimit(Resource::Nofile, more).map_or(limit.current, |()| limit.maximum);
    let connections = files.map_or(Semaphore::MAX_PERMITS as u64, |files| files.saturating_sub(OTHER_FILES));
    usize::try_from(connections.max(FEWEST_CONNECTIONS)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

fn accept(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Router,
    graceful: &GracefulShutdown,
    place: OwnedSemaphorePermit,
) {
    // Answers are small: waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let router = router.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let body = Body::new(Lingering::new(&head.headers, body));
        let mut request = Request::from_parts(head, body);
        request.extensions_mut().insert(Peer(peer));
        let answer = router.clone().oneshot(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let patience = HeadPatience::default();
    let timer = patience.clone();
    let mut stream = TimeoutStream::new(InspectReader::new(stream, move |_| patience.byte()));
    stream.set_write_timeout(Some(UNREAD));
    let connection = http1::Builder::new()
        .timer(timer)
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD_BUFFER)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        let _place = place;
        // A client that goes away or sends nonsense is no event of ours.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}
