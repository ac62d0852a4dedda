//! Evidence that the log is as it was recorded: signed tree heads, and proofs against them.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use domain::Action;
use event_store::audit::{PublishedKey, SignedHead, root_above};
use event_store::{EventStore, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accesses::{Access, AccessAction};
use crate::answer::{POSITION, QueryAnswer};
use crate::app::App;
use crate::extract::{NoParameters, QueryRequest, accepts, invalid_parameter};
use crate::problem::Problem;

const NOTE: &str = "text/plain";

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(head))
        .routes(routes!(keys))
        .routes(routes!(inclusion))
        .routes(routes!(consistency))
}

/// A signed tree head.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadView {
    /// How many events it covers.
    size: u64,
    /// The root of the Merkle tree over them, in base64.
    root_hash: String,
    /// When it was signed, in microseconds: as it is signed.
    at: String,
    /// Which key signed it.
    key_id: String,
    /// Its Ed25519 signature, in base64, of origin, size, root hash and `at ` with the time, each followed by a line
    /// feed.
    signature: String,
    /// Which log it is of.
    origin: String,
}

impl From<&SignedHead> for HeadView {
    fn from(signed: &SignedHead) -> Self {
        Self {
            size: signed.head.size,
            root_hash: signed.head.root.to_string(),
            at: signed.head.time(),
            key_id: signed.key_id.to_string(),
            signature: STANDARD.encode(signed.signature),
            origin: signed.head.origin.clone(),
        }
    }
}

impl HeadView {
    /// The head as a signed note; none when the key's id or the signature is malformed.
    pub fn note(&self) -> Option<String> {
        let key_id = u32::from_str_radix(&self.key_id, 16).ok()?.to_be_bytes();
        let signature = STANDARD.encode([key_id.as_slice(), &STANDARD.decode(&self.signature).ok()?].concat());
        let Self { size, root_hash, at, origin, .. } = self;
        Some(format!("{origin}\n{size}\n{root_hash}\nat {at}\n\n— {origin} {signature}\n"))
    }
}

/// The newest signed tree head: keep it, and nobody can change what it covers unnoticed.
///
/// With `Accept: text/plain` it comes as a signed note, as witnesses of transparency logs read it.
#[utoipa::path(get, path = "/api/audit/head", tag = "audit", operation_id = "treeHead",
    responses((status = 200, content((HeadView = "application/json"), (String = "text/plain")))))]
async fn head(
    State(app): State<App>,
    headers: HeaderMap,
    request: QueryRequest<NoParameters>,
) -> Result<Response, Problem> {
    let signed = sealed(&app, &request).await?;
    if accepts(&headers, NOTE) {
        let mut response = signed.note().into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response.headers_mut().insert(&POSITION, HeaderValue::from(signed.head.size));
        return Ok(response);
    }
    Ok(QueryAnswer::new(HeadView::from(&signed), signed.head.size).into_response())
}

/// A key that heads are signed with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// Its id.
    key_id: String,
    /// The public key of Ed25519, in base64.
    public_key: String,
    /// Its signed note form: name, id, and key, joined by `+`.
    verifier_key: String,
    /// From when it signs.
    active_from: DateTime<Utc>,
    /// The key before it, which introduced it; the first has none.
    introduced_by: Option<String>,
    /// The signature of that key, in base64, of the origin, `the next key` and the verifier key, each followed by a line
    /// feed.
    introduction: Option<String>,
}

impl From<PublishedKey> for KeyView {
    fn from(published: PublishedKey) -> Self {
        let PublishedKey { key, active_from, introduced_by } = published;
        Self {
            key_id: key.id().to_string(),
            public_key: STANDARD.encode(key.public_key),
            verifier_key: key.to_string(),
            active_from,
            introduced_by: introduced_by.map(|(by, _)| by.to_string()),
            introduction: introduced_by.map(|(_, signature)| STANDARD.encode(signature)),
        }
    }
}

/// The keys of a log.
#[derive(Debug, Serialize, ToSchema)]
struct KeyList {
    /// In the order in which they sign.
    items: Vec<KeyView>,
}

/// The keys that heads are signed with, each introduced by the one before it.
#[utoipa::path(get, path = "/api/audit/keys", tag = "audit", operation_id = "treeKeys",
    responses((status = 200, body = KeyList)))]
async fn keys(State(app): State<App>, request: QueryRequest<NoParameters>) -> Result<Response, Problem> {
    let size = sealed(&app, &request).await?.head.size;
    let items = app.store().tree_keys().await?.into_iter().map(KeyView::from).collect();
    Ok(QueryAnswer::new(KeyList { items }, size).into_response())
}

/// What to prove.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InclusionQuery {
    /// The event at this position.
    #[param(required = true)]
    position: Option<u64>,
    /// In the tree of so many events; that of the newest head when not given.
    size: Option<u64>,
}

/// That an event is in the tree.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InclusionProof {
    position: u64,
    size: u64,
    /// The event as it is stored, encoded: what is hashed, after a byte 0x00. In base64.
    leaf: String,
    /// Its hash when it was sealed, in base64.
    leaf_hash: String,
    /// The root of the tree of this size, in base64.
    root_hash: String,
    /// The path of RFC 9162 from leaf number `position - 1` to the root, in base64.
    path: Vec<String>,
}

impl InclusionProof {
    /// The proof for the event at a position, in the tree of so many events, which are sealed.
    ///
    /// # Errors
    /// A 503 when the store does not answer.
    pub async fn make(store: &EventStore, position: u64, size: u64) -> Result<Self, StoreError> {
        let leaf = STANDARD.encode(store.stored_event(position).await?.encoded());
        let (hash, path) = store.prove_inclusion(position, size).await?;
        let torn = || StoreError::Broken(format!("the tree of {size} leaves is torn"));
        let root_hash = root_above(hash, position - 1, size, &path).ok_or_else(torn)?.to_string();
        let path = path.iter().map(ToString::to_string).collect();
        Ok(Self { position, size, leaf, leaf_hash: hash.to_string(), root_hash, path })
    }
}

/// The proof that an event is in the tree that a head has signed (RFC 9162, 2.1.3).
#[utoipa::path(get, path = "/api/audit/proofs/inclusion", tag = "audit", operation_id = "proveInclusion",
    params(InclusionQuery), responses((status = 200, body = InclusionProof)))]
async fn inclusion(State(app): State<App>, request: QueryRequest<InclusionQuery>) -> Result<Response, Problem> {
    let sealed = sealed(&app, &request).await?.head.size;
    let InclusionQuery { position, size } = request.parameters;
    let size = within("size", size.unwrap_or(sealed), 1, sealed)?;
    let position = within("position", position.unwrap_or(0), 1, size)?;
    let read = Access::new(AccessAction::Read, &request.info).by(request.caller.id());
    app.accesses().record(read.with(json!({ "of": "log", "position": position }))).await?;
    Ok(QueryAnswer::new(InclusionProof::make(app.store(), position, size).await?, sealed).into_response())
}

/// Which growth to prove.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConsistencyQuery {
    /// From so many events.
    #[param(required = true)]
    from: Option<u64>,
    /// To so many; those of the newest head when not given.
    to: Option<u64>,
}

/// That a tree is how a larger one began.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ConsistencyProof {
    from: u64,
    to: u64,
    /// The path of RFC 9162, in base64.
    path: Vec<String>,
}

/// The proof that what an older head has signed is how the log of a newer one begins (RFC 9162, 2.1.4).
#[utoipa::path(get, path = "/api/audit/proofs/consistency", tag = "audit", operation_id = "proveConsistency",
    params(ConsistencyQuery), responses((status = 200, body = ConsistencyProof)))]
async fn consistency(State(app): State<App>, request: QueryRequest<ConsistencyQuery>) -> Result<Response, Problem> {
    let sealed = sealed(&app, &request).await?.head.size;
    let ConsistencyQuery { from, to } = request.parameters;
    let to = within("to", to.unwrap_or(sealed), 1, sealed)?;
    let from = within("from", from.unwrap_or(0), 1, to)?;
    let path = app.store().prove_consistency(from, to).await?.iter().map(ToString::to_string).collect();
    Ok(QueryAnswer::new(ConsistencyProof { from, to, path }, sealed).into_response())
}

fn within(parameter: &str, value: u64, least: u64, most: u64) -> Result<u64, Problem> {
    let within = (least..=most).contains(&value);
    let refused = || invalid_parameter(parameter, &format!("must be from {least} to {most}"));
    within.then_some(value).ok_or_else(refused)
}

/// The newest head, once it covers the position that an auditor's request asks for.
async fn sealed<T>(app: &App, request: &QueryRequest<T>) -> Result<SignedHead, Problem> {
    request.caller.may(Action::ReadLog)?;
    app.sealed_head(request.min_position.max(1), request.deadline).await
}
