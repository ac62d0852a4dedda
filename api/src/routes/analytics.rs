//! Figures and changes, for analysts: nothing personal.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{Days, NaiveDate, Utc};
use domain::Action;
use projections::analytics::{self, Analytics, Change};
use projections::{Projection, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::QueryAnswer;
use crate::app::App;
use crate::extract::{Limit, NoParameters, Page, QueryRequest, day, invalid_parameter};
use crate::problem::{Problem, codes};

const PROJECTION: &str = Analytics::NAME;
/// The longest that a client may wait for a change, in seconds.
const LONGEST_WAIT: u64 = 30;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(glance)).routes(routes!(changes)).routes(routes!(read_model))
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
    let (body, position) = app.read(PROJECTION, Scope::All, &request, query).await?;
    Ok(QueryAnswer::new(body, position))
}

/// Which days to show; the read models of the present take neither.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Period {
    /// For `dossiersByDay`: the first day, UTC; thirty days before the last when it is not given.
    #[serde(default, deserialize_with = "day")]
    from: Option<NaiveDate>,
    /// For `dossiersByDay`: the last day, UTC; today when it is not given.
    #[serde(default, deserialize_with = "day")]
    to: Option<NaiveDate>,
}

/// One of the read models: `dossiersByStatus`, `dossiersByDay`, `timeInStatus` or `decisionsByReviewer`.
#[utoipa::path(get, path = "/api/analytics/{readModel}", tag = "analytics", operation_id = "readModel",
    params(Period, ("readModel" = String, Path, description = "Its name.")),
    responses((status = 200, body = Page<Value>)))]
async fn read_model(
    State(app): State<App>,
    request: QueryRequest<Period>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    request.caller.may(Action::ReadAnalytics)?;
    let models = &app.models(&request.caller.actor);
    let today = Utc::now().date_naive();
    let to = request.parameters.to.unwrap_or(today);
    let from = request.parameters.from.or_else(|| to.checked_sub_days(Days::new(30))).unwrap_or(to);
    match name.as_str() {
        "dossiersByStatus" => {
            let query = || async {
                let (glance, position) = analytics::glance(models, today).await?;
                Ok((glance.by_status, position))
            };
            page(&app, &request, query).await
        }
        "dossiersByDay" => page(&app, &request, || analytics::status_days(models, from, to)).await,
        "timeInStatus" => page(&app, &request, || analytics::status_durations(models)).await,
        "decisionsByReviewer" => page(&app, &request, || analytics::decisions_by_reviewer(models)).await,
        _ => Err(Problem::new(&codes::READ_MODEL_NOT_FOUND)),
    }
}

/// All rows of a read model, which are few.
async fn page<T: Serialize, R, F>(
    app: &App,
    request: &QueryRequest<R>,
    query: impl FnMut() -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<(Vec<T>, u64), sqlx::Error>>,
{
    let (items, position) = app.read(PROJECTION, Scope::All, request, query).await?;
    Ok(QueryAnswer::new(Page { items, next_cursor: None }, position).into_response())
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
    /// What it is: `dossier`.
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
        let query = || analytics::changes(&models, after, limit.0);
        let (items, position) = app.read(PROJECTION, Scope::All, &request, query).await?;
        let last = items.last().map(|change| change.position.cast_unsigned());
        // Nothing after `after` is nothing up to the read model's own position.
        let next = last.unwrap_or_else(|| after.max(position));
        let more = app.positions().wait(PROJECTION, Scope::All, next + 1, deadline);
        // Whoever waits must not hold up the end of the process.
        let waited = last.is_none() && matches!(app.stop().run_until_cancelled(more).await, Some(Ok(())));
        if !waited {
            return Ok(QueryAnswer::new(Changes { items, after: next }, position));
        }
    }
}
