//! Figures and changes, for analysts: nothing personal.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use chrono::{Days, NaiveDate, Utc};
use domain::Action;
use projections::analytics::{self, Analytics, Asked, Change, Column, READ_MODELS, ReadModel, Topic};
use projections::{Lagging, Projection, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{QueryAnswer, mark_reached};
use crate::app::App;
use crate::extract::{Limit, NoParameters, Page, QueryRequest, day, invalid_parameter};
use crate::problem::{Problem, codes};
use crate::table::{Format, Order};

const PROJECTION: &str = Analytics::NAME;
/// The longest that a client may wait for a change, in seconds.
const LONGEST_WAIT: u64 = 30;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(glance))
        .routes(routes!(changes))
        .routes(routes!(read_models))
        .routes(routes!(read_model))
}

/// The instance at a glance.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code)] // describes the read model's row, which knows no OpenAPI
struct Glance {
    /// Accounts ever registered.
    accounts: i64,
    /// Dossiers that are not discarded.
    dossiers: i64,
    /// The same by status.
    by_status: Vec<StatusCount>,
    /// Dossiers submitted since midnight, UTC.
    submitted_today: i64,
    /// Decisions taken since midnight, UTC.
    decided_today: i64,
}

/// How many dossiers are in a status now.
#[derive(ToSchema)]
#[expect(dead_code)] // as above
struct StatusCount {
    status: String,
    dossiers: i64,
}

/// The instance at a glance.
#[utoipa::path(get, path = "/api/admin/analytics", tag = "analytics", operation_id = "glance",
    responses((status = 200, body = Glance)))]
async fn glance(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<analytics::AnalyticsGlance>, Problem> {
    request.caller.may(Action::ReadAnalytics)?;
    let today = Utc::now().date_naive();
    let models = app.models(&request.caller.actor);
    let query = || analytics::glance(&models, today);
    let (body, reached) = app.read(PROJECTION, Scope::All, &request, query).await?;
    Ok(QueryAnswer::new(body, reached))
}

/// Which days to show; the read models that have no days take neither.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Period {
    /// The first day, UTC; thirty days before the last when it is not given.
    #[serde(default, deserialize_with = "day")]
    from: Option<NaiveDate>,
    /// The last day, UTC; today when it is not given.
    #[serde(default, deserialize_with = "day")]
    to: Option<NaiveDate>,
}

/// What is asked for when these days are: thirty of them, up to today, when they are not given.
pub fn asked(app: &App, from: Option<NaiveDate>, to: Option<NaiveDate>) -> Asked {
    let last = to.unwrap_or_else(|| Utc::now().date_naive());
    let first = from.or_else(|| last.checked_sub_days(Days::new(30))).unwrap_or(last);
    Asked { smallest: app.smallest_group(), first, last }
}

/// One of the read models, whole: as JSON, or by `Accept` as `application/x-ndjson`, `text/csv` or
/// `application/vnd.apache.parquet`. `/api/analytics` names them and their columns.
#[utoipa::path(get, path = "/api/analytics/{readModel}", tag = "analytics", operation_id = "readModel",
    params(Period, ("readModel" = String, Path, description = "Its name.")),
    responses((status = 200, content((Page<Value> = "application/json"), (String = "application/x-ndjson"),
        (String = "text/csv"), (Vec<u8> = "application/vnd.apache.parquet")))))]
async fn read_model(
    State(app): State<App>,
    headers: HeaderMap,
    request: QueryRequest<Period>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    request.caller.may(Action::ReadAnalytics)?;
    let model = ReadModel::named(&name).ok_or_else(|| Problem::new(&codes::READ_MODEL_NOT_FOUND))?;
    let format = Format::wanted(&headers);
    let asked = asked(&app, request.parameters.from, request.parameters.to);
    let table = Order { model, asked, format, reader: request.caller.actor };
    app.positions().wait(PROJECTION, Scope::All, request.min_position, request.deadline).await?;
    let (reached, body) = table.open(&app).await?;
    if reached.position < request.min_position {
        return Err(Lagging { reached: reached.position, wanted: request.min_position }.into());
    }
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    if format != Format::Json {
        let name = format!("attachment; filename=\"{}.{}\"", model.name, format.extension());
        headers.insert(CONTENT_DISPOSITION, HeaderValue::try_from(name).map_err(|_| Problem::new(&codes::INTERNAL))?);
    }
    mark_reached(headers, reached);
    Ok(response)
}

/// A read model that can be asked for.
#[derive(Debug, Serialize, ToSchema)]
struct ReadModelView {
    name: &'static str,
    /// What a row of it is.
    about: &'static str,
    columns: Vec<ColumnView>,
}

/// A column of a read model.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ColumnView {
    name: &'static str,
    /// `text`, `id`, `integer`, `number`, `day`, `time` or `flag`; any may be null.
    kind: String,
    about: &'static str,
}

impl From<&ReadModel> for ReadModelView {
    fn from(model: &ReadModel) -> Self {
        let column = |column: &Column| ColumnView {
            name: column.name,
            kind: format!("{:?}", column.kind).to_lowercase(),
            about: column.about,
        };
        Self { name: model.name, about: model.about, columns: model.columns.iter().map(column).collect() }
    }
}

/// The read models that there are, with their columns.
#[utoipa::path(get, path = "/api/analytics", tag = "analytics", operation_id = "readModels",
    responses((status = 200, body = Page<ReadModelView>)))]
async fn read_models(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<ReadModelView>>, Problem> {
    request.caller.may(Action::ReadAnalytics)?;
    let position = app.log_head(&request).await?;
    let items = READ_MODELS.iter().map(ReadModelView::from).collect();
    Ok(QueryAnswer::new(Page { items, next_cursor: None }, position))
}

/// From where on to read the changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Since {
    /// After this position; from the beginning when it is not given.
    after: Option<u64>,
    /// How many seconds to wait when there is nothing yet, 30 at most.
    #[param(maximum = 30)]
    wait: Option<u64>,
    /// Items in an answer.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
}

/// Changes in the order of their positions.
#[derive(Debug, Serialize, ToSchema)]
struct Changes {
    /// Each thing as it is now, at the position of its last change.
    #[schema(value_type = Vec<ChangeItem>)]
    items: Vec<Change>,
    /// What `after` must be next.
    after: u64,
}

/// The last change of one thing.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code)] // describes the read model's row, which knows no OpenAPI
struct ChangeItem {
    /// The position of the event that made it.
    position: i64,
    /// What it is: `dossier` or `liveEvent`.
    kind: String,
    id: Uuid,
    /// `upsert` or `tombstone`.
    change: String,
    /// What it is now; null once it is gone.
    data: Option<Value>,
}

/// The change feed: what changed after a position, or will within `wait` seconds. Whoever starts at 0 and follows
/// `after` ends up with everything as it is.
#[utoipa::path(get, path = "/api/analytics/changes", tag = "analytics", operation_id = "changes", params(Since),
    responses((status = 200, body = Changes)))]
async fn changes(State(app): State<App>, request: QueryRequest<Since>) -> Result<QueryAnswer<Changes>, Problem> {
    request.caller.may(Action::ReadAnalytics)?;
    let Since { after, wait, limit } = &request.parameters;
    if wait.is_some_and(|seconds| seconds > LONGEST_WAIT) {
        return Err(invalid_parameter("wait", "must be at most 30 seconds"));
    }
    let after = after.unwrap_or(0);
    if i64::try_from(after).is_err() {
        return Err(invalid_parameter("after", "must be a position"));
    }
    let wait = Duration::from_secs(wait.unwrap_or(0)).min(app.longest_wait());
    let deadline = Instant::now() + wait;
    let models = app.models(&request.caller.actor);
    loop {
        let query = || analytics::changes(&models, &Topic::ALL, after, limit.0);
        let (items, reached) = app.read(PROJECTION, Scope::All, &request, query).await?;
        let last = items.last().map(|change| change.position.cast_unsigned());
        // Nothing after `after` is nothing up to the read model's own position.
        let next = last.unwrap_or_else(|| after.max(reached.complete_to()));
        let more = app.positions().wait(PROJECTION, Scope::All, next + 1, deadline);
        // Whoever waits must not hold up the end of the process.
        let waited = last.is_none()
            && reached.held_from.is_none()
            && matches!(app.stop().run_until_cancelled(more).await, Some(Ok(())));
        if !waited {
            return Ok(QueryAnswer::new(Changes { items, after: next }, reached));
        }
    }
}
