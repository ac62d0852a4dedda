//! Reading live events.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::Role;
use domain::live::Live;
use projections::Scope;
use projections::live::{self, LiveCursor, LiveFilter};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::PROJECTION;
use super::view::{EventView, show};
use crate::answer::QueryAnswer;
use crate::app::App;
use crate::auth::Caller;
use crate::error::not_found;
use crate::extract::{Cursor, Id, Limit, NoParameters, Page, QueryRequest, time};
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(get))
}

/// Which live events to list.
#[derive(Debug, Deserialize, Serialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListEvents {
    /// Ending at or after this time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    pub from: Option<DateTime<Utc>>,
    /// Starting before this time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    pub to: Option<DateTime<Utc>>,
    /// With these words in the title.
    pub q: Option<String>,
    /// Items on a page.
    #[serde(default, skip_serializing)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    pub limit: Limit,
    /// The `nextCursor` of the page before.
    #[serde(skip_serializing)]
    pub cursor: Option<String>,
}

/// The live events that the caller may see, the first to start first.
#[utoipa::path(get, path = "/api/events", tag = "events", operation_id = "listEvents",
    params(ListEvents), responses((status = 200, body = Page<EventView>)))]
pub async fn list(
    State(app): State<App>,
    request: QueryRequest<ListEvents>,
) -> Result<QueryAnswer<Page<EventView>>, Problem> {
    let ListEvents { from, to, q, limit, cursor } = &request.parameters;
    let caller = &request.caller;
    let cursors = Cursor::of(app.vault(), "events", &request.parameters, caller.id());
    let filter = LiveFilter {
        reader: caller.id(),
        drafts_of: drafts_of(caller),
        from: *from,
        to: *to,
        q: q.clone(),
        after: cursor.as_ref().map(|cursor| cursors.open::<LiveCursor>(cursor)).transpose()?,
        limit: limit.0,
    };
    let models = app.models(&request.caller.actor);
    let query = || live::list(&models, &filter);
    let (page, reached) = app.read(PROJECTION, Scope::All, &request, query).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    let now = Utc::now();
    let items = page.items.into_iter().filter_map(|row| show(caller, row, now)).collect();
    Ok(QueryAnswer::new(Page { items, next_cursor }, reached))
}

/// The organisation whose drafts the caller sees.
fn drafts_of(caller: &Caller) -> Option<Uuid> {
    let roles = caller.actor.roles;
    let organizes = roles.contains(Role::Organizer) || roles.contains(Role::Admin);
    organizes.then_some(caller.actor.organization)
}

/// One live event.
#[utoipa::path(get, path = "/api/events/{id}", tag = "events", operation_id = "getEvent",
    responses((status = 200, body = EventView)))]
pub async fn get(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<EventView>, Problem> {
    let models = app.models(&request.caller.actor);
    let query = || live::by_id(&models, id, request.caller.id());
    let (row, reached) = app.read(PROJECTION, Scope::Key(id), &request, query).await?;
    let shown = row.and_then(|row| show(&request.caller, row, Utc::now()));
    let body = shown.ok_or_else(not_found::<Live>)?;
    let version = Some(body.version());
    Ok(QueryAnswer::of_one(body, reached, version))
}
