//! The outermost layer: what every request and every answer has, whatever lies between.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use serde_json::json;
use tokio::time::timeout;

use crate::accesses::{Access, AccessAction};
use crate::app::App;
use crate::metadata::{REQUEST_ID, RequestInfo};
use crate::problem::{Problem, codes};
use crate::rate_limit::Counted;

const LONGEST_URI: usize = 8 * 1024;
const LARGEST_HEADERS: usize = 16 * 1024;

static ALWAYS: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
const NO_CONTENT: &str = "default-src 'none'; frame-ancestors 'none'";
const OWN_CONTENT: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           frame-ancestors 'none'";

/// Marks a response that is no problem, although its status says that something is not as it should be.
#[derive(Debug, Clone, Copy)]
pub struct Verbatim;

/// Names the request, bounds it in size, number and time, survives its panics, writes its problems, counts it.
pub async fn edge(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let info = Arc::new(RequestInfo::read(request.headers(), request.extensions(), app.trusted_proxies()));
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let origin = app.origins().allowed(request.headers()).cloned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    request.extensions_mut().insert(info.clone());
    let response = answer(&app, next, request, &info, route).await;
    let counted = response.extensions().get::<Counted>().copied();
    note_denial(&app, &response, &info, &method, route);
    let mut response = with_problem(response, &info, &uri);
    decorate(response.headers_mut(), &info, uri.path());
    app.origins().mark(response.headers_mut(), origin.as_ref());
    if let Some(counted) = counted {
        counted.mark(response.headers_mut());
    }
    count(&method, route, response.status(), started.elapsed());
    response
}

/// The answer as a handler gives it, or why none was asked.
async fn answer(app: &App, next: Next, request: Request, info: &RequestInfo, route: &str) -> Response {
    let early = refuse(&request).map(IntoResponse::into_response);
    if let Some(response) = early.or_else(|| app.origins().preflight(request.method(), request.headers())) {
        return response;
    }
    if answers_always(request.uri().path()) {
        return logged(run(next.run(request), app.request_timeout()).await, info, route);
    }
    match app.admission().admit(&request) {
        Ok(place) => {
            if !request.uri().path().starts_with("/api/auth/") {
                app.auth().passwords.note_other();
            }
            let response = run(serve(app, next, request, info), app.request_timeout()).await;
            place.hold(logged(response, info, route))
        }
        // Not logged: there is no time for that.
        Err(problem) => problem.into_response(),
    }
}

/// Whether it says how the process is, and so must be told also when there is too much to do.
fn answers_always(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/") || path == "/metrics"
}

fn logged(response: Response, info: &RequestInfo, route: &str) -> Response {
    // A read model that lags is no failure of the request.
    if response.status().is_server_error() && response.status() != StatusCode::GATEWAY_TIMEOUT {
        tracing::warn!(request_id = info.id, route, status = response.status().as_u16(), "a request failed");
    }
    response
}

/// Counts the request, and serves it while its caller has any left.
async fn serve(app: &App, next: Next, mut request: Request, info: &RequestInfo) -> Response {
    let Some(counted) = app.limiter().count(app, &mut request, info).await else {
        return next.run(request).await;
    };
    let mut response = match counted.refusal() {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    response.extensions_mut().insert(counted);
    response
}

/// A refusal by the policy is recorded, whether or not it looks like one.
fn note_denial(app: &App, response: &Response, info: &RequestInfo, method: &Method, route: &str) {
    let Some(problem) = response.extensions().get::<Problem>().filter(|problem| problem.is_denial()) else { return };
    let Some(caller) = info.caller() else { return };
    let detail = json!({ "method": method.as_str(), "route": route });
    app.accesses().note(Access::new(AccessAction::Request, info).by(caller).refused(problem).with(detail));
}

async fn run(answer: impl Future<Output = Response>, patience: Duration) -> Response {
    let answer = AssertUnwindSafe(answer).catch_unwind();
    match timeout(patience, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a handler panicked");
            Problem::new(&codes::INTERNAL).into_response()
        }
        // A command goes on in a task of its own; only its answer is given up.
        Err(_) => Problem::new(&codes::REQUEST_TIMEOUT).with_retry_after(1).into_response(),
    }
}

/// What no handler should see.
fn refuse(request: &Request) -> Option<Problem> {
    let (uri, headers) = (request.uri(), request.headers());
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > LARGEST_HEADERS {
        return Some(Problem::new(&codes::HEADERS_TOO_LARGE));
    }
    let length = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > LONGEST_URI {
        return Some(Problem::new(&codes::URI_TOO_LONG));
    }
    refuse_host(uri, headers, request.version())
}

/// HTTP/1.1 names one host, and an absolute address must mean the same.
fn refuse_host(uri: &Uri, headers: &HeaderMap, version: Version) -> Option<Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) if version < Version::HTTP_11 => return None,
        _ => return Some(Problem::new(&codes::REQUEST_MALFORMED)),
    };
    let same = |authority: &str| authority.as_bytes().eq_ignore_ascii_case(host.as_bytes());
    let meant = uri.authority().is_none_or(|authority| same(authority.as_str()));
    (!meant).then(|| Problem::new(&codes::REQUEST_MISDIRECTED))
}

/// The response itself, or the problem in it, written for this request.
fn with_problem(response: Response, info: &RequestInfo, uri: &Uri) -> Response {
    let status = response.status();
    if response.extensions().get::<Verbatim>().is_some()
        || status.is_success()
        || status.is_redirection()
        || status.is_informational()
    {
        return response;
    }
    let allow = response.headers().get(ALLOW).cloned();
    let problem = response.extensions().get::<Problem>().cloned();
    let problem = problem.unwrap_or_else(|| Problem::of_status(status));
    problem.render(info.language, uri.path(), &info.id, allow)
}

fn decorate(headers: &mut HeaderMap, info: &RequestInfo, path: &str) {
    for (name, value) in &ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let content = if path.starts_with("/docs") { OWN_CONTENT } else { NO_CONTENT };
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(content));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&info.id) {
        headers.insert(&REQUEST_ID, id);
    }
}

fn count(method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
    // Anything may come as a method; only ours become labels.
    let method = match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    };
    let route: Arc<str> = route.into();
    let status = status.as_u16().to_string();
    let labels = [("method", method.into()), ("route", route.clone()), ("status", Arc::from(status))];
    metrics::counter!("capitune_http_requests_total", &labels).increment(1);
    metrics::histogram!("capitune_http_request_seconds", "method" => method, "route" => route)
        .record(elapsed.as_secs_f64());
}
