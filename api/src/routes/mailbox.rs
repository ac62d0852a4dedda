//! What an embedded system would have mailed, for its developer: at this machine alone.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, HOST};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use html_escape::encode_safe;
use serde_json::json;

use crate::answer::json as json_answer;
use crate::app::App;
use crate::extract::accepts;
use crate::mail::{KeptMessage, Mailbox, is_here};
use crate::metadata::RequestInfo;
use crate::problem::{Problem, codes};

/// Only what is written here, and no script.
const POLICY: (HeaderName, &str) = (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");

/// The routes, which are no part of the API.
pub fn router() -> Router<App> {
    Router::new().route("/dev/mailbox", get(list)).route("/dev/mailbox/{id}", get(show))
}

/// What a proxy adds, in whose name everybody would sit here.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// The mailbox, for who sits at this machine: no name of another host leads here, whatever a resolver says.
fn mailbox<'a>(app: &'a App, info: &RequestInfo, headers: &HeaderMap) -> Result<&'a Mailbox, Problem> {
    let address = info.client.as_ref().and_then(|client| client.address.parse::<IpAddr>().ok());
    let named = headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(is_here);
    let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    let local = named && !forwarded && address.is_some_and(|address| address.is_loopback());
    app.mailbox().filter(|mailbox| local && mailbox.is_shown()).ok_or_else(|| Problem::new(&codes::ROUTE_NOT_FOUND))
}

fn messages(mailbox: &Mailbox) -> Result<Vec<KeptMessage>, Problem> {
    mailbox.messages().map_err(|error| {
        tracing::warn!(%error, "the mailbox cannot be read");
        Problem::new(&codes::INTERNAL)
    })
}

async fn list(
    State(app): State<App>,
    Extension(info): Extension<Arc<RequestInfo>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let messages = messages(mailbox(&app, &info, &headers)?)?;
    if accepts(&headers, "application/json") {
        return Ok(json_answer(&json!({ "items": messages })));
    }
    let row = |message: &KeptMessage| {
        format!(
            "<tr><td>{}<td>{}<td><a href=\"/dev/mailbox/{}\">{}</a></tr>\n",
            message.at.format("%Y-%m-%d %H:%M:%S"),
            encode_safe(&message.to),
            encode_safe(&message.id),
            encode_safe(&message.subject)
        )
    };
    let rows: String = messages.iter().map(row).collect();
    let page = format!(
        "<!doctype html><html lang=\"en\"><title>Mailbox</title><h1>Mailbox</h1>\
         <table cellpadding=\"6\"><tr><th>At<th>To<th>Subject</tr>\n{rows}</table></html>"
    );
    Ok(([POLICY], Html(page)).into_response())
}

async fn show(
    State(app): State<App>,
    Extension(info): Extension<Arc<RequestInfo>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let messages = messages(mailbox(&app, &info, &headers)?)?;
    let message = messages.into_iter().find(|message| message.id == id);
    let message = message.ok_or_else(|| Problem::new(&codes::ROUTE_NOT_FOUND))?;
    if accepts(&headers, "application/json") {
        return Ok(json_answer(&message));
    }
    Ok(([POLICY], Html(message.html)).into_response())
}
