//! Everything about a query: who asks, for what, and how fresh the answer must be.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use commands::Context;
use domain::Actor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Preferences;
use super::command::{context, request_info};
use super::parameters::{parse_position, strict_parameters};
use crate::app::App;
use crate::auth::Caller;
use crate::metadata::RequestInfo;
use crate::problem::{Language, Problem, codes};

/// `Capitune-Min-Position`.
pub static MIN_POSITION: HeaderName = HeaderName::from_static("capitune-min-position");

/// A query that takes no parameters of its own.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// A query as it came in.
#[derive(Debug)]
pub struct QueryRequest<T> {
    /// Who asks.
    pub caller: Caller,
    /// The parameters.
    pub parameters: T,
    /// The position that the answer must be at, or later; 0 for any.
    pub min_position: u64,
    /// Until when to wait for it.
    pub deadline: Instant,
    /// What else is known of the request.
    pub info: Arc<RequestInfo>,
}

impl<T: DeserializeOwned + Send> FromRequestParts<App> for QueryRequest<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let (parameters, parameter) = strict_parameters(parts.uri.query().unwrap_or_default())?;
        let header = min_position(&parts.headers)?;
        let wait = Preferences::read(&parts.headers).wait.min(app.longest_wait());
        Ok(Self {
            caller,
            parameters,
            min_position: header.max(parameter).unwrap_or(0),
            deadline: Instant::now() + wait,
            info: request_info(parts)?,
        })
    }
}

/// A query of somebody who is not known.
#[derive(Debug)]
pub struct PublicQuery<T> {
    /// The parameters.
    pub parameters: T,
    /// Its headers.
    pub headers: HeaderMap,
    info: Arc<RequestInfo>,
    deadline: Instant,
}

impl<T: DeserializeOwned + Send> FromRequestParts<App> for PublicQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (parameters, _) = strict_parameters(parts.uri.query().unwrap_or_default())?;
        let deadline = Instant::now() + app.command_timeout();
        Ok(Self { parameters, headers: parts.headers.clone(), info: request_info(parts)?, deadline })
    }
}

impl<T> PublicQuery<T> {
    /// What else is known of the request.
    pub fn info(&self) -> &RequestInfo {
        &self.info
    }

    /// The language that its sender reads.
    pub fn language(&self) -> Language {
        self.info.language
    }

    /// The context of a command that `actor` gives by this request.
    pub fn context(&self, actor: Actor) -> Context {
        context(actor, &self.info, self.deadline)
    }
}

fn min_position(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut highest = None;
    for value in headers.get_all(&MIN_POSITION) {
        let position = value.to_str().ok().and_then(|text| parse_position(text.trim()));
        let refused = || {
            Problem::new(&codes::HEADER_INVALID)
                .with_detail("Capitune-Min-Position must be a position", "Capitune-Min-Position doit être une position")
        };
        highest = highest.max(Some(position.ok_or_else(refused)?));
    }
    Ok(highest)
}
