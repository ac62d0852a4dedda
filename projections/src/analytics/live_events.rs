//! How each live event was taken up. Who took it up is not kept.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::EventEnvelope;
use domain::live::LiveEvent;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Followed;
use super::feed::{self, Entry, Topic};
use crate::error::ProjectionError;
use crate::projection::Recorded;

/// What is counted of one live event.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub(super) struct LiveEventState {
    pub(super) id: Uuid,
    organization_id: Uuid,
    status: String,
    starts_at: DateTime<Utc>,
    capacity: Option<i64>,
    version: i64,
    confirmed: i64,
    waitlisted: i64,
    cancelled: i64,
    /// The position in this batch at which what the feed tells of it became what it is.
    #[sqlx(skip)]
    changed_at: Option<u64>,
}

impl LiveEventState {
    /// What the change feed says of it, where that changed: no text, and nothing that a registration changes.
    fn entry(&self) -> Option<Entry> {
        let position = self.changed_at?;
        let data = json!({
            "organizationId": self.organization_id,
            "status": self.status,
            "startsAt": self.starts_at,
            "capacity": self.capacity,
        });
        Some(Entry { id: self.id, position, data: Some(data.to_string()) })
    }
}

/// The state after the next event of the live event's stream.
pub(super) fn advance(
    before: Option<LiveEventState>,
    envelope: &EventEnvelope,
    event: &LiveEvent,
) -> Result<LiveEventState, ProjectionError> {
    let EventEnvelope { position, version, .. } = envelope;
    let misplaced = || ProjectionError::Poison(format!("position {position}: version {version} of a live event"));
    let mut state = match (before, event) {
        (None, LiveEvent::Created { organization, details, .. }) => LiveEventState {
            id: envelope.aggregate_id,
            organization_id: *organization,
            status: "draft".to_owned(),
            starts_at: details.starts_at,
            capacity: details.capacity.map(i64::from),
            version: 0,
            confirmed: 0,
            waitlisted: 0,
            cancelled: 0,
            changed_at: None,
        },
        (Some(before), _) if before.version < version.cast_signed() => before,
        _ => return Err(misplaced()),
    };
    state.version = version.cast_signed();
    match event {
        LiveEvent::Created { .. } => {}
        LiveEvent::Edited { starts_at, capacity, .. } => {
            if let Some(change) = starts_at {
                state.starts_at = change.to;
            }
            if let Some(change) = capacity {
                state.capacity = change.to.map(i64::from);
            }
        }
        LiveEvent::Published { .. } => state.status = "scheduled".to_owned(),
        LiveEvent::Cancelled { .. } => state.status = "cancelled".to_owned(),
        LiveEvent::RegistrationConfirmed { .. } => state.confirmed += 1,
        LiveEvent::RegistrationWaitlisted { .. } => state.waitlisted += 1,
        LiveEvent::RegistrationCancelled { .. } => state.cancelled += 1,
        LiveEvent::RegistrationsPromoted { users, .. } => state.confirmed += users.len() as i64,
    }
    if changes_what_is_told(event) {
        state.changed_at = Some(*position);
    }
    Ok(state)
}

fn changes_what_is_told(event: &LiveEvent) -> bool {
    match event {
        LiveEvent::Edited { starts_at, capacity, .. } => starts_at.is_some() || capacity.is_some(),
        LiveEvent::Created { .. } | LiveEvent::Published { .. } | LiveEvent::Cancelled { .. } => true,
        LiveEvent::RegistrationConfirmed { .. }
        | LiveEvent::RegistrationWaitlisted { .. }
        | LiveEvent::RegistrationCancelled { .. }
        | LiveEvent::RegistrationsPromoted { .. } => false,
    }
}

/// The states that stand, of those live events that the batch is about.
pub(super) async fn load(
    batch: &[Recorded<Followed>],
    connection: &mut PgConnection,
) -> Result<BTreeMap<Uuid, LiveEventState>, ProjectionError> {
    let live = batch.iter().filter(|recorded| matches!(recorded.event, Followed::Live(_)));
    let ids: BTreeSet<Uuid> = live.map(|recorded| recorded.envelope.aggregate_id).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let states: Vec<LiveEventState> = sqlx::query_as("select * from live_events where id = any($1)")
        .bind(ids.into_iter().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(states.into_iter().map(|state| (state.id, state)).collect())
}

/// Writes the states, and the changes that they are.
pub(super) async fn write(
    states: impl Iterator<Item = &LiveEventState>,
    connection: &mut PgConnection,
) -> Result<(), ProjectionError> {
    let mut entries = Vec::new();
    for state in states {
        entries.extend(state.entry());
        sqlx::query(
            "insert into live_events (id, organization_id, status, starts_at, capacity, version, confirmed, waitlisted,
                 cancelled)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (id) do update set status = excluded.status, starts_at = excluded.starts_at,
                 capacity = excluded.capacity, version = excluded.version, confirmed = excluded.confirmed,
                 waitlisted = excluded.waitlisted, cancelled = excluded.cancelled",
        )
        .bind(state.id)
        .bind(state.organization_id)
        .bind(&state.status)
        .bind(state.starts_at)
        .bind(state.capacity)
        .bind(state.version)
        .bind(state.confirmed)
        .bind(state.waitlisted)
        .bind(state.cancelled)
        .execute(&mut *connection)
        .await?;
    }
    feed::tell(Topic::LiveEvents, &entries, connection).await
}
