//! A batch of facts about live events, folded in memory upon the rows that stand.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};
use domain::EventEnvelope;
use domain::live::{Details, LiveEvent, Status};
use sqlx::PgConnection;
use uuid::Uuid;

use super::query::Place;
use crate::error::ProjectionError;
use crate::projection::Recorded;

/// A live event's row.
#[derive(sqlx::FromRow)]
pub(super) struct LiveState {
    pub(super) id: Uuid,
    pub(super) organization_id: Uuid,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) time_zone: String,
    pub(super) starts_at: DateTime<Utc>,
    pub(super) ends_at: DateTime<Utc>,
    pub(super) capacity: Option<i64>,
    pub(super) stream_url: Option<String>,
    pub(super) status: String,
    pub(super) cancel_reason: Option<String>,
    pub(super) confirmed: i64,
    pub(super) waiting: i64,
    pub(super) version: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

/// A user's registration.
#[derive(Clone, Copy)]
pub(super) struct Registration {
    pub(super) place: Place,
    pub(super) position: i64,
    pub(super) registered_at: DateTime<Utc>,
}

/// The rows that a batch touches: live events, registrations (none once it was given back), and the live events that
/// were called off.
pub(super) struct Programme {
    pub(super) lives: BTreeMap<Uuid, LiveState>,
    pub(super) registrations: BTreeMap<(Uuid, Uuid), Option<Registration>>,
    pub(super) called_off: BTreeSet<Uuid>,
}

impl Programme {
    pub(super) async fn load(
        batch: &[Recorded<LiveEvent>],
        connection: &mut PgConnection,
    ) -> Result<Self, ProjectionError> {
        let ids: BTreeSet<Uuid> = batch.iter().map(|recorded| recorded.envelope.aggregate_id).collect();
        let lives: Vec<LiveState> = sqlx::query_as(
            "select id, organization_id, title, description, time_zone, starts_at, ends_at, capacity, stream_url,
                    status, cancel_reason, confirmed, waiting, version, created_at, updated_at
             from lives where id = any($1)",
        )
        .bind(ids.into_iter().collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
        Ok(Self {
            lives: lives.into_iter().map(|live| (live.id, live)).collect(),
            registrations: load_registrations(batch, connection).await?,
            called_off: BTreeSet::new(),
        })
    }

    pub(super) fn advance(&mut self, envelope: &EventEnvelope, event: &LiveEvent) -> Result<(), ProjectionError> {
        let id = envelope.aggregate_id;
        let standing = self.lives.get(&id).map_or(0, |live| live.version);
        let misplaced = || {
            let EventEnvelope { position, version, .. } = envelope;
            ProjectionError::Poison(format!("position {position}: version {version} of a live event at {standing}"))
        };
        if envelope.version <= standing.cast_unsigned() {
            return Err(misplaced());
        }
        if let LiveEvent::Created { organization, details, at, .. } = event {
            self.lives.insert(id, created(id, *organization, details, at.trunc_subsecs(6)));
            return Ok(());
        }
        let live = self.lives.get_mut(&id).ok_or_else(misplaced)?;
        live.version = envelope.version.cast_signed();
        match event {
            LiveEvent::Created { .. } => {}
            LiveEvent::Edited { .. } => edit(live, event),
            LiveEvent::Published { at } => {
                live.status = Status::Scheduled.as_str().to_owned();
                live.updated_at = at.trunc_subsecs(6);
            }
            LiveEvent::Cancelled { reason, at } => {
                live.status = Status::Cancelled.as_str().to_owned();
                live.cancel_reason = Some(reason.clone());
                live.updated_at = at.trunc_subsecs(6);
                (live.confirmed, live.waiting) = (0, 0);
                self.called_off.insert(id);
            }
            LiveEvent::RegistrationConfirmed { user, at } => self.place(envelope, *user, Some(Place::Confirmed), *at),
            LiveEvent::RegistrationWaitlisted { user, at } => self.place(envelope, *user, Some(Place::Waitlisted), *at),
            LiveEvent::RegistrationCancelled { user, at } => self.place(envelope, *user, None, *at),
            LiveEvent::RegistrationsPromoted { users, at } => {
                users.iter().for_each(|user| self.place(envelope, *user, Some(Place::Confirmed), *at));
            }
        }
        Ok(())
    }

    /// Gives the user that place, or takes the one they have.
    fn place(&mut self, envelope: &EventEnvelope, user: Uuid, place: Option<Place>, at: DateTime<Utc>) {
        let id = envelope.aggregate_id;
        let before = self.registrations.get(&(id, user)).copied().flatten();
        let after = place.map(|place| match before {
            Some(before) => Registration { place, ..before },
            None => {
                Registration { place, position: envelope.position.cast_signed(), registered_at: at.trunc_subsecs(6) }
            }
        });
        if let Some(live) = self.lives.get_mut(&id) {
            count(live, before, -1);
            count(live, after, 1);
        }
        self.registrations.insert((id, user), after);
    }
}

fn count(live: &mut LiveState, registration: Option<Registration>, change: i64) {
    match registration.map(|registration| registration.place) {
        Some(Place::Confirmed) => live.confirmed += change,
        Some(Place::Waitlisted) => live.waiting += change,
        Some(Place::Cancelled) | None => {}
    }
}

fn created(id: Uuid, organization_id: Uuid, details: &Details, at: DateTime<Utc>) -> LiveState {
    LiveState {
        id,
        organization_id,
        title: details.title.clone(),
        description: details.description.clone(),
        time_zone: details.time_zone.clone(),
        starts_at: details.starts_at.trunc_subsecs(6),
        ends_at: details.ends_at.trunc_subsecs(6),
        capacity: details.capacity.map(i64::from),
        stream_url: details.stream_url.clone(),
        status: Status::Draft.as_str().to_owned(),
        cancel_reason: None,
        confirmed: 0,
        waiting: 0,
        version: 1,
        created_at: at,
        updated_at: at,
    }
}

fn edit(live: &mut LiveState, event: &LiveEvent) {
    let LiveEvent::Edited { title, description, time_zone, starts_at, ends_at, capacity, stream_url, at } = event
    else {
        return;
    };
    live.updated_at = at.trunc_subsecs(6);
    for (column, change) in
        [(&mut live.title, title), (&mut live.description, description), (&mut live.time_zone, time_zone)]
    {
        if let Some(change) = change {
            column.clone_from(&change.to);
        }
    }
    for (column, change) in [(&mut live.starts_at, starts_at), (&mut live.ends_at, ends_at)] {
        if let Some(change) = change {
            *column = change.to.trunc_subsecs(6);
        }
    }
    if let Some(change) = capacity {
        live.capacity = change.to.map(i64::from);
    }
    if let Some(change) = stream_url {
        live.stream_url.clone_from(&change.to);
    }
}

/// The registrations of the users that the batch is about.
async fn load_registrations(
    batch: &[Recorded<LiveEvent>],
    connection: &mut PgConnection,
) -> Result<BTreeMap<(Uuid, Uuid), Option<Registration>>, ProjectionError> {
    let mut concerned = BTreeSet::new();
    for Recorded { envelope, event } in batch {
        let users = match event {
            LiveEvent::RegistrationConfirmed { user, .. }
            | LiveEvent::RegistrationWaitlisted { user, .. }
            | LiveEvent::RegistrationCancelled { user, .. } => std::slice::from_ref(user),
            LiveEvent::RegistrationsPromoted { users, .. } => users,
            _ => &[],
        };
        concerned.extend(users.iter().map(|user| (envelope.aggregate_id, *user)));
    }
    if concerned.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (lives, users): (Vec<_>, Vec<_>) = concerned.into_iter().unzip();
    let rows: Vec<(Uuid, Uuid, String, i64, DateTime<Utc>)> = sqlx::query_as(
        "select live_id, user_id, place, position, registered_at
         from registrations join unnest($1::uuid[], $2::uuid[]) as u (live_id, user_id) using (live_id, user_id)",
    )
    .bind(lives)
    .bind(users)
    .fetch_all(connection)
    .await?;
    let mut registrations = BTreeMap::new();
    for (live, user, place, position, registered_at) in rows {
        let place = Place::named(&place)?;
        registrations.insert((live, user), Some(Registration { place, position, registered_at }));
    }
    Ok(registrations)
}
