//! Organisations: who belongs to them as what, and in which one a session acts.

mod commands;
mod invitations;
mod members;
mod queries;
mod session;
mod view;

use domain::organization::Organization;
use projections::organization::Organizations;
use projections::{Projection, Scope};
use serde_json::Value;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use crate::answer::Served;
use crate::app::App;
use crate::auth::Caller;
use crate::problem::Problem;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .merge(commands::router())
        .merge(members::router())
        .merge(invitations::router())
        .merge(queries::router())
        .merge(session::router())
}

const PROJECTION: &str = Organizations::NAME;

impl Served for Organization {
    const COLLECTION: &'static str = "/api/organizations";

    async fn represent(
        app: &App,
        caller: &Caller,
        id: Uuid,
        position: u64,
        deadline: Instant,
    ) -> Result<Option<Value>, Problem> {
        let models = app.models(&caller.actor);
        let query = || projections::organization::by_id(&models, id, caller.id());
        let (row, _) = app.positions().read(PROJECTION, Scope::Key(id), position, deadline, query).await?;
        let organization = row.and_then(|row| view::show(caller, row));
        Ok(organization.and_then(|organization| serde_json::to_value(organization).ok()))
    }
}
