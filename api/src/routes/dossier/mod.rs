//! Dossiers.

mod bodies;
mod commands;
mod history;
mod past;
mod queries;
mod view;

pub use history::{HistoryItem, history, payload_data, whole_history};
pub use queries::{AsItWas, ListDossiers, get as dossier, list as dossiers};

use domain::dossier::Dossier;
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
    OpenApiRouter::default().merge(commands::router()).merge(queries::router()).merge(history::router())
}

const PROJECTION: &str = projections::dossier::Dossiers::NAME;

impl Served for Dossier {
    const COLLECTION: &'static str = "/api/dossiers";

    async fn represent(
        app: &App,
        caller: &Caller,
        id: Uuid,
        position: u64,
        deadline: Instant,
    ) -> Result<Option<Value>, Problem> {
        let models = app.models(&caller.actor);
        let query = || projections::dossier::by_id(&models, id);
        let read = app.positions().read(PROJECTION, Scope::Key(id), position, deadline, query).await;
        let Some(row) = read?.0 else { return Ok(None) };
        let Ok(sight) = view::sight(caller, &row) else { return Ok(None) };
        let shown = view::show(app, vec![(row, sight)]).await?.pop();
        Ok(shown.and_then(|shown| serde_json::from_str(shown.get()).ok()))
    }
}
