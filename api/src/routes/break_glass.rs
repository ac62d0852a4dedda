//! Sealed content, opened for an auditor who says why, by a second person's consent, for an hour.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::account::Account;
use domain::rejection::check_text;
use domain::{Action, Aggregate, EventEnvelope, Personal};
use event_store::StreamId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::types::Json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::audit::{TYPES, stream_of};
use crate::accesses::{Access, AccessAction};
use crate::answer::{QueryAnswer, json, mark_replayed};
use crate::app::App;
use crate::extract::{CommandRequest, Cursor, Id, NoBody, NoParameters, Page, Paging, QueryRequest};
use crate::problem::{Problem, codes};

/// How long a request waits for consent, and how long what was consented to is open.
const WAITS: &str = "24 hours";
const OPEN: &str = "1 hour";
/// Requests that are listed.
const LISTED: i64 = 100;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list, ask)).routes(routes!(approve)).routes(routes!(events))
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    aggregate_type: String,
    aggregate_id: Uuid,
    requested_by: Uuid,
    reason: Json<Box<RawValue>>,
    requested_at: DateTime<Utc>,
    approved_by: Option<Uuid>,
    approved_at: Option<DateTime<Utc>>,
    expires_at: DateTime<Utc>,
    open: bool,
}

const COLUMNS: &str = "*, approved_by is not null and expires_at > clock_timestamp() as open";

/// A request to see what is sealed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BreakGlass {
    id: Uuid,
    /// The stream that is to be seen: its aggregate's type and id.
    stream: String,
    requested_by: Uuid,
    /// Why; null once who asked was erased.
    reason: Option<String>,
    requested_at: DateTime<Utc>,
    approved_by: Option<Uuid>,
    approved_at: Option<DateTime<Utc>>,
    /// Until when it can be approved, and then until when it is open.
    expires_at: DateTime<Utc>,
    /// Whether who asked may look now.
    open: bool,
}

/// Which sealed content is to be seen, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AskToBreakGlass {
    /// `dossier/` and its id, or the id alone.
    stream: String,
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    reason: String,
}

/// Ask to see what is sealed in one stream: another auditor or an admin has to agree within a day. The log-in must be less
/// than ten minutes old.
#[utoipa::path(post, path = "/api/audit/break-glass", tag = "audit", operation_id = "askToBreakGlass",
    request_body = AskToBreakGlass, responses((status = 201, body = BreakGlass)))]
async fn ask(State(app): State<App>, request: CommandRequest<AskToBreakGlass>) -> Result<Response, Problem> {
    let (AskToBreakGlass { stream, reason }, order) = request.into_parts();
    order.caller.may(Action::ReadLog)?;
    order.caller.proved_lately(&app).await?;
    let mut errors = Vec::new();
    check_text(&mut errors, "/reason", &reason, 1, 5_000);
    if !errors.is_empty() {
        return Err(Problem::new(&codes::BREAK_GLASS_INVALID).with_errors(errors));
    }
    let (kind, subject) = stream_of(&app, &stream).await?;
    let by = order.caller.id();
    let new = StreamId { aggregate_type: "break_glass", id: Uuid::now_v7() };
    let repeated = app.remember(&order, new, StatusCode::CREATED.as_u16()).await?;
    let id = if repeated { app.repeated(&order).await?.unwrap_or(new.id) } else { new.id };
    let personal = serde_json::to_string(&Personal::new(by, reason)).map_err(|_| Problem::new(&codes::INTERNAL))?;
    let (sealed, _) = app.vault().seal(reason_stream(by), &personal).await?;
    record(&app, Access::new(AccessAction::BreakGlass, order.info()).by(by), &kind, subject, "request", id).await?;
    let insert = format!(
        "insert into break_glass (id, aggregate_type, aggregate_id, requested_by, reason, expires_at)
         values ($1, $2, $3, $4, $5::json, clock_timestamp() + interval '{WAITS}') on conflict do nothing"
    );
    sqlx::query(&insert).bind(id).bind(&kind).bind(subject).bind(by).bind(sealed).execute(app.writes()).await?;
    let row = one(&app, id).await?;
    let shown = show(&app, vec![row]).await?.pop();
    let mut response = (StatusCode::CREATED, json(&shown)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/api/audit/break-glass/{id}/events")) {
        headers.insert(LOCATION, location);
    }
    if repeated {
        mark_replayed(headers);
    }
    Ok(response)
}

/// Agree that somebody else sees what is sealed in a stream, for an hour. The log-in must be less than ten minutes old.
#[utoipa::path(post, path = "/api/audit/break-glass/{id}/approve", tag = "audit", operation_id = "approveBreakGlass",
    responses((status = 200, body = BreakGlass)))]
async fn approve(
    State(app): State<App>,
    Id(id): Id,
    CommandRequest { order, .. }: CommandRequest<NoBody>,
) -> Result<Response, Problem> {
    order.caller.may(Action::ApproveBreakGlass)?;
    order.caller.proved_lately(&app).await?;
    let by = order.caller.id();
    let row = one(&app, id).await?;
    if row.requested_by == by {
        return Err(Problem::new(&codes::BREAK_GLASS_SECOND_PERSON));
    }
    let access = Access::new(AccessAction::BreakGlass, order.info()).by(by);
    record(&app, access, &row.aggregate_type, row.aggregate_id, "approve", id).await?;
    let approve = format!(
        "update break_glass set approved_by = $2, approved_at = clock_timestamp(),
             expires_at = clock_timestamp() + interval '{OPEN}'
         where id = $1 and approved_by is null and expires_at > clock_timestamp()"
    );
    sqlx::query(&approve).bind(id).bind(by).execute(app.writes()).await?;
    let row = one(&app, id).await?;
    if row.approved_by != Some(by) {
        return Err(Problem::new(&codes::BREAK_GLASS_CLOSED));
    }
    Ok(json(&show(&app, vec![row]).await?.pop()))
}

/// What was asked for, by whom and why, the newest first.
#[utoipa::path(get, path = "/api/audit/break-glass", tag = "audit", operation_id = "listBreakGlass",
    responses((status = 200, body = Page<BreakGlass>)))]
async fn list(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<BreakGlass>>, Problem> {
    request.caller.may(Action::ApproveBreakGlass)?;
    let position = app.log_head(&request).await?;
    let all = format!("select {COLUMNS} from break_glass order by requested_at desc limit {LISTED}");
    let rows = sqlx::query_as(&all).fetch_all(app.reads()).await?;
    Ok(QueryAnswer::new(Page { items: show(&app, rows).await?, next_cursor: None }, position))
}

/// An event with what was sealed in it; null is what was erased.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OpenedEvent {
    position: u64,
    version: u64,
    r#type: String,
    at: DateTime<Utc>,
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
    #[schema(value_type = Object)]
    metadata: Box<RawValue>,
}

/// The stream with what is sealed in it, for who asked, while it is open. Every look is on record.
#[utoipa::path(get, path = "/api/audit/break-glass/{id}/events", tag = "audit", operation_id = "readBrokenGlass",
    params(Paging), responses((status = 200, body = Page<OpenedEvent>)))]
async fn events(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<Paging>,
) -> Result<QueryAnswer<Page<OpenedEvent>>, Problem> {
    request.caller.may(Action::ReadLog)?;
    let by = request.caller.id();
    let row = one(&app, id).await?;
    if row.requested_by != by {
        return Err(Problem::new(&codes::BREAK_GLASS_NOT_FOUND));
    }
    if !row.open {
        return Err(Problem::new(&codes::BREAK_GLASS_CLOSED));
    }
    let Paging { limit, cursor } = &request.parameters;
    let cursors = Cursor::of(app.vault(), "break-glass", &id, by);
    let after: u64 = cursor.as_ref().map_or(Ok(0), |cursor| cursors.open(cursor))?;
    let head = app.log_head(&request).await?;
    let stream = stream(&row)?;
    let events = app.store().read_stream(stream, 0).await?;
    let person = events.first().and_then(|first| first.metadata().ok()).map(|metadata| metadata.actor_id);
    let access = Access::new(AccessAction::BreakGlass, &request.info).by(by);
    let access = access.concerning(person.or(Some(by)));
    record(&app, access, &row.aggregate_type, row.aggregate_id, "read", id).await?;
    let rest: Vec<EventEnvelope> = events.into_iter().filter(|event| event.version > after).collect();
    let more = rest.len() > limit.0 as usize;
    let page = &rest[..rest.len().min(limit.0 as usize)];
    let sealed: Vec<_> = page.iter().flat_map(|event| [(stream, &event.payload), (stream, &event.metadata)]).collect();
    let mut opened = app.vault().reveal(&sealed).await?.into_iter();
    let opened = std::iter::from_fn(|| opened.next().zip(opened.next()));
    let items = page.iter().zip(opened).map(|(event, (payload, metadata))| OpenedEvent {
        position: event.position,
        version: event.version,
        r#type: event.event_type.clone(),
        at: event.recorded_at,
        payload,
        metadata,
    });
    let next_cursor = page.last().filter(|_| more).map(|last| cursors.seal(&last.version));
    Ok(QueryAnswer::new(Page { items: items.collect(), next_cursor }, head))
}

async fn one(app: &App, id: Uuid) -> Result<Row, Problem> {
    let one = format!("select {COLUMNS} from break_glass where id = $1");
    // From where it was just written: what was approved a moment ago is open.
    let row = sqlx::query_as(&one).bind(id).fetch_optional(app.writes()).await?;
    row.ok_or_else(|| Problem::new(&codes::BREAK_GLASS_NOT_FOUND))
}

fn stream(row: &Row) -> Result<StreamId, Problem> {
    let known = TYPES.into_iter().find(|known| *known == row.aggregate_type);
    let aggregate_type = known.ok_or_else(|| Problem::new(&codes::BREAK_GLASS_NOT_FOUND))?;
    Ok(StreamId { aggregate_type, id: row.aggregate_id })
}

fn reason_stream(by: Uuid) -> StreamId {
    StreamId { aggregate_type: Account::TYPE, id: by }
}

async fn show(app: &App, rows: Vec<Row>) -> Result<Vec<BreakGlass>, Problem> {
    let sealed: Vec<_> = rows.iter().map(|row| (reason_stream(row.requested_by), &row.reason.0)).collect();
    let reasons: Vec<Option<String>> = app.vault().reveal_as(&sealed).await?;
    let shown = rows.into_iter().zip(reasons).map(|(row, reason)| BreakGlass {
        id: row.id,
        stream: format!("{}/{}", row.aggregate_type, row.aggregate_id),
        requested_by: row.requested_by,
        reason,
        requested_at: row.requested_at,
        approved_by: row.approved_by,
        approved_at: row.approved_at,
        expires_at: row.expires_at,
        open: row.open,
    });
    Ok(shown.collect())
}

/// What is not on record is not done.
async fn record(app: &App, access: Access, kind: &str, subject: Uuid, did: &str, id: Uuid) -> Result<(), Problem> {
    let kind = TYPES.into_iter().find(|known| *known == kind).unwrap_or("stream");
    app.accesses().record(access.to(kind, subject).with(json!({ "did": did, "breakGlass": id }))).await
}
