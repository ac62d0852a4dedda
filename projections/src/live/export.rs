//! What one person registered for, for their own copy of it; page by page, by id.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use crate::models::Models;

/// A registration, as its user takes it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct RegistrationRow {
    pub live_id: Uuid,
    pub place: String,
    pub registered_at: DateTime<Utc>,
}

/// The next registrations of a user.
///
/// # Errors
/// When the database does not answer.
pub async fn registrations_of(
    models: &Models,
    user: Uuid,
    after: Uuid,
    limit: u32,
) -> Result<Vec<RegistrationRow>, sqlx::Error> {
    let query = "select live_id, place, registered_at from live.registrations
                 where user_id = $1 and live_id > $2 order by user_id, live_id limit $3";
    sqlx::query_as(query).bind(user).bind(after).bind(i64::from(limit)).fetch_all(models).await
}
