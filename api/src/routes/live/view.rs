//! A live event as each reader sees it.

use chrono::{DateTime, Duration, Utc};
use domain::Action;
use domain::live::Status;
use projections::live::{LiveRow, Place};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Caller;

/// How long before the start those who have a seat see where to watch.
const OPENS_BEFORE: Duration = Duration::minutes(15);

/// A live event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct EventView {
    id: Uuid,
    organization_id: Uuid,
    title: String,
    description: String,
    time_zone: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    /// Seats; null for no limit.
    capacity: Option<i64>,
    /// Where it can be watched: for those who have a seat from 15 minutes before the start, and for its organisers.
    stream_url: Option<String>,
    #[schema(value_type = EventStatus)]
    status: Status,
    /// What the clock says.
    phase: Phase,
    cancel_reason: Option<String>,
    /// How many have a seat.
    confirmed: i64,
    /// How many wait for one.
    waiting: i64,
    /// What the reader has: `confirmed`, `waitlisted`, `cancelled`, or null.
    #[schema(value_type = Option<String>)]
    registration: Option<Place>,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl EventView {
    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// How far a live event has come.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code)] // describes the domain's type, which knows no OpenAPI
enum EventStatus {
    Draft,
    Scheduled,
    Cancelled,
}

/// What the clock says of a live event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is still to come.
    Upcoming,
    /// It takes place now.
    Live,
    /// It is over.
    Ended,
}

/// The live event at this time, for a reader who may see it.
pub fn show(caller: &Caller, row: LiveRow, now: DateTime<Utc>) -> Option<EventView> {
    let resource = row.resource();
    caller.can(Action::ReadLive, &resource).ok()?;
    let organizes = caller.can(Action::EditLive, &resource).is_ok();
    let has_seat = row.registration == Some(Place::Confirmed);
    let opens_at = row.starts_at.checked_sub_signed(OPENS_BEFORE).unwrap_or(row.starts_at);
    let open = organizes || (has_seat && now >= opens_at);
    Some(EventView {
        id: row.id,
        organization_id: row.organization_id,
        title: row.title,
        description: row.description,
        time_zone: row.time_zone,
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        capacity: row.capacity,
        stream_url: row.stream_url.filter(|_| open),
        status: row.status,
        phase: match now {
            now if now < row.starts_at => Phase::Upcoming,
            now if now < row.ends_at => Phase::Live,
            _ => Phase::Ended,
        },
        cancel_reason: row.cancel_reason,
        confirmed: row.confirmed,
        waiting: row.waiting,
        registration: row.registration,
        version: row.version,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
