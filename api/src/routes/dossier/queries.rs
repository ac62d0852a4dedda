//! Reading dossiers: one, as it is or was, and lists.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::dossier::{Dossier, Status};
use domain::{Action, Role};
use projections::Scope;
use projections::dossier::{self, DossierCursor, DossierFilter, DossierRow, DossierSort, Narrowing, SortKey, Visible};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::view::{DossierView, Sight, StatusView, record_read, show, sight};
use super::{PROJECTION, history, past};
use crate::accesses::{Access, AccessAction};
use crate::answer::QueryAnswer;
use crate::app::App;
use crate::auth::Caller;
use crate::error::not_found;
use crate::extract::{Cursor, Id, Limit, Page, QueryRequest, invalid_parameter, time};
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(get)).routes(routes!(list))
}

/// Which state of a dossier to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AsItWas {
    /// As it was at this version.
    pub version: Option<u64>,
    /// As it was at this time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    pub as_of: Option<DateTime<Utc>>,
    /// As it was when the log was at this position.
    pub at_position: Option<u64>,
}

/// One dossier, as it is or as it was.
#[utoipa::path(get, path = "/api/dossiers/{id}", tag = "dossiers", operation_id = "getDossier",
    params(AsItWas), responses((status = 200, body = DossierView)))]
pub async fn get(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<AsItWas>,
) -> Result<QueryAnswer<Box<RawValue>>, Problem> {
    let AsItWas { version, as_of, at_position } = request.parameters;
    let moment = match (version, as_of, at_position) {
        (None, None, None) => return current(&app, id, &request).await,
        (Some(version), None, None) => history::Moment::Version(version),
        (None, Some(time), None) => history::Moment::Time(time),
        (None, None, Some(position)) if i64::try_from(position).is_ok() => history::Moment::Position(position),
        (None, None, Some(_)) => return Err(invalid_parameter("atPosition", "is beyond every log")),
        (Some(_), _, _) => return Err(invalid_parameter("version", "excludes asOf and atPosition")),
        (None, _, _) => return Err(invalid_parameter("asOf", "excludes atPosition")),
    };
    history::as_it_was(&app, id, moment, &request).await
}

async fn current(app: &App, id: Uuid, request: &QueryRequest<AsItWas>) -> Result<QueryAnswer<Box<RawValue>>, Problem> {
    let models = app.models(&request.caller.actor);
    let query = || dossier::by_id(&models, id);
    let (row, reached) = app.read(PROJECTION, Scope::Key(id), request, query).await?;
    let row = row.ok_or_else(not_found::<Dossier>)?;
    let (version, sight) = (row.version, sight(&request.caller, &row)?);
    record_read(app, request, Action::ReadDossier, &row).await?;
    let body = show(app, vec![(row, sight)]).await?.pop().unwrap_or_default();
    Ok(QueryAnswer::of_one(body, reached, Some(version)))
}

/// Which dossiers to list, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListDossiers {
    /// In this status.
    #[param(inline, value_type = Option<StatusView>)]
    pub status: Option<Status>,
    /// Of this category.
    pub category: Option<String>,
    /// Assigned to this pro.
    pub assigned_to: Option<Uuid>,
    /// With these words in the title.
    pub q: Option<String>,
    /// By what, `-` for the greatest first; the newest first when it is not given.
    #[param(inline)]
    pub sort: Option<Sort>,
    /// As the list was at this time: for auditors, in the order of creation.
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<DateTime<Utc>>)]
    pub as_of: Option<DateTime<Utc>>,
    /// As the list was at this position of the log: for auditors, in the order of creation.
    #[param(maximum = 9_223_372_036_854_775_807_i64)]
    pub at_position: Option<u64>,
    /// Items on a page.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    pub limit: Limit,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl ListDossiers {
    pub(super) fn narrowing(&self) -> Narrowing {
        let Self { status, category, assigned_to, q, .. } = self;
        Narrowing { status: *status, category: category.clone(), assigned_to: *assigned_to, q: q.clone() }
    }
}

/// The orders of the list.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DossierSort)]
pub enum Sort {
    #[serde(rename = "createdAt")]
    CreatedAt,
    #[serde(rename = "-createdAt")]
    CreatedAtDescending,
    #[serde(rename = "updatedAt")]
    UpdatedAt,
    #[serde(rename = "-updatedAt")]
    UpdatedAtDescending,
    #[serde(rename = "title")]
    Title,
    #[serde(rename = "-title")]
    TitleDescending,
}

impl From<Sort> for DossierSort {
    fn from(sort: Sort) -> Self {
        let (key, descending) = match sort {
            Sort::CreatedAt => (SortKey::CreatedAt, false),
            Sort::CreatedAtDescending => (SortKey::CreatedAt, true),
            Sort::UpdatedAt => (SortKey::UpdatedAt, false),
            Sort::UpdatedAtDescending => (SortKey::UpdatedAt, true),
            Sort::Title => (SortKey::Title, false),
            Sort::TitleDescending => (SortKey::Title, true),
        };
        Self { key, descending }
    }
}

/// The dossiers that the caller may see; for auditors also as they were.
#[utoipa::path(get, path = "/api/dossiers", tag = "dossiers", operation_id = "listDossiers",
    params(ListDossiers), responses((status = 200, body = Page<DossierView>)))]
pub async fn list(
    State(app): State<App>,
    request: QueryRequest<ListDossiers>,
) -> Result<QueryAnswer<Page<Box<RawValue>>>, Problem> {
    if request.parameters.as_of.is_some() || request.parameters.at_position.is_some() {
        return past::list(&app, &request).await;
    }
    let ListDossiers { sort, limit, cursor, .. } = &request.parameters;
    let (narrowing, sort) = (request.parameters.narrowing(), sort.unwrap_or(Sort::CreatedAtDescending));
    let cursors = Cursor::of(app.vault(), "dossiers", &(&narrowing, sort), request.caller.id());
    let filter = DossierFilter {
        visible: visible(&request.caller),
        narrowing,
        sort: sort.into(),
        after: cursor.as_ref().map(|cursor| cursors.open::<DossierCursor>(cursor)).transpose()?,
        limit: limit.0,
    };
    let models = app.models(&request.caller.actor);
    let query = || dossier::list(&models, &filter);
    let (page, reached) = app.read(PROJECTION, Scope::All, &request, query).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    if request.caller.actor.roles.contains(Role::Auditor) {
        let read = Access::new(AccessAction::Read, &request.info).by(request.caller.id());
        app.accesses().record(read.with(json!({ "of": "dossiers" }))).await?;
    }
    let items = show(&app, seen(&request.caller, page.items)).await?;
    Ok(QueryAnswer::new(Page { items, next_cursor }, reached))
}

/// Which dossiers to look among; what of each is shown, `sight` says.
fn visible(caller: &Caller) -> Visible {
    let roles = caller.actor.roles;
    if roles.contains(Role::Auditor) || roles.contains(Role::Admin) {
        return Visible::All;
    }
    let reviews_for = roles.contains(Role::Pro).then_some(caller.actor.organization);
    Visible::To { user: caller.id(), reviews_for }
}

fn seen(caller: &Caller, rows: Vec<DossierRow>) -> Vec<(DossierRow, Sight)> {
    let seen = rows.into_iter().map(|row| sight(caller, &row).map(|sight| (row, sight)));
    seen.filter_map(Result::ok).collect()
}
