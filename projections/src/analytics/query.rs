//! How the figures are asked for. Days and times are UTC; every answer brings the checkpoint it was read beside.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::types::Json;
use uuid::Uuid;

use crate::models::Models;

/// How many dossiers entered a status on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
#[expect(missing_docs)] // each column is named for what it is
pub struct StatusDay {
    pub day: NaiveDate,
    pub status: String,
    pub category: String,
    pub entered: i64,
}

/// How long dossiers stayed in a status before they left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct StatusDuration {
    /// The status.
    pub status: String,
    /// The dossiers' category.
    pub category: String,
    /// How many stays have ended.
    pub stays: i64,
    /// How long they were together, in milliseconds.
    pub total_ms: i64,
}

/// How often a reviewer decided, by outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
#[expect(missing_docs)] // each column is named for what it is
pub struct Decisions {
    pub reviewer_id: Uuid,
    pub accepted: i64,
    pub refused: i64,
    pub closed: i64,
}

/// How many dossiers are in a status now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
#[expect(missing_docs)] // each column is named for what it is
pub struct StatusCount {
    pub status: String,
    pub dossiers: i64,
}

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

/// The last change of one thing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Change {
    /// The position of the event that made it; the next read goes on after it.
    pub position: i64,
    /// What it is: `dossier`.
    pub kind: String,
    /// Its id.
    pub id: Uuid,
    /// `upsert` or `tombstone`.
    pub change: String,
    /// What it is now; nothing once it is gone.
    pub data: Option<Box<RawValue>>,
}

/// Columns as the database names them, rows in their order, and the checkpoint, in one statement.
fn beside_checkpoint(rows: &str) -> String {
    format!(
        "select coalesce((select min(position) from checkpoints where projection = 'analytics'), 0),
                coalesce((select json_agg(r) from ({rows}) r), '[]')"
    )
}

type Answer<T> = (i64, Json<Vec<T>>);

fn answered<T>((checkpoint, rows): Answer<T>) -> (Vec<T>, u64) {
    (rows.0, checkpoint.cast_unsigned())
}

/// How many dossiers entered each status on each day from `from` to `to`, both included.
///
/// # Errors
/// When the database does not answer.
pub async fn status_days(
    models: &Models,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<(Vec<StatusDay>, u64), sqlx::Error> {
    let query = beside_checkpoint(
        "select * from analytics.status_days where day >= $1 and day <= $2 order by day, status, category",
    );
    let answer: Answer<StatusDay> = sqlx::query_as(&query).bind(from).bind(to).fetch_one(models).await?;
    Ok(answered(answer))
}

/// How long dossiers stayed in each status, by category.
///
/// # Errors
/// When the database does not answer.
pub async fn status_durations(models: &Models) -> Result<(Vec<StatusDuration>, u64), sqlx::Error> {
    let query = beside_checkpoint("select * from analytics.status_durations order by status, category");
    let answer: Answer<StatusDuration> = sqlx::query_as(&query).fetch_one(models).await?;
    Ok(answered(answer))
}

/// How often each reviewer decided.
///
/// # Errors
/// When the database does not answer.
pub async fn decisions_by_reviewer(models: &Models) -> Result<(Vec<Decisions>, u64), sqlx::Error> {
    let query = beside_checkpoint(
        "select reviewer_id, coalesce(sum(decisions) filter (where outcome = 'accepted'), 0) as accepted,
                coalesce(sum(decisions) filter (where outcome = 'refused'), 0) as refused,
                coalesce(sum(decisions) filter (where outcome = 'closed'), 0) as closed
         from analytics.reviewer_decisions group by reviewer_id order by reviewer_id",
    );
    let answer: Answer<Decisions> = sqlx::query_as(&query).fetch_one(models).await?;
    Ok(answered(answer))
}

/// The instance at a glance, on the day `today`.
///
/// # Errors
/// When the database does not answer.
pub async fn glance(models: &Models, today: NaiveDate) -> Result<(AnalyticsGlance, u64), sqlx::Error> {
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
    let (mut rows, checkpoint) = answered(answer);
    rows.pop().map(|glance| (glance, checkpoint)).ok_or(sqlx::Error::RowNotFound)
}

/// Up to `limit` things that changed after position `after`, each as it is now, in the order of their last change.
///
/// # Errors
/// When the database does not answer.
pub async fn changes(models: &Models, after: u64, limit: u32) -> Result<(Vec<Change>, u64), sqlx::Error> {
    let query = beside_checkpoint(
        "select position, kind, id, change, data from analytics.changes
         where position > $1 order by position limit $2",
    );
    let answer: Answer<Change> =
        sqlx::query_as(&query).bind(after.cast_signed()).bind(i64::from(limit)).fetch_one(models).await?;
    Ok(answered(answer))
}
