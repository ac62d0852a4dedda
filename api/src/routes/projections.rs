//! Running the instance: projections.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::Action;
use event_store::StreamId;
use projections::{NAMES, ProjectionStatus, RebuildError, RebuildState, Remade, Retired, Verification};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::accesses::{Access, AccessAction};
use crate::answer::{QueryAnswer, json, mark_replayed};
use crate::app::App;
use crate::extract::{CommandRequest, Id, NoBody, NoParameters, Order, Page, QueryRequest};
use crate::problem::{Problem, codes};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list_projections))
        .routes(routes!(rebuild, cancel))
        .routes(routes!(rebuild_aggregate))
        .routes(routes!(roll_back))
}

/// A projection, and what was last done with it as a whole.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProjectionItem {
    #[serde(flatten)]
    #[schema(inline)]
    status: ProjectionView,
    /// Its last rebuild.
    rebuild: Option<RebuildView>,
    /// The rows that the last rebuild replaced, while one can go back to them.
    retired: Option<RetiredView>,
    /// What the last verification in the background found.
    verified: Option<VerificationView>,
}

/// How a rebuild is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RebuildView {
    /// `running`, `finished`, `failed` or `cancelled`.
    status: String,
    /// Events applied so far.
    done: i64,
    /// Events to apply, as far as is known.
    total: i64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    started_at: DateTime<Utc>,
    /// When it was last heard of.
    updated_at: DateTime<Utc>,
}

impl From<RebuildState> for RebuildView {
    fn from(state: RebuildState) -> Self {
        let RebuildState { status, done, total, reason, started_at, updated_at, .. } = state;
        Self { status, done, total, reason, started_at, updated_at }
    }
}

/// Rows that one can go back to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RetiredView {
    /// Their version.
    version: i32,
    /// Where they stand.
    position: i64,
    /// Until when they are kept.
    until: DateTime<Utc>,
}

/// What a verification found.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VerificationView {
    /// The position as of which rows and log were compared.
    position: i64,
    /// How many rows were compared.
    rows: i64,
    /// How many of them were not what the log says.
    drifted: i64,
    /// The first of those: its table and key.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<String>,
    at: DateTime<Utc>,
}

/// How a projection is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProjectionView {
    name: String,
    /// The version of its rows.
    version: i32,
    /// The lowest position of its partitions.
    position: i64,
    /// The log's last position.
    head: i64,
    /// How many events it is behind.
    lag: i64,
    /// `running`, or `failed` when one of its partitions has stopped.
    status: String,
    /// How many failures it holds events back for, and how many of its partitions have stopped.
    failed: i64,
    /// How many failures it holds events back for.
    held: i64,
    /// Why the first of them stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl From<ProjectionStatus> for ProjectionView {
    fn from(status: ProjectionStatus) -> Self {
        let ProjectionStatus { name, version, position, head, lag, status, failed, held, failure } = status;
        Self { name, version, position, head, lag, status, failed, held, failure }
    }
}

/// How every projection is.
#[utoipa::path(get, path = "/api/admin/projections", tag = "admin", operation_id = "listProjections",
    responses((status = 200, body = Page<ProjectionItem>)))]
async fn list_projections(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<ProjectionItem>>, Problem> {
    request.caller.may(Action::ManageProjections)?;
    let position = app.log_head(&request).await?;
    let reads = app.reads();
    let mut rebuilds = by_name(projections::rebuilds(reads).await?, |rebuild| &rebuild.projection);
    let mut retired = by_name(projections::retired(reads).await?, |retired| &retired.projection);
    let mut verified = by_name(projections::verifications(reads).await?, |verified| &verified.projection);
    let item = |status: ProjectionStatus| ProjectionItem {
        rebuild: rebuilds.remove(&status.name).map(RebuildView::from),
        retired: retired.remove(&status.name).map(|Retired { version, position, until, .. }| RetiredView {
            version,
            position,
            until,
        }),
        verified: verified.remove(&status.name).filter(|verified| verified.position > 0).map(|verified| {
            let Verification { position, rows, drifted, drift, verified_at: at, .. } = verified;
            VerificationView { position, rows, drifted, drift, at }
        }),
        status: status.into(),
    };
    let items = projections::status(reads).await?.into_iter().map(item).collect();
    Ok(QueryAnswer::new(Page { items, next_cursor: None }, position))
}

fn by_name<T>(items: Vec<T>, name: fn(&T) -> &String) -> BTreeMap<String, T> {
    items.into_iter().map(|item| (name(&item).clone(), item)).collect()
}

/// Rebuild a projection from the log, while its old rows go on being read. Whoever carries it on does so; a rebuild that
/// was cancelled goes on where it was.
#[utoipa::path(post, path = "/api/admin/projections/{name}/rebuild", tag = "admin", operation_id = "rebuildProjection",
    params(("name" = String, Path, description = "The projection's name.")),
    responses((status = 202, body = RebuildView)))]
async fn rebuild(
    State(app): State<App>,
    Path(Named { name }): Path<Named>,
    CommandRequest { order, .. }: CommandRequest<NoBody>,
) -> Result<Response, Problem> {
    let (name, replayed) = operate(&app, &name, &order, StatusCode::ACCEPTED, "rebuild").await?;
    if !replayed {
        projections::request_rebuild(app.writes(), name).await?;
    }
    accepted(&app, name, replayed).await
}

/// Cancel a rebuild that is under way. The rows that it has made are kept for the next.
#[utoipa::path(delete, path = "/api/admin/projections/{name}/rebuild", tag = "admin", operation_id = "cancelRebuild",
    params(("name" = String, Path, description = "The projection's name.")),
    responses((status = 202, body = RebuildView)))]
async fn cancel(
    State(app): State<App>,
    Path(Named { name }): Path<Named>,
    CommandRequest { order, .. }: CommandRequest<NoBody>,
) -> Result<Response, Problem> {
    let (name, replayed) = operate(&app, &name, &order, StatusCode::ACCEPTED, "cancelRebuild").await?;
    if !replayed && !projections::cancel_rebuild(app.writes(), name).await? {
        return Err(Problem::new(&codes::REBUILD_NOT_RUNNING));
    }
    accepted(&app, name, replayed).await
}

/// How the rebuild that was asked for or cancelled is now.
async fn accepted(app: &App, name: &str, replayed: bool) -> Result<Response, Problem> {
    let mut states = projections::rebuilds(app.reads()).await?.into_iter();
    let state = states.find(|state| state.projection == name).ok_or_else(|| Problem::new(&codes::INTERNAL))?;
    let mut response = (StatusCode::ACCEPTED, json(&RebuildView::from(state))).into_response();
    if replayed {
        mark_replayed(response.headers_mut());
    }
    Ok(response)
}

/// Rows that were made anew.
#[derive(Serialize, ToSchema)]
struct RemadeView {
    /// The position that they stand at.
    position: u64,
    /// How many there are.
    rows: u64,
    /// How many of those before were not what the log says, or missing, or too many.
    changed: u64,
}

/// Make the rows of one aggregate anew, with those of all that shares its partition key: the comments of a post. Where the
/// log is too long for a request, `capitune rebuild NAME --aggregate ID` does the same.
#[utoipa::path(post, path = "/api/admin/projections/{name}/aggregates/{id}/rebuild", tag = "admin",
    operation_id = "rebuildAggregate", params(("name" = String, Path, description = "The projection's name.")),
    responses((status = 200, body = RemadeView)))]
async fn rebuild_aggregate(
    State(app): State<App>,
    Id(id): Id,
    Path(Named { name }): Path<Named>,
    CommandRequest { order, .. }: CommandRequest<NoBody>,
) -> Result<Response, Problem> {
    order.caller.may(Action::ManageProjections)?;
    let name = known(&name)?;
    let access = Access::new(AccessAction::Operate, order.info()).by(order.caller.id());
    let did = json!({ "projection": name, "did": "rebuildAggregate", "aggregate": id });
    app.accesses().record(access.with(did)).await?;
    // Doing it again does the same: a key has nothing to keep apart.
    // A request that is given up leaves no half of it behind.
    let remaking = tokio::spawn(async move {
        projections::rebuild_aggregate(name, id, app.store(), app.database(), app.stop(), &|_, _| {}).await
    });
    let Remade { position, rows, changed } = remaking.await.map_err(|_| Problem::new(&codes::INTERNAL))??;
    Ok(json(&RemadeView { position, rows, changed }).into_response())
}

/// Where rows were put back.
#[derive(Serialize, ToSchema)]
struct RolledBack {
    /// The position that they stand at; what came later is applied to them as to any rows that are behind.
    position: u64,
}

/// Put the rows that the last rebuild replaced back in their place, within a day of it. Those that replaced them are kept
/// in turn.
#[utoipa::path(post, path = "/api/admin/projections/{name}/rollback", tag = "admin", operation_id = "rollBackProjection",
    params(("name" = String, Path, description = "The projection's name.")),
    responses((status = 200, body = RolledBack)))]
async fn roll_back(
    State(app): State<App>,
    Path(Named { name }): Path<Named>,
    CommandRequest { order, .. }: CommandRequest<NoBody>,
) -> Result<Response, Problem> {
    let (name, replayed) = operate(&app, &name, &order, StatusCode::OK, "rollBack").await?;
    if replayed {
        let stands = projections::status(app.reads()).await?.into_iter().find(|status| status.name == name);
        let position = stands.map_or(0, |status| status.position.cast_unsigned());
        let mut response = json(&RolledBack { position }).into_response();
        mark_replayed(response.headers_mut());
        return Ok(response);
    }
    let rolled_back = projections::roll_back(name, app.store(), app.database()).await?;
    Ok(json(&RolledBack { position: rolled_back.position }).into_response())
}

/// Puts it on record that an admin does this, and says whether they have done it already under the same key.
async fn operate(
    app: &App,
    name: &str,
    order: &Order,
    status: StatusCode,
    did: &str,
) -> Result<(&'static str, bool), Problem> {
    order.caller.may(Action::ManageProjections)?;
    let name = known(name)?;
    let replayed = app.remember(order, subject(name), status.as_u16()).await?;
    if !replayed {
        let access = Access::new(AccessAction::Operate, order.info()).by(order.caller.id());
        app.accesses().record(access.with(json!({ "projection": name, "did": did }))).await?;
    }
    Ok((name, replayed))
}

impl From<RebuildError> for Problem {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Unknown => Self::new(&codes::PROJECTION_NOT_FOUND),
            RebuildError::NothingRetired => Self::new(&codes::NOTHING_RETIRED),
            RebuildError::OtherVersion(version) => Self::new(&codes::RETIRED_OTHER_VERSION).with_detail(
                format!("the earlier rows are of version {version}: go back with the build that made them"),
                format!(
                    "les lignes précédentes sont de la version {version} : revenez-y avec le programme qui les a faites"
                ),
            ),
            RebuildError::Running => Self::new(&codes::REBUILD_RUNNING),
            RebuildError::UnknownAggregate => Self::new(&codes::AGGREGATE_NOT_FOUND),
            RebuildError::Held => Self::new(&codes::AGGREGATE_HELD),
            error => {
                tracing::error!(%error, "rows could not be put in place");
                Self::new(&codes::STORE_UNAVAILABLE).with_retry_after(1)
            }
        }
    }
}

/// The projection that a path names.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

pub(super) fn known(name: &str) -> Result<&'static str, Problem> {
    let known = NAMES.into_iter().find(|known| *known == name);
    known.ok_or_else(|| Problem::new(&codes::PROJECTION_NOT_FOUND))
}

/// What is remembered of commands on it.
pub(super) fn subject(projection: &str) -> StreamId {
    StreamId { aggregate_type: "projection", id: Uuid::new_v5(&Uuid::NAMESPACE_OID, projection.as_bytes()) }
}
