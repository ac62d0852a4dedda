//! How the figures are asked for. Days and times are UTC; every answer brings the checkpoint it was read beside.

use chrono::NaiveDate;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::read_model::{Asked, Cell, ReadModel};
use crate::models::Models;
use crate::positions::Reached;
use crate::rows::reached;

/// The instance at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct AnalyticsGlance {
    /// Accounts ever registered.
    pub accounts: i64,
    /// Dossiers that are not discarded.
    pub dossiers: i64,
    /// The same by status.
    pub by_status: Vec<StatusCount>,
    /// Dossiers submitted since the beginning of this day.
    pub submitted_today: i64,
    /// Decisions taken since the beginning of this day.
    pub decided_today: i64,
}

/// How many dossiers are in a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs)] // each column is named for what it is
pub struct StatusCount {
    pub status: String,
    pub dossiers: i64,
}

/// Columns as the database names them, rows in their order, and the checkpoint, in one statement.
pub(super) fn beside_checkpoint(rows: &str) -> String {
    format!(
        "select c.*, coalesce((select json_agg(r) from ({rows}) r), '[]') as rows from checkpoint_of('analytics') c"
    )
}

pub(super) type Answer<T> = (Option<i64>, Option<i64>, Json<Vec<T>>);

pub(super) fn answered<T>((checkpoint, held_from, rows): Answer<T>) -> (Vec<T>, Reached) {
    let position = checkpoint.unwrap_or(0).cast_unsigned();
    (rows.0, Reached { position, held_from: held_from.map(i64::cast_unsigned) })
}

/// A row's values, when it is one, and how far they are.
pub type ReadRow = (Option<Vec<Cell>>, Reached);

/// The rows of a read model, as they come, each beside the checkpoint; the first may bring nothing but that.
pub fn rows<'a>(
    models: &'a Models,
    model: &'static ReadModel,
    asked: Asked,
) -> BoxStream<'a, Result<ReadRow, sqlx::Error>> {
    let Asked { smallest, first, last } = asked;
    let rows = sqlx::query(model.query()).bind(smallest).bind(first).bind(last).fetch(models);
    rows.map(|row| row.and_then(|row| Ok((model.cells(&row)?, reached(&row)?)))).boxed()
}

/// The instance at a glance, on the day `today`.
///
/// # Errors
/// When the database does not answer.
pub async fn glance(models: &Models, today: NaiveDate) -> Result<(AnalyticsGlance, Reached), sqlx::Error> {
    let query = beside_checkpoint(
        "select coalesce((select sum(registered) from analytics.registration_days), 0) as accounts,
                coalesce(sum(n), 0) as dossiers,
                coalesce(json_agg(json_build_object('status', status, 'dossiers', n) order by status), '[]') as by_status,
                (select coalesce(sum(entered), 0) from analytics.status_days
                 where day = $1 and status = 'submitted') as submitted_today,
                (select coalesce(sum(entered), 0) from analytics.status_days
                 where day = $1 and status in ('accepted', 'refused', 'closed')) as decided_today
         from (select status, count(*) as n from analytics.dossiers group by status) s",
    );
    let answer: Answer<AnalyticsGlance> = sqlx::query_as(&query).bind(today).fetch_one(models).await?;
    let (mut rows, reached) = answered(answer);
    rows.pop().map(|glance| (glance, reached)).ok_or(sqlx::Error::RowNotFound)
}
