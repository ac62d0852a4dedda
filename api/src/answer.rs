//! Answers: what a command and a query have in common, whatever they are about.

use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use commands::{Context, Executed, Outcome};
use domain::Aggregate;
use event_store::{Append, Claim, IdempotencyRecord, Lineage, StreamId};
use projections::Reached;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Caller;
use crate::error::command_problem;
use crate::extract::{Order, Precondition};
use crate::problem::{Problem, codes};

/// `Capitune-Position`.
pub static POSITION: HeaderName = HeaderName::from_static("capitune-position");
/// `Capitune-Held-From`: from this position on, some of what is answered is held back.
pub static HELD_FROM: HeaderName = HeaderName::from_static("capitune-held-from");
static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

const CREATED: u16 = 201;
const OK: u16 = 200;
/// No stream ever gets here: what no version can match.
const NO_VERSION: u64 = u64::MAX;

/// An aggregate with routes of its own.
pub trait Served: Aggregate {
    /// Where its resources are: `/api/dossiers`.
    const COLLECTION: &'static str;

    /// The resource as `caller` sees it, once its read model has reached `position`; none when that takes too long or
    /// nothing is to be seen.
    ///
    /// # Errors
    /// [`Problem`] when the database does not answer.
    fn represent(
        app: &App,
        caller: &Caller,
        id: Uuid,
        position: u64,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<Value>, Problem>> + Send;
}

/// The answer of a command.
#[derive(Debug)]
pub struct CommandAnswer {
    executed: Executed,
    status: u16,
    location: Option<String>,
    representation: Option<Value>,
}

/// What every command handler returns.
pub type Answered = Result<CommandAnswer, Problem>;

/// The body of a command's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandDone {
    /// The aggregate.
    pub id: Uuid,
    /// Its version after the command.
    pub version: u64,
    /// The position of its last event: what to ask a query for in order to see it.
    pub position: u64,
}

impl App {
    /// Executes a command on what exists.
    ///
    /// # Errors
    /// A [`Problem`] that says why it was not executed.
    pub async fn execute<A: Served>(&self, id: Uuid, command: A::Command, order: Order) -> Answered {
        self.execute_with::<A>(id, command, Vec::new(), order).await
    }

    /// [`App::execute`] with claims that are taken or released in the same commit.
    ///
    /// # Errors
    /// As [`App::execute`].
    pub async fn execute_with<A: Served>(
        &self,
        id: Uuid,
        command: A::Command,
        claims: Vec<Claim>,
        order: Order,
    ) -> Answered {
        let if_match = match &order.precondition {
            Precondition::None | Precondition::Exists => None,
            Precondition::OneOf(versions) => Some(match versions.as_slice() {
                [] => NO_VERSION,
                [version] => *version,
                several => self.the_current_of::<A>(id, several).await?,
            }),
        };
        let context = Context { if_match, claims, ..order.context(OK) };
        let executed = self.commands().execute::<A>(id, command, context).await.map_err(command_problem::<A>)?;
        Ok(self.tell::<A>(executed, order, OK).await)
    }

    /// Executes a command that creates its aggregate under the new `id`.
    ///
    /// # Errors
    /// A [`Problem`] that says why it was not executed.
    pub async fn create<A: Served>(&self, id: Uuid, command: A::Command, order: Order) -> Answered {
        // What does not exist yet has no version, and not even `*` is true of it.
        let if_match = (order.precondition != Precondition::None).then_some(NO_VERSION);
        let context = Context { if_match, ..order.context(CREATED) };
        let executed = self.commands().create::<A>(id, command, context).await.map_err(command_problem::<A>)?;
        Ok(self.tell::<A>(executed, order, CREATED).await)
    }

    /// The answer that the request had before under its key; without one, the problem that stands against it now.
    ///
    /// # Errors
    /// That problem, a 422 when the key came with another request, a 503 when the event store does not answer.
    pub async fn replayed_or<A: Served>(&self, problem: Problem, order: Order) -> Answered {
        let Some(key) = order.context(OK).idempotency else { return Err(problem) };
        let record = self.store().idempotency_record(key.scope, &key.key).await?.ok_or(problem)?;
        if record.digest != key.digest {
            return Err(Problem::new(&codes::IDEMPOTENCY_KEY_REUSED));
        }
        let IdempotencyRecord { status, aggregate_id: id, version, position, .. } = record;
        let executed = Executed { id, version, position, outcome: Outcome::Replayed(status) };
        Ok(self.tell::<A>(executed, order, status).await)
    }

    async fn tell<A: Served>(&self, executed: Executed, order: Order, status: u16) -> CommandAnswer {
        let status = match executed.outcome {
            Outcome::Replayed(status) => status,
            Outcome::Appended | Outcome::Unchanged => status,
        };
        let location = (status == CREATED).then(|| format!("{}/{}", A::COLLECTION, executed.id));
        let mut representation = None;
        if order.preferences.representation {
            let deadline = order.patience(self.longest_wait());
            // The command was executed: what cannot be shown now is no failure of it.
            let shown = A::represent(self, &order.caller, executed.id, executed.position, deadline).await;
            representation = shown.unwrap_or(None);
        }
        CommandAnswer { executed, status, location, representation }
    }

    /// Remembers under the caller's key that something was asked for which is no command on an aggregate; whether it was
    /// asked for before.
    ///
    /// # Errors
    /// A 422 when the key came with another request, a 503 when the event store does not answer.
    pub async fn remember(&self, order: &Order, subject: StreamId, status: u16) -> Result<bool, Problem> {
        let Context { idempotency: Some(key), deadline, .. } = order.context(status) else { return Ok(false) };
        let record = Append {
            stream: subject,
            expected_version: 0,
            known: false,
            losses: self.store().continuity().losses(),
            events: Vec::new(),
            unchanged_position: 0,
            idempotency: Some(key.clone()),
            claims: Vec::new(),
            persons: Vec::new(),
            lineage: Lineage::default(),
            deadline,
        };
        if self.store().append(record).await?.is_ok() {
            return Ok(false);
        }
        match self.repeated(order).await? {
            Some(_) => Ok(true),
            None => Err(Problem::new(&codes::IDEMPOTENCY_KEY_REUSED)),
        }
    }

    /// What was done before under the same key: the id of what it was done to.
    ///
    /// # Errors
    /// A 422 when the key came with another request, a 503 when the event store does not answer.
    pub async fn repeated(&self, order: &Order) -> Result<Option<Uuid>, Problem> {
        let Context { idempotency: Some(key), .. } = order.context(OK) else { return Ok(None) };
        match self.store().idempotency_record(key.scope, &key.key).await? {
            Some(known) if known.digest == key.digest => Ok(Some(known.aggregate_id)),
            Some(_) => Err(Problem::new(&codes::IDEMPOTENCY_KEY_REUSED)),
            None => Ok(None),
        }
    }

    /// The aggregate's version, if it is one of several that the caller would accept.
    async fn the_current_of<A: Aggregate>(&self, id: Uuid, accepted: &[u64]) -> Result<u64, Problem> {
        let (_, version) = self.commands().state::<A>(id).await?;
        Ok(if accepted.contains(&version) { version } else { NO_VERSION })
    }
}

impl IntoResponse for CommandAnswer {
    fn into_response(self) -> Response {
        let Executed { id, version, position, outcome } = self.executed;
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let shown = self.representation.as_ref().and_then(|shown| shown.get("version")?.as_u64());
        let mut response = match &self.representation {
            Some(resource) => (status, json(resource)).into_response(),
            None => (status, json(&CommandDone { id, version, position })).into_response(),
        };
        let headers = response.headers_mut();
        mark(headers, shown.unwrap_or(version), position);
        if let Some(location) = self.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            headers.insert(LOCATION, location);
        }
        if matches!(outcome, Outcome::Replayed(_)) {
            mark_replayed(headers);
        }
        if self.representation.is_some() {
            headers.insert(&PREFERENCE_APPLIED, HeaderValue::from_static("return=representation"));
        }
        response
    }
}

/// The answer of a query.
#[derive(Debug)]
pub struct QueryAnswer<T> {
    /// What was asked for.
    pub body: T,
    /// How far its read model was.
    pub reached: Reached,
    /// The version, when it is one aggregate.
    pub version: Option<u64>,
}

impl<T> QueryAnswer<T> {
    /// An answer that is no single aggregate.
    pub fn new(body: T, reached: impl Into<Reached>) -> Self {
        Self { body, reached: reached.into(), version: None }
    }

    /// An answer that is one aggregate.
    pub fn of_one(body: T, reached: impl Into<Reached>, version: Option<u64>) -> Self {
        Self { body, reached: reached.into(), version }
    }
}

impl<T: Serialize> IntoResponse for QueryAnswer<T> {
    fn into_response(self) -> Response {
        let mut response = json(&self.body).into_response();
        let headers = response.headers_mut();
        mark_reached(headers, self.reached);
        if let Some(version) = self.version {
            headers.insert(ETAG, etag(version));
        }
        response
    }
}

/// Says in the headers how far what is answered is.
pub fn mark_reached(headers: &mut HeaderMap, reached: Reached) {
    headers.insert(&POSITION, HeaderValue::from(reached.position));
    if let Some(held_from) = reached.held_from {
        headers.insert(&HELD_FROM, HeaderValue::from(held_from));
    }
}

/// Says in the headers which version and position a command came to.
pub fn mark(headers: &mut HeaderMap, version: u64, position: u64) {
    headers.insert(ETAG, etag(version));
    headers.insert(&POSITION, HeaderValue::from(position));
}

/// Says in the headers that the answer is that of an earlier request with the same key.
pub fn mark_replayed(headers: &mut HeaderMap) {
    headers.insert(&REPLAYED, HeaderValue::from_static("true"));
}

fn etag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// A body of JSON.
pub fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (headers, bytes).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer is not JSON");
            Problem::new(&codes::INTERNAL).into_response()
        }
    }
}
