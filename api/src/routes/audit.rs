//! The log itself, for auditors: as it is stored, what is personal sealed.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::{Action, Aggregate, EventEnvelope};
use event_store::{EventStore, LogFilter, StoreError, StreamId};
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::accesses::{Access, AccessAction};
use crate::answer::{POSITION, QueryAnswer};
use crate::app::App;
use crate::extract::{Cursor, Limit, Page, QueryRequest, accepts, invalid_parameter, parse_id, time};
use crate::problem::Problem;

const NDJSON: &str = "application/x-ndjson";
/// Events read at once for a stream of them.
const CHUNK: u32 = 500;
/// A page that takes longer is answered as far as it is, with a cursor to go on.
const PATIENCE: Duration = Duration::from_secs(3);
/// Every aggregate type, for a stream that is named by its id alone.
pub(super) const TYPES: [&str; 7] = [
    domain::dossier::Dossier::TYPE,
    domain::account::Account::TYPE,
    domain::post::Post::TYPE,
    domain::comment::Comment::TYPE,
    domain::reaction::Reaction::TYPE,
    domain::live::Live::TYPE,
    domain::organization::Organization::TYPE,
];

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(events))
}

/// Which events to show.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// After this position.
    #[serde(skip_serializing)]
    after: Option<u64>,
    /// Of this type, as it is stored: `DossierSubmitted`.
    r#type: Option<String>,
    /// Of this stream: `dossier/` and its id, or the id alone.
    stream: Option<String>,
    /// Caused by this account.
    actor: Option<Uuid>,
    /// Recorded at or after this time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    from: Option<DateTime<Utc>>,
    /// Recorded before this time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    to: Option<DateTime<Utc>>,
    /// Items on a page.
    #[serde(default, skip_serializing)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// The `nextCursor` of the page before.
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

/// An event as it is recorded.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code)] // describes the domain's envelope, which knows no OpenAPI
struct RecordedEvent {
    position: u64,
    event_id: Uuid,
    aggregate_type: String,
    aggregate_id: Uuid,
    version: u64,
    event_type: String,
    schema_version: u32,
    recorded_at: DateTime<Utc>,
    payload: serde_json::Value,
    metadata: serde_json::Value,
}

/// The log, in order, as pages or as one stream.
///
/// With `Accept: application/x-ndjson` every event is a line of its own, and the last line is
/// `{"count", "firstPosition", "lastPosition"}`: a stream without it was cut off.
#[utoipa::path(get, path = "/api/audit/events", tag = "audit", operation_id = "auditEvents", params(EventsQuery),
    responses((status = 200, content((Page<RecordedEvent> = "application/json"), (String = "application/x-ndjson")))))]
async fn events(
    State(app): State<App>,
    headers: HeaderMap,
    request: QueryRequest<EventsQuery>,
) -> Result<Response, Problem> {
    request.caller.may(Action::ReadLog)?;
    let parameters = &request.parameters;
    let cursors = Cursor::of(app.vault(), "audit", parameters, request.caller.id());
    let opened = parameters.cursor.as_ref().map(|cursor| cursors.open::<u64>(cursor)).transpose()?;
    let after = opened.or(parameters.after).unwrap_or(0).min(i64::MAX as u64);
    let head = app.log_head(&request).await?;
    let filter = filter(&app, parameters).await?;
    let read = Access::new(AccessAction::Read, &request.info).by(request.caller.id());
    app.accesses().record(read.with(json!({ "of": "log", "filter": parameters, "after": after }))).await?;
    if accepts(&headers, NDJSON) {
        return Ok(lines(app.store().clone(), filter, after, head));
    }
    let (items, reached) = page(app.store(), &filter, after, head, parameters.limit.0).await?;
    let next_cursor = (reached < head).then(|| cursors.seal(&reached));
    Ok(QueryAnswer::new(Page { items, next_cursor }, head).into_response())
}

async fn filter(app: &App, parameters: &EventsQuery) -> Result<LogFilter, Problem> {
    let stream = match &parameters.stream {
        None => None,
        Some(text) => Some(stream_of(app, text).await?),
    };
    Ok(LogFilter {
        event_type: parameters.r#type.clone(),
        stream,
        actor: parameters.actor,
        from: parameters.from,
        to: parameters.to,
    })
}

/// The stream that a client names, by type and id or by the id alone.
pub(super) async fn stream_of(app: &App, text: &str) -> Result<(String, Uuid), Problem> {
    let invalid = || invalid_parameter("stream", "must be an aggregate type, a slash and an id");
    if let Some((aggregate_type, id)) = text.split_once(['/', ':']) {
        return Ok((aggregate_type.to_owned(), parse_id(id).ok_or_else(invalid)?));
    }
    let id = parse_id(text).ok_or_else(invalid)?;
    for aggregate_type in TYPES {
        if app.store().stream_head(StreamId { aggregate_type, id }).await?.version > 0 {
            return Ok((aggregate_type.to_owned(), id));
        }
    }
    Ok((TYPES[0].to_owned(), id))
}

/// Up to `limit` events, and the position that was looked through.
async fn page(
    store: &EventStore,
    filter: &LogFilter,
    after: u64,
    head: u64,
    limit: u32,
) -> Result<(Vec<EventEnvelope>, u64), Problem> {
    let deadline = Instant::now() + PATIENCE;
    let mut items = Vec::new();
    let mut reached = after;
    while reached < head && items.len() < limit as usize && Instant::now() < deadline {
        let missing = limit - u32::try_from(items.len()).unwrap_or(limit);
        let (events, end) = store.read_filtered(filter, reached, missing).await?;
        items.extend(events);
        reached = end;
    }
    Ok((items, reached))
}

/// The last line of a stream.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    count: u64,
    first_position: Option<u64>,
    last_position: Option<u64>,
}

/// The events up to `head`, line by line, and a last line that sums them up.
fn lines(store: EventStore, filter: LogFilter, after: u64, head: u64) -> Response {
    let mut response = Body::from_stream(chunks(store, filter, after, head)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response.headers_mut().insert(&POSITION, HeaderValue::from(head));
    response
}

fn chunks(
    store: EventStore,
    filter: LogFilter,
    after: u64,
    head: u64,
) -> impl Stream<Item = Result<Bytes, StoreError>> {
    let start = Some((after, Summary::default()));
    stream::try_unfold(start, move |state| {
        let (store, filter) = (store.clone(), filter.clone());
        async move {
            let Some((reached, mut summary)) = state else { return Ok(None) };
            if reached >= head {
                return Ok(Some((Bytes::from(line(&summary)?), None)));
            }
            let (events, end) = store.read_filtered(&filter, reached, CHUNK).await?;
            let mut text = Vec::new();
            for event in events.iter().take_while(|event| event.position <= head) {
                summary.count += 1;
                summary.first_position.get_or_insert(event.position);
                summary.last_position = Some(event.position);
                text.extend(line(event)?);
            }
            Ok(Some((Bytes::from(text), Some((end, summary)))))
        }
    })
}

fn line(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut line = serde_json::to_vec(value).map_err(|error| StoreError::Broken(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}
