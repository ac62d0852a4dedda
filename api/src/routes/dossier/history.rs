//! What became of a dossier: folded from its own stream, never from a read model.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::dossier::{Dossier, Stage};
use domain::envelope::DecodeError;
use domain::{Action, Aggregate, EventEnvelope};
use event_store::StoreError;
use projections::dossier::DossierRow;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::view::{Sight, record_read, show, stream};
use crate::accesses::{Access, AccessAction};
use crate::answer::{POSITION, QueryAnswer};
use crate::app::App;
use crate::archive::Archive;
use crate::case_file::CaseFile;
use crate::diff::{Difference, differences};
use crate::error::{denied, not_found};
use crate::extract::{Cursor, Id, NoParameters, Page, Paging, QueryRequest};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(history)).routes(routes!(diff)).routes(routes!(case_file))
}

/// A moment in a dossier's life.
pub enum Moment {
    /// After the event of this number.
    Version(u64),
    /// What was recorded up to this time.
    Time(DateTime<Utc>),
    /// What was recorded up to this position of the log.
    Position(u64),
}

/// The stream of a dossier, for those who may replay it, what it has led to, and the head of the log.
async fn replay<R>(
    app: &App,
    id: Uuid,
    request: &QueryRequest<R>,
) -> Result<(Vec<EventEnvelope>, DossierRow, u64), Problem> {
    let head = app.log_head(request).await?;
    let events = app.store().read_stream(stream(id), 0).await?;
    let row = DossierRow::fold(&events)?.ok_or_else(not_found::<Dossier>)?;
    request.caller.can(Action::ReadHistory, &row.resource()).map_err(denied::<Dossier>)?;
    record_read(app, request, Action::ReadHistory, &row).await?;
    Ok((events, row, head))
}

/// The dossier as it was.
///
/// # Errors
/// A 404 when there was none then, or none that the caller may replay.
pub async fn as_it_was<R>(
    app: &App,
    id: Uuid,
    moment: Moment,
    request: &QueryRequest<R>,
) -> Result<QueryAnswer<Box<RawValue>>, Problem> {
    let (events, _, position) = replay(app, id, request).await?;
    let count = match moment {
        Moment::Version(version) => version,
        Moment::Time(time) => events.partition_point(|event| event.recorded_at <= time) as u64,
        Moment::Position(position) => events.partition_point(|event| event.position <= position) as u64,
    };
    let body = at_version(app, &events, count).await?;
    if body.get() == "null" {
        return Err(Problem::new(&codes::VERSION_NOT_FOUND));
    }
    Ok(QueryAnswer::of_one(body, position, Some(count)))
}

/// The dossier after its first `version` events; null before there were any.
async fn at_version(app: &App, events: &[EventEnvelope], version: u64) -> Result<Box<RawValue>, Problem> {
    let past = usize::try_from(version).ok().and_then(|count| events.get(..count));
    let past = past.ok_or_else(|| Problem::new(&codes::VERSION_NOT_FOUND))?;
    let Some(row) = DossierRow::fold(past)? else { return Ok(Box::default()) };
    Ok(show(app, vec![(row, Sight::Whole)]).await?.pop().unwrap_or_default())
}

/// Which versions to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Between {
    /// The version before; 0 is before its creation.
    from: u64,
    /// The version after.
    to: u64,
}

/// What differs between two versions.
#[derive(Debug, Serialize, ToSchema)]
struct DossierDiff {
    /// The version before.
    from: u64,
    /// The version after.
    to: u64,
    /// What differs.
    changes: Vec<Attributed>,
}

/// One value that differs, and who made it so.
#[derive(Debug, Serialize, ToSchema)]
struct Attributed {
    #[serde(flatten)]
    change: Difference,
    /// The last event between the versions that changed it.
    by: Option<Attribution>,
}

/// Who changed something, and why.
#[derive(Debug, Serialize, ToSchema)]
struct Attribution {
    /// The dossier's version after it.
    version: u64,
    /// What happened.
    r#type: String,
    /// When it was recorded.
    at: DateTime<Utc>,
    /// Who caused it.
    actor: HistoryActor,
    /// What they said about it: reason, message, motivation, note.
    reasons: Vec<String>,
}

/// What changed between two versions, by whom and why.
#[utoipa::path(get, path = "/api/dossiers/{id}/diff", tag = "dossiers", operation_id = "diffDossier",
    params(Between), responses((status = 200, body = DossierDiff)))]
async fn diff(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<Between>,
) -> Result<QueryAnswer<DossierDiff>, Problem> {
    let Between { from, to } = request.parameters;
    let (events, _, position) = replay(&app, id, &request).await?;
    let unknown = || Problem::new(&codes::VERSION_NOT_FOUND);
    let index = |version: u64| usize::try_from(version).ok().filter(|index| *index <= events.len()).ok_or_else(unknown);
    let (before, after) = (index(from)?, index(to)?);
    let (first, last) = (before.min(after), before.max(after));
    let states = states(&app, &events[..last], first).await?;
    let items = items(&app, id, &events[..last], first).await?;
    let steps: Vec<Vec<Difference>> = states.windows(2).map(|pair| differences(&pair[0], &pair[1])).collect();
    let attributed = |change: Difference| {
        let step = steps.iter().rposition(|step| step.iter().any(|other| concerns(&other.pointer, &change.pointer)));
        Attributed { by: step.and_then(|step| items.get(step)).map(Attribution::of), change }
    };
    let changes = differences(&states[before - first], &states[after - first]);
    let changes = changes.into_iter().map(attributed).collect();
    Ok(QueryAnswer::new(DossierDiff { from, to, changes }, position))
}

impl Attribution {
    fn of(item: &HistoryItem) -> Self {
        let HistoryActor { id, role } = item.actor;
        Self {
            version: item.version,
            r#type: item.r#type.clone(),
            at: item.at,
            actor: HistoryActor { id, role },
            reasons: item.reasons(),
        }
    }
}

/// Whether one value is, contains or is part of the other.
fn concerns(pointer: &str, other: &str) -> bool {
    let within =
        |part: &str, whole: &str| part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    within(pointer, other) || within(other, pointer)
}

/// The dossier as it is shown after the first `from` events, and after each that follows.
async fn states(app: &App, events: &[EventEnvelope], from: usize) -> Result<Vec<Value>, Problem> {
    let rows = DossierRow::states(events)?.into_iter().skip(from.saturating_sub(1));
    let shown = show(app, rows.map(|row| (row, Sight::Whole)).collect()).await?;
    let shown = shown.iter().map(|state| tree(state));
    // Before its creation it was nothing.
    let nothing = (from == 0).then_some(Ok(Value::Null));
    nothing.into_iter().chain(shown).collect()
}

fn tree(json: &RawValue) -> Result<Value, Problem> {
    serde_json::from_str(json.get()).map_err(|_| Problem::new(&codes::INTERNAL))
}

/// One event in the life of a dossier.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryItem {
    /// The dossier's version after it.
    pub version: u64,
    /// Its number in the whole log.
    pub position: u64,
    /// What happened.
    pub r#type: String,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// Who caused it.
    pub actor: HistoryActor,
    /// What the event says.
    pub data: Value,
    /// What it changed in the dossier.
    pub changes: Vec<Difference>,
    /// The request that carried the command.
    pub request_id: String,
    /// The event or request that led to the command.
    pub causation_id: Uuid,
}

impl HistoryItem {
    /// What its actor said about it.
    pub fn reasons(&self) -> Vec<String> {
        let said = REASONS.iter().filter_map(|reason| self.data.get(reason)?.as_str());
        said.map(str::to_owned).collect()
    }
}

/// The members of an event that say why.
const REASONS: [&str; 4] = ["reason", "message", "motivation", "note"];

/// Who caused an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryActor {
    /// The account.
    pub id: Uuid,
    /// The role under which it acted.
    #[schema(value_type = String)]
    pub role: domain::Role,
}

/// What became of a dossier, event by event.
#[utoipa::path(get, path = "/api/dossiers/{id}/history", tag = "dossiers", operation_id = "dossierHistory",
    params(Paging), responses((status = 200, body = Page<HistoryItem>)))]
pub async fn history(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<Paging>,
) -> Result<QueryAnswer<Page<HistoryItem>>, Problem> {
    let Paging { limit, cursor } = &request.parameters;
    let cursors = Cursor::of(app.vault(), "history", &id, request.caller.id());
    let after: usize = cursor.as_ref().map_or(Ok(0), |cursor| cursors.open(cursor))?;
    let (events, _, position) = replay(&app, id, &request).await?;
    let end = events.len().min(after + limit.0 as usize);
    let items = items(&app, id, &events[..end], after.min(end)).await?;
    let next_cursor = (end < events.len()).then(|| cursors.seal(&end));
    Ok(QueryAnswer::new(Page { items, next_cursor }, position))
}

/// A dossier's whole history with the proof that it was not rewritten, as a ZIP that verifies offline: for auditors.
///
/// It holds a readable report, the history, and for every event the proof that it is under the signed tree head that comes
/// with it. `capitune audit verify-case FILE` and `verify.mjs`, which is in it, verify it without this instance.
#[utoipa::path(get, path = "/api/dossiers/{id}/case-file", tag = "dossiers", operation_id = "dossierCaseFile",
    responses((status = 200, content_type = "application/zip", body = Vec<u8>)))]
async fn case_file(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<Response, Problem> {
    let (events, row, _) = replay(&app, id, &request).await?;
    request.caller.may(Action::ReadLog)?;
    let taken = Access::new(AccessAction::Export, &request.info).by(request.caller.id());
    app.accesses().record(taken.concerning(row.owner_id).to(Dossier::TYPE, id)).await?;
    let last = events.last().map_or(0, |event| event.position);
    let head = app.sealed_head(request.min_position.max(last), request.deadline).await?;
    let case = CaseFile {
        id,
        title: row.title.clone(),
        status: row.status,
        language: request.info.language,
        history: items(&app, id, &events, 0).await?,
        dossier: show(&app, vec![(row, Sight::Whole)]).await?.pop().unwrap_or_default(),
        keys: app.store().tree_keys().await?,
        head,
    };
    let position = case.head.head.size;
    let (archive, body) = Archive::new();
    let store = app.store().clone();
    tokio::spawn(async move {
        if let Err(error) = case.write(&store, archive).await {
            tracing::warn!(%error, "a case file was cut off");
        }
    });
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"case-file.zip\""));
    headers.insert(&POSITION, HeaderValue::from(position));
    Ok(response)
}

/// All that became of a dossier.
///
/// # Errors
/// A 503 when the store does not answer.
pub async fn whole_history(app: &App, id: Uuid) -> Result<Vec<HistoryItem>, Problem> {
    let events = app.store().read_stream(stream(id), 0).await?;
    items(app, id, &events, 0).await
}

/// The items of the events from the index `after` on; those before it only lead to the state they start from.
async fn items(app: &App, id: Uuid, events: &[EventEnvelope], after: usize) -> Result<Vec<HistoryItem>, Problem> {
    let stream = stream(id);
    let mut documents = Vec::with_capacity(2 * (events.len() - after) + 1);
    let mut dossier = Dossier::default();
    for (index, envelope) in events.iter().enumerate() {
        if index == after {
            documents.push((stream, state(&dossier)?));
        }
        dossier.apply(&envelope.decode::<Dossier>().map_err(broken)?);
        if index >= after {
            let data = payload_data(envelope.payload.get()).map_err(|error| StoreError::Broken(error.to_string()))?;
            documents.push((stream, data));
            documents.push((stream, state(&dossier)?));
        }
    }
    let mut documents = app.vault().reveal_as::<Value, Value>(&documents).await?.into_iter();
    let mut before = documents.next().unwrap_or_default();
    let mut items = Vec::with_capacity(events.len() - after);
    for (envelope, data) in events[after..].iter().zip(std::iter::from_fn(|| documents.next().zip(documents.next()))) {
        let (data, state) = data;
        items.push(item(envelope, data, differences(&before, &state))?);
        before = state;
    }
    Ok(items)
}

fn item(envelope: &EventEnvelope, data: Value, changes: Vec<Difference>) -> Result<HistoryItem, Problem> {
    let metadata = envelope.metadata().map_err(broken)?;
    Ok(HistoryItem {
        version: envelope.version,
        position: envelope.position,
        r#type: envelope.event_type.clone(),
        at: envelope.recorded_at,
        actor: HistoryActor { id: metadata.actor_id, role: metadata.actor_role },
        data,
        changes,
        request_id: metadata.request_id,
        causation_id: metadata.causation_id,
    })
}

fn broken(error: DecodeError) -> Problem {
    StoreError::Broken(error.to_string()).into()
}

/// What an event says, without the wrapping that names it a second time.
///
/// # Errors
/// When it is no JSON.
pub fn payload_data(payload: &str) -> serde_json::Result<Value> {
    Ok(match serde_json::from_str(payload)? {
        Value::Object(wrapped) if wrapped.len() == 1 => {
            wrapped.into_iter().next().map_or(Value::Null, |(_, data)| data)
        }
        other => other,
    })
}

/// What a dossier is, by the names that the API has for it.
fn state(dossier: &Dossier) -> Result<Value, Problem> {
    let (Some(content), Some(stage)) = (dossier.content(), dossier.stage()) else { return Ok(Value::Null) };
    let archived = matches!(stage, Stage::Decided { archived: true, .. } | Stage::Withdrawn { archived: true, .. });
    let sealed = serde_json::to_value((&content.description, &content.fields));
    let sealed = sealed.map_err(|_| Problem::new(&codes::INTERNAL))?;
    Ok(json!({
        "title": content.title,
        "category": content.category,
        "description": sealed[0],
        "fields": sealed[1],
        "status": stage.status(),
        "reviewerId": stage.reviewer(),
        "archived": archived,
    }))
}
