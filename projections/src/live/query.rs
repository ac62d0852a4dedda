//! How live events are asked for. Every answer brings the checkpoint that its rows were read beside.

use chrono::{DateTime, Utc};
use domain::Resource;
use domain::live::Status;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, QueryBuilder, Row};
use uuid::Uuid;

use super::Lives;
use crate::models::Models;
use crate::positions::{Reached, partition_of};
use crate::projection::Projection;
use crate::rows::{one, present};
use crate::search;

/// What a registered user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A seat.
    Confirmed,
    /// A turn in the waiting list.
    Waitlisted,
    /// Nothing any more: the live event was called off.
    Cancelled,
}

impl Place {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Waitlisted => "waitlisted",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn named(name: &str) -> Result<Self, sqlx::Error> {
        let known =
            [Self::Confirmed, Self::Waitlisted, Self::Cancelled].into_iter().find(|place| place.as_str() == name);
        known.ok_or_else(|| sqlx::Error::Decode(format!("`{name}` is no place").into()))
    }
}

/// A live event as the API shows it. The stream's address is for confirmed users only, shortly before the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct LiveRow {
    pub id: Uuid,
    pub organization_id: Uuid,
    pub title: String,
    pub description: String,
    pub time_zone: String,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub capacity: Option<i64>,
    pub stream_url: Option<String>,
    pub status: Status,
    pub cancel_reason: Option<String>,
    pub confirmed: i64,
    pub waiting: i64,
    /// What the reader has.
    pub registration: Option<Place>,
    pub version: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl LiveRow {
    /// What the policy needs to know of it.
    pub fn resource(&self) -> Resource {
        Resource::Live { organization: self.organization_id, published: self.status != Status::Draft }
    }
}

impl FromRow<'_, PgRow> for LiveRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let status: &str = row.try_get("status")?;
        let known = [Status::Draft, Status::Scheduled, Status::Cancelled].into_iter().find(|s| s.as_str() == status);
        let registration: Option<&str> = row.try_get("registration")?;
        Ok(Self {
            id: row.try_get("id")?,
            organization_id: row.try_get("organization_id")?,
            title: row.try_get("title")?,
            description: row.try_get("description")?,
            time_zone: row.try_get("time_zone")?,
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
            capacity: row.try_get("capacity")?,
            stream_url: row.try_get("stream_url")?,
            status: known.ok_or_else(|| sqlx::Error::Decode(format!("`{status}` is no status").into()))?,
            cancel_reason: row.try_get("cancel_reason")?,
            confirmed: row.try_get("confirmed")?,
            waiting: row.try_get("waiting")?,
            registration: registration.map(Place::named).transpose()?,
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

const REGISTRATION: &str = "(select place from live.registrations r where r.live_id = l.id and r.user_id = ";

/// The live event, and the checkpoint of its partition.
///
/// # Errors
/// When the database does not answer.
pub async fn by_id(models: &Models, id: Uuid, reader: Uuid) -> Result<(Option<LiveRow>, Reached), sqlx::Error> {
    let query = format!(
        "select c.*, l.*, {REGISTRATION} $3) as registration
         from checkpoint_of('live', $2, $1) c
         left join live.lives l on l.id = $1"
    );
    let row = sqlx::query(&query)
        .bind(id)
        .bind(partition_of(id, Lives::PARTITIONS))
        .bind(reader)
        .fetch_optional(models)
        .await?;
    one(row.as_ref())
}

/// What a list of live events is narrowed by.
#[derive(Debug, Clone)]
pub struct LiveFilter {
    /// Who reads.
    pub reader: Uuid,
    /// The organisation whose drafts the reader may see.
    pub drafts_of: Option<Uuid>,
    /// Ending at or after.
    pub from: Option<DateTime<Utc>>,
    /// Starting before.
    pub to: Option<DateTime<Utc>>,
    /// With these words in the title, without case and accents.
    pub q: Option<String>,
    /// Where the page begins; at the start without.
    pub after: Option<LiveCursor>,
    /// Rows on the page, at most.
    pub limit: u32,
}

/// Where the next page begins: after the last row of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveCursor {
    /// When the last row starts.
    pub starts_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// One page of live events.
#[derive(Debug, Clone)]
pub struct LivePage {
    /// The rows, the first to start first.
    pub items: Vec<LiveRow>,
    /// Where the next page begins, when there is one.
    pub next: Option<LiveCursor>,
}

/// One page of the live events that pass the filter, and the lowest checkpoint of all partitions.
///
/// # Errors
/// When the database does not answer.
pub async fn list(models: &Models, filter: &LiveFilter) -> Result<(LivePage, Reached), sqlx::Error> {
    let mut query = QueryBuilder::new(format!("select c.*, l.*, {REGISTRATION}"));
    query.push_bind(filter.reader).push(
        ") as registration from checkpoint_of('live') c
         left join lateral (select * from live.lives where (status <> 'draft'",
    );
    if let Some(organization) = filter.drafts_of {
        query.push(" or organization_id = ").push_bind(organization);
    }
    query.push(")");
    if let Some(from) = filter.from {
        query.push(" and ends_at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" and starts_at < ").push_bind(to);
    }
    search::push(&mut query, filter.q.as_deref());
    if let Some(after) = filter.after {
        query.push(" and (starts_at, id) > (").push_bind(after.starts_at);
        query.push(", ").push_bind(after.id).push(")");
    }
    query.push(" order by starts_at, id limit ").push_bind(i64::from(filter.limit) + 1);
    query.push(") l on true order by l.starts_at, l.id");
    let (mut items, reached) = present::<LiveRow>(&query.build().fetch_all(models).await?, "id")?;
    let more = items.len() > filter.limit as usize;
    items.truncate(filter.limit as usize);
    let last = items.last().filter(|_| more);
    let next = last.map(|row| LiveCursor { starts_at: row.starts_at, id: row.id });
    Ok((LivePage { items, next }, reached))
}

/// Who registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct AttendeeRow {
    pub user_id: Uuid,
    pub place: Place,
    pub registered_at: DateTime<Utc>,
    /// The order of registration.
    #[serde(skip)]
    position: i64,
}

impl FromRow<'_, PgRow> for AttendeeRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user_id: row.try_get("user_id")?,
            place: Place::named(row.try_get("place")?)?,
            registered_at: row.try_get("registered_at")?,
            position: row.try_get("position")?,
        })
    }
}

/// Where the next page of attendees begins: after the last row of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttendeeCursor {
    /// The last row's place in the order of registration.
    pub position: i64,
    /// Its user.
    pub user_id: Uuid,
}

/// One page of attendees.
#[derive(Debug, Clone)]
pub struct AttendeePage {
    /// The rows, in the order of registration.
    pub items: Vec<AttendeeRow>,
    /// Where the next page begins, when there is one.
    pub next: Option<AttendeeCursor>,
}

/// One page of those who registered, in their order, and the checkpoint of the live event's partition.
///
/// # Errors
/// When the database does not answer.
pub async fn attendees(
    models: &Models,
    live: Uuid,
    after: Option<AttendeeCursor>,
    limit: u32,
) -> Result<(AttendeePage, Reached), sqlx::Error> {
    let mut query = QueryBuilder::new("select c.*, r.* from checkpoint_of('live', ");
    query.push_bind(partition_of(live, Lives::PARTITIONS)).push(", ").push_bind(live);
    query.push(") c left join lateral (select * from live.registrations where live_id = ").push_bind(live);
    if let Some(after) = after {
        query.push(" and (position, user_id) > (").push_bind(after.position);
        query.push(", ").push_bind(after.user_id).push(")");
    }
    query.push(" order by position, user_id limit ").push_bind(i64::from(limit) + 1);
    query.push(") r on true order by r.position, r.user_id");
    let (mut items, reached) = present::<AttendeeRow>(&query.build().fetch_all(models).await?, "user_id")?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().filter(|_| more);
    let next = last.map(|row| AttendeeCursor { position: row.position, user_id: row.user_id });
    Ok((AttendeePage { items, next }, reached))
}
