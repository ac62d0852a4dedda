//! Who comes to a live event, for its organisers.

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::Action;
use domain::live::Live;
use projections::live::{self, AttendeeCursor, AttendeeRow, Place};
use projections::{Models, Scope};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::account::names;
use super::PROJECTION;
use crate::answer::{POSITION, QueryAnswer};
use crate::app::App;
use crate::error::{denied, not_found};
use crate::extract::{Cursor, Id, Page, Paging, QueryRequest, accepts};
use crate::problem::Problem;

const CSV: &str = "text/csv";
/// Attendees read at once for a table of all.
const CHUNK: u32 = 1000;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(attendees))
}

/// Somebody who registered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Attendee {
    user_id: Uuid,
    /// Null once the account was erased.
    name: Option<String>,
    /// `confirmed`, `waitlisted`, or `cancelled` when the live event was called off.
    #[schema(value_type = String)]
    status: Place,
    registered_at: DateTime<Utc>,
}

/// Who registered, in the order of their registration; all of them as a table with `Accept: text/csv`.
#[utoipa::path(get, path = "/api/events/{id}/attendees", tag = "events", operation_id = "listAttendees", params(Paging),
    responses((status = 200, content((Page<Attendee> = "application/json"), (String = "text/csv")))))]
async fn attendees(
    State(app): State<App>,
    Id(id): Id,
    headers: HeaderMap,
    request: QueryRequest<Paging>,
) -> Result<Response, Problem> {
    let Paging { limit, cursor } = &request.parameters;
    let cursors = Cursor::of(app.vault(), "attendees", &id, request.caller.id());
    let after = cursor.as_ref().map(|cursor| cursors.open::<AttendeeCursor>(cursor)).transpose()?;
    let models = app.models(&request.caller.actor);
    let exists = || live::by_id(&models, id, request.caller.id());
    let (row, reached) = app.read(PROJECTION, Scope::Key(id), &request, exists).await?;
    let row = row.ok_or_else(not_found::<Live>)?;
    request.caller.can(Action::ReadAttendees, &row.resource()).map_err(denied::<Live>)?;
    if accepts(&headers, CSV) {
        return table(&app, &models, id, reached.position).await;
    }
    let query = || live::attendees(&models, id, after, limit.0);
    let (page, reached) = app.read(PROJECTION, Scope::Key(id), &request, query).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    let items = show(&app, &models, page.items).await?;
    Ok(QueryAnswer::new(Page { items, next_cursor }, reached).into_response())
}

async fn show(app: &App, models: &Models, rows: Vec<AttendeeRow>) -> Result<Vec<Attendee>, Problem> {
    let names = names(app, models, rows.iter().map(|row| row.user_id)).await?;
    let view = |row: AttendeeRow| Attendee {
        user_id: row.user_id,
        name: names.get(&row.user_id).cloned(),
        status: row.place,
        registered_at: row.registered_at,
    };
    Ok(rows.into_iter().map(view).collect())
}

/// All attendees, as RFC 4180 has it.
async fn table(app: &App, models: &Models, id: Uuid, position: u64) -> Result<Response, Problem> {
    let mut text = "userId,name,status,registeredAt\r\n".to_owned();
    let mut after = None;
    loop {
        let (page, _) = live::attendees(models, id, after, CHUNK).await?;
        for attendee in show(app, models, page.items).await? {
            let status = match attendee.status {
                Place::Confirmed => "confirmed",
                Place::Waitlisted => "waitlisted",
                Place::Cancelled => "cancelled",
            };
            let name = cell(attendee.name.as_deref().unwrap_or_default());
            let at = attendee.registered_at.to_rfc3339();
            text.push_str(&format!("{},{name},{status},{at}\r\n", attendee.user_id));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"attendees.csv\""));
    headers.insert(&POSITION, HeaderValue::from(position));
    Ok(response)
}

/// A text as a cell, quoted, and never a formula.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula() {
        assert_eq!(cell("Ada \"L\", x"), "\"Ada \"\"L\"\", x\"");
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("@cmd"), "\"'@cmd\"");
    }
}
