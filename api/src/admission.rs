//! How much is done at once: what comes beyond it is turned away before any work is done for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Error;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::extract::{MIN_POSITION, PREFER};
use crate::problem::{Problem, codes};

/// Where one waits for whatever may happen.
const STREAM: &str = "/api/stream";

/// The places of one process.
#[derive(Debug)]
pub struct Admission {
    all: Arc<Semaphore>,
    /// For requests that may wait for something to happen: were they many, nothing else would be done.
    waiting: Arc<Semaphore>,
}

/// A request's place, until it is dropped.
#[derive(Debug)]
pub struct Admitted {
    _one: OwnedSemaphorePermit,
    _waiting: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// At most so many at once, and half of them waiting.
    pub fn new(most: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), waiting: Arc::new(Semaphore::new((most / 2).max(1))) }
    }

    /// A place for this request.
    ///
    /// # Errors
    /// A 503 when there is none.
    pub fn admit(&self, request: &Request) -> Result<Admitted, Problem> {
        let one = |places: &Arc<Semaphore>| {
            let place = places.clone().try_acquire_owned();
            place.map_err(|_| Problem::new(&codes::SERVER_OVERLOADED).with_retry_after(1))
        };
        let waiting = asks_to_wait(request).then(|| one(&self.waiting)).transpose()?;
        Ok(Admitted { _one: one(&self.all)?, _waiting: waiting })
    }
}

impl Admitted {
    /// Keeps the place until the response has been sent, where it is made while it is sent.
    pub fn hold(self, response: Response) -> Response {
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Body::new(Held { body, _place: self }))
    }
}

/// Whether it asks for something that may not be there yet.
fn asks_to_wait(request: &Request) -> bool {
    let headers = request.headers();
    let parameters = request.uri().query().unwrap_or_default();
    request.uri().path() == STREAM
        || headers.contains_key(&PREFER)
        || headers.contains_key(&MIN_POSITION)
        || form_urlencoded::parse(parameters.as_bytes()).any(|(name, _)| matches!(&*name, "minPosition" | "wait"))
}

struct Held {
    body: Body,
    _place: Admitted,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, headers: &[(&str, &str)]) -> Request {
        let builder = headers.iter().fold(Request::builder(), |builder, (name, value)| builder.header(*name, *value));
        builder.uri(target).body(Body::empty()).unwrap()
    }

    #[test]
    fn places_are_few_and_given_back() {
        let (admission, any) = (Admission::new(2), request("/", &[]));
        let (one, other) = (admission.admit(&any).unwrap(), admission.admit(&any).unwrap());
        assert_eq!(admission.admit(&any).unwrap_err().code(), &codes::SERVER_OVERLOADED);
        drop(one);
        let third = admission.admit(&any).unwrap();
        assert!(admission.admit(&any).is_err());
        drop((other, third));
        assert_eq!(admission.all.available_permits(), 2);
    }

    #[test]
    fn those_that_wait_leave_places_to_the_others() {
        let admission = Admission::new(4);
        let waits = [
            request("/api/dossiers", &[("prefer", "wait=30")]),
            request("/api/dossiers", &[("capitune-min-position", "9")]),
            request("/api/dossiers?minPosition=9", &[]),
            request("/api/dossiers?limit=1&min%50osition=9", &[]),
            request("/api/analytics/changes?wait=30", &[]),
            request("/api/stream?after=0", &[]),
        ];
        let held = [admission.admit(&waits[0]).unwrap(), admission.admit(&waits[1]).unwrap()];
        for request in &waits {
            assert!(admission.admit(request).is_err(), "{request:?}");
        }
        let others = [(); 2].map(|()| admission.admit(&request("/api/dossiers?limit=1", &[])).unwrap());
        drop(held);
        assert!(admission.admit(&waits[2]).is_ok());
        drop(others);
        assert_eq!((admission.all.available_permits(), admission.waiting.available_permits()), (4, 2));
    }

    #[test]
    fn what_is_made_while_it_is_sent_keeps_its_place() {
        let (admission, any) = (Admission::new(1), request("/", &[]));
        let whole = admission.admit(&any).unwrap().hold(Response::new(Body::from("x")));
        let stream = Body::from_stream(futures::stream::once(async { Ok::<_, Error>(Bytes::from_static(b"x")) }));
        let streamed = admission.admit(&any).unwrap().hold(Response::new(stream));
        assert!(admission.admit(&any).is_err());
        drop(streamed);
        assert!(admission.admit(&any).is_ok());
        drop(whole);
    }
}
