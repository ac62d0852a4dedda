//! Figures, for analysts.

use async_graphql::{Context, Json, Object, Result};
use chrono::NaiveDate;
use domain::Action;
use futures::StreamExt;
use projections::analytics::{ReadModel, rows};
use projections::{Projection, Scope, analytics};
use serde_json::Value;

use super::{FIGURES, answered, asked, error};
use crate::problem::{Problem, codes};
use crate::routes::analytics::asked as asked_for;
use crate::table::object;

/// Rows that the graph gives at most; more come as a table.
const MOST: i32 = 1_000;

/// The part of the graph that is about figures.
#[derive(Default)]
pub struct Analytics;

#[Object]
impl Analytics {
    /// The first rows of a read model; `GET /api/analytics` names them and their columns.
    #[graphql(complexity = "FIGURES")]
    async fn analytics(
        &self,
        context: &Context<'_>,
        read_model: String,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
        first: Option<i32>,
    ) -> Result<Vec<Json<Value>>> {
        let asked = asked(context);
        answered(asked.caller.may(Action::ReadAnalytics))?;
        let unknown = || error(&Problem::new(&codes::READ_MODEL_NOT_FOUND));
        let model = ReadModel::named(&read_model).ok_or_else(unknown)?;
        let first = first.unwrap_or(MOST).clamp(1, MOST);
        let waited =
            asked.app.positions().wait(analytics::Analytics::NAME, Scope::All, asked.min_position, asked.deadline);
        answered(waited.await.map_err(Problem::from))?;
        let models = asked.app.models(&asked.caller.actor);
        let mut items = Vec::new();
        let mut rows = rows(&models, model, asked_for(&asked.app, from, to));
        while let Some(row) = rows.next().await {
            let (cells, reached) = answered(row.map_err(Problem::from))?;
            asked.reached(reached);
            items.extend(cells.map(|cells| Json(object(model, cells))));
            if items.len() >= first as usize {
                break;
            }
        }
        Ok(items)
    }
}
