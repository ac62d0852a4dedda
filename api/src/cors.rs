//! Browsers' pages from elsewhere: those of a few origins may read the answers, all others are told nothing.
//!
//! An answer to a page that may not read it is an answer as to anybody else: the page's browser keeps it from the page.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::config::WebOrigin;
use crate::problem::{Problem, codes};

const METHODS: &str = "GET, POST, PUT, DELETE";
/// What a page may send beside what every page may.
const SENT: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, Prefer, Capitune-Min-Position, X-Request-Id, \
                    Traceparent, X-CSRF-Token";
/// What a page may read beside what every page may.
const READ: &str = "Capitune-Position, Capitune-Held-From, ETag, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, \
                    Idempotent-Replayed, Preference-Applied, WWW-Authenticate, Content-Disposition, Allow";
/// For how long a browser remembers that it may, in seconds.
const REMEMBERED: &str = "600";

/// The origins whose pages may read the answers.
#[derive(Debug)]
pub struct Origins(Vec<WebOrigin>);

impl Origins {
    /// These, and no others.
    pub fn new(origins: Vec<WebOrigin>) -> Self {
        Self(origins)
    }

    /// The answer to a browser that asks before it sends a page's request; none for any other request.
    pub fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asks = method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks {
            return None;
        }
        if self.allowed(headers).is_none() {
            return Some(Problem::new(&codes::ORIGIN_NOT_ALLOWED).into_response());
        }
        let answer = [
            (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (ACCESS_CONTROL_ALLOW_HEADERS, SENT),
            (ACCESS_CONTROL_MAX_AGE, REMEMBERED),
        ];
        Some((StatusCode::NO_CONTENT, answer).into_response())
    }

    /// The origin of a request whose page may read the answer.
    pub fn allowed(&self, headers: &HeaderMap) -> Option<&HeaderValue> {
        let mut sent = headers.get_all(ORIGIN).iter();
        let one = sent.next().filter(|_| sent.next().is_none())?;
        self.0.iter().map(WebOrigin::header).find(|origin| *origin == one)
    }

    /// Tells the browser that a page of `allowed` may read this answer.
    pub fn mark(&self, headers: &mut HeaderMap, allowed: Option<&HeaderValue>) {
        if !self.0.is_empty() {
            headers.append(VARY, ORIGIN.into());
        }
        if let Some(origin) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
        }
    }
}
