//! Everything about a command: who gives it, its body, on which conditions, and under which key.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH};
use axum::http::request::Parts;
use bytes::Bytes;
use commands::Context;
use domain::Actor;
use event_store::{IdempotencyKey, Vault};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::parameters::strict_parameters;
use super::precondition::Precondition;
use super::{NoParameters, Preferences, read_body, strict_json};
use crate::app::App;
use crate::auth::Caller;
use crate::metadata::RequestInfo;
use crate::problem::{Problem, codes};

/// `Idempotency-Key`.
pub static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const LONGEST_KEY: usize = 255;

/// The body of a command that says all by its address.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoBody {}

/// A command as it came in.
#[derive(Debug)]
pub struct CommandRequest<T> {
    /// What it says.
    pub body: T,
    /// All that is said around it.
    pub order: Order,
}

/// Who gives a command, and on which conditions.
#[derive(Debug)]
pub struct Order {
    /// Who gives it.
    pub caller: Caller,
    /// The versions on which it may be decided.
    pub precondition: Precondition,
    /// What the client prefers.
    pub preferences: Preferences,
    key: Option<(String, [u8; 32])>,
    info: Arc<RequestInfo>,
    deadline: Instant,
}

impl<T: DeserializeOwned> FromRequest<App> for CommandRequest<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (order, headers, bytes) = read(request, app, app.body_limit()).await?;
        Ok(Self { body: strict_json(&headers, &bytes)?, order })
    }
}

/// A command whose body is a file, of at most `LIMIT` bytes.
#[derive(Debug)]
pub struct UploadRequest<const LIMIT: usize> {
    /// What was uploaded.
    pub file: Bytes,
    /// Its headers.
    pub headers: HeaderMap,
    /// All that is said around it.
    pub order: Order,
}

impl<const LIMIT: usize> FromRequest<App> for UploadRequest<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (order, headers, file) = read(request, app, LIMIT).await?;
        Ok(Self { file, headers, order })
    }
}

/// Who gives a command on which conditions, and the body that it came with.
async fn read(request: Request, app: &App, limit: usize) -> Result<(Order, HeaderMap, Bytes), Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, app).await?;
    strict_parameters::<NoParameters>(parts.uri.query().unwrap_or_default())?;
    let precondition = Precondition::read(&parts.headers)?;
    let key = idempotency_key(&parts.headers)?;
    let bytes = read_body(&parts.headers, body, limit).await?;
    let order = Order {
        caller,
        precondition,
        preferences: Preferences::read(&parts.headers),
        key: key.map(|key| (key, digest(app.vault(), &parts, &bytes))),
        info: request_info(&parts)?,
        deadline: Instant::now() + app.command_timeout(),
    };
    Ok((order, parts.headers, bytes))
}

impl<T> CommandRequest<T> {
    /// What it says, and all around it.
    pub fn into_parts(self) -> (T, Order) {
        (self.body, self.order)
    }
}

impl Order {
    /// The command's context, to be answered with `status`. The precondition is still to be added.
    pub fn context(&self, status: u16) -> Context {
        let idempotency = self.key.as_ref().map(|(key, digest)| IdempotencyKey {
            scope: self.caller.id(),
            key: key.clone(),
            digest: digest.to_vec(),
            status,
        });
        Context { idempotency, ..context(self.caller.actor, &self.info, self.deadline) }
    }

    /// What else is known of the request.
    pub fn info(&self) -> &RequestInfo {
        &self.info
    }

    /// Until when the client waits for a read model.
    pub fn patience(&self, longest: Duration) -> Instant {
        Instant::now() + self.preferences.wait.min(longest)
    }
}

/// A request of somebody who is not known yet, or who asks for tokens: without conditions and keys.
#[derive(Debug)]
pub struct PublicRequest<T> {
    /// Its body.
    pub body: T,
    /// Its headers.
    pub headers: HeaderMap,
    info: Arc<RequestInfo>,
    deadline: Instant,
}

impl<T: DeserializeOwned> FromRequest<App> for PublicRequest<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        strict_parameters::<NoParameters>(parts.uri.query().unwrap_or_default())?;
        let bytes = read_body(&parts.headers, body, app.body_limit()).await?;
        let deadline = Instant::now() + app.command_timeout();
        let (body, info) = (strict_json(&parts.headers, &bytes)?, request_info(&parts)?);
        Ok(Self { body, headers: parts.headers, info, deadline })
    }
}

impl<T> PublicRequest<T> {
    /// What it says, and what else is known of it.
    pub fn into_parts(self) -> (T, Arc<RequestInfo>) {
        (self.body, self.info)
    }

    /// What else is known of the request.
    pub fn info(&self) -> &RequestInfo {
        &self.info
    }

    /// The context of a command that `actor` gives by this request.
    pub fn context(&self, actor: Actor) -> Context {
        context(actor, &self.info, self.deadline)
    }
}

/// What the outermost layer found out about the request.
///
/// # Errors
/// A 500 when there was no such layer.
pub fn request_info(parts: &Parts) -> Result<Arc<RequestInfo>, Problem> {
    parts.extensions.get::<Arc<RequestInfo>>().cloned().ok_or_else(|| Problem::new(&codes::INTERNAL))
}

/// The context of a command that `actor` gives by a request.
pub fn context(actor: Actor, info: &RequestInfo, deadline: Instant) -> Context {
    Context {
        actor,
        on_behalf_of: None,
        request_id: info.id.clone(),
        traceparent: info.traceparent.clone(),
        correlation_id: info.correlation_id(),
        causation_id: info.causation_id(),
        client: info.client.clone(),
        if_match: None,
        idempotency: None,
        claims: Vec::new(),
        deadline,
    }
}

/// The caller's key: 1 to 255 visible ASCII characters.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let visible = |key: &&[u8]| (1..=LONGEST_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    let key = Some(key.as_bytes()).filter(visible).filter(|_| keys.next().is_none());
    let key = key.and_then(|key| String::from_utf8(key.to_vec()).ok());
    key.map(Some).ok_or_else(|| {
        Problem::new(&codes::IDEMPOTENCY_KEY_INVALID).with_detail(
            "an idempotency key has 1 to 255 visible ASCII characters",
            "une clé d'idempotence a de 1 à 255 caractères ASCII visibles",
        )
    })
}

/// What tells one request from another under the same key.
fn digest(vault: &Vault, parts: &Parts, body: &Bytes) -> [u8; 32] {
    let mut request = Vec::with_capacity(body.len() + 128);
    request.extend_from_slice(parts.method.as_str().as_bytes());
    request.push(b'\n');
    request.extend_from_slice(parts.uri.path().as_bytes());
    request.push(b'\n');
    for condition in parts.headers.get_all(IF_MATCH) {
        request.extend_from_slice(condition.as_bytes());
        request.push(b',');
    }
    request.push(b'\n');
    request.extend_from_slice(body);
    vault.keyed_hash("idempotency", &request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_and_short() {
        let read = |key: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(&IDEMPOTENCY_KEY, key.parse().unwrap());
            idempotency_key(&headers)
        };
        assert_eq!(read("a-b_c~1").unwrap().as_deref(), Some("a-b_c~1"));
        assert_eq!(read(&"k".repeat(255)).unwrap().map(|key| key.len()), Some(255));
        for bad in ["", "a b", &"k".repeat(256)] {
            assert_eq!(read(bad).unwrap_err().code().name, "idempotency.key_invalid");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }
}
