//! Reading organisations.

use axum::extract::State;
use domain::organization::Organization;
use projections::Scope;
use projections::organization::{self, MembershipCursor};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::PROJECTION;
use super::view::{OrganizationView, show};
use crate::answer::QueryAnswer;
use crate::app::App;
use crate::error::not_found;
use crate::extract::{Cursor, Id, NoParameters, Page, Paging, QueryRequest};
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(get))
}

/// The organisations that the caller belongs to, the last joined first. The one that every account has from the
/// beginning is not among them.
#[utoipa::path(get, path = "/api/organizations", tag = "organizations", operation_id = "listOrganizations",
    params(Paging), responses((status = 200, body = Page<OrganizationView>)))]
async fn list(
    State(app): State<App>,
    request: QueryRequest<Paging>,
) -> Result<QueryAnswer<Page<OrganizationView>>, Problem> {
    let (caller, Paging { limit, cursor }) = (&request.caller, &request.parameters);
    let cursors = Cursor::of(app.vault(), "organizations", &(), caller.id());
    let after = cursor.as_ref().map(|cursor| cursors.open::<MembershipCursor>(cursor)).transpose()?;
    let models = app.models(&caller.actor);
    let query = || organization::list_of(&models, caller.id(), after, limit.0);
    let (page, reached) = app.read(PROJECTION, Scope::All, &request, query).await?;
    let next_cursor = page.next.map(|next| cursors.seal(&next));
    let items = page.items.into_iter().filter_map(|row| show(caller, row)).collect();
    Ok(QueryAnswer::new(Page { items, next_cursor }, reached))
}

/// An organisation, for its members and for who runs the instance.
#[utoipa::path(get, path = "/api/organizations/{id}", tag = "organizations", operation_id = "getOrganization",
    responses((status = 200, body = OrganizationView)))]
async fn get(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<OrganizationView>, Problem> {
    let models = app.models(&request.caller.actor);
    let query = || organization::by_id(&models, id, request.caller.id());
    let (row, reached) = app.read(PROJECTION, Scope::Key(id), &request, query).await?;
    let version = row.as_ref().map(|row| row.version);
    let body = row.and_then(|row| show(&request.caller, row)).ok_or_else(not_found::<Organization>)?;
    Ok(QueryAnswer::of_one(body, reached, version))
}
