//! Live events: what is announced, and who comes.

mod attendees;
mod commands;
mod queries;
mod view;

pub use queries::{ListEvents, get as event, list as events};

use chrono::Utc;
use domain::live::Live;
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
    OpenApiRouter::default().merge(commands::router()).merge(queries::router()).merge(attendees::router())
}

const PROJECTION: &str = projections::live::Lives::NAME;

impl Served for Live {
    const COLLECTION: &'static str = "/api/events";

    async fn represent(
        app: &App,
        caller: &Caller,
        id: Uuid,
        position: u64,
        deadline: Instant,
    ) -> Result<Option<Value>, Problem> {
        let models = app.models(&caller.actor);
        let query = || projections::live::by_id(&models, id, caller.id());
        let (row, _) = app.positions().read(PROJECTION, Scope::Key(id), position, deadline, query).await?;
        let event = row.and_then(|row| view::show(caller, row, Utc::now()));
        Ok(event.and_then(|event| serde_json::to_value(event).ok()))
    }
}
