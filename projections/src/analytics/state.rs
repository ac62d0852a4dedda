//! Where each dossier stands, so that its next event can be counted, and what the change feed says of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::EventEnvelope;
use domain::dossier::{DossierEvent, Status};
use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};
use uuid::Uuid;

use super::Followed;
use super::feed::{self, Entry, Topic};
use crate::dossier::status;
use crate::error::ProjectionError;
use crate::projection::Recorded;

/// What is counted of one dossier.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DossierState {
    pub(super) id: Uuid,
    pub(super) organization_id: Uuid,
    pub(super) category: String,
    pub(super) status: Status,
    pub(super) origin: Option<Status>,
    /// When it entered its status.
    pub(super) since: DateTime<Utc>,
    pub(super) reviewer_id: Option<Uuid>,
    pub(super) archived: bool,
    pub(super) version: u64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) submitted_at: Option<DateTime<Utc>>,
    pub(super) decided_at: Option<DateTime<Utc>>,
    pub(super) review_started_at: Option<DateTime<Utc>>,
    pub(super) outcome: Option<String>,
    pub(super) change_requests: i64,
    /// The position of its last event, when that is in this batch.
    pub(super) position: u64,
}

impl DossierState {
    /// The state after the next event of the dossier's stream.
    pub(super) fn advance(
        before: Option<&Self>,
        envelope: &EventEnvelope,
        event: &DossierEvent,
    ) -> Result<Self, ProjectionError> {
        let version = before.map_or(0, |before| before.version);
        let misplaced = || {
            let (position, found) = (envelope.position, envelope.version);
            ProjectionError::Poison(format!("position {position}: version {found} of a dossier at {version}"))
        };
        if envelope.version <= version {
            return Err(misplaced());
        }
        let mut state = match before {
            Some(before) => before.clone(),
            None => Self::created(envelope, event).ok_or_else(misplaced)?,
        };
        state.apply(envelope, event);
        Ok(state)
    }

    fn created(envelope: &EventEnvelope, event: &DossierEvent) -> Option<Self> {
        let DossierEvent::Created { organization, category, .. } = event else { return None };
        let at = status::at(event);
        Some(Self {
            id: envelope.aggregate_id,
            organization_id: *organization,
            category: category.clone(),
            status: Status::Draft,
            origin: None,
            since: at,
            reviewer_id: None,
            archived: false,
            version: 0,
            created_at: at,
            submitted_at: None,
            decided_at: None,
            review_started_at: None,
            outcome: None,
            change_requests: 0,
            position: 0,
        })
    }

    fn apply(&mut self, envelope: &EventEnvelope, event: &DossierEvent) {
        let (at, before) = (status::at(event), self.status);
        (self.version, self.position) = (envelope.version, envelope.position);
        (self.status, self.origin) = status::after((before, self.origin), event);
        if self.status != before {
            (self.since, self.decided_at, self.outcome) = (at, None, None);
        }
        match event {
            DossierEvent::Edited { category: Some(change), .. } => self.category.clone_from(&change.to),
            DossierEvent::Submitted { .. } => self.submitted_at = Some(at),
            DossierEvent::ReviewStarted { reviewer, .. } => {
                (self.reviewer_id, self.review_started_at) = (Some(*reviewer), Some(at));
            }
            DossierEvent::Assigned { reviewer, .. } => self.reviewer_id = Some(*reviewer),
            DossierEvent::ChangesRequested { .. } => self.change_requests += 1,
            DossierEvent::Accepted { by, .. } | DossierEvent::Refused { by, .. } | DossierEvent::Closed { by, .. } => {
                (self.reviewer_id, self.decided_at) = (Some(*by), Some(at));
                self.outcome = Some(self.status.as_str().to_owned());
            }
            DossierEvent::Archived { .. } => self.archived = true,
            _ => {}
        }
    }

    fn is_gone(&self) -> bool {
        self.status == Status::Discarded
    }

    /// What the change feed says of it: no owner, no text.
    fn entry(&self) -> Entry {
        let data = json!({
            "organizationId": self.organization_id,
            "category": self.category,
            "status": self.status,
            "reviewerId": self.reviewer_id,
            "archived": self.archived,
            "version": self.version,
            "createdAt": self.created_at,
            "submittedAt": self.submitted_at,
            "decidedAt": self.decided_at,
        });
        Entry { id: self.id, position: self.position, data: (!self.is_gone()).then(|| data.to_string()) }
    }
}

impl FromRow<'_, PgRow> for DossierState {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let origin: Option<String> = row.try_get("origin")?;
        Ok(Self {
            id: row.try_get("id")?,
            organization_id: row.try_get("organization_id")?,
            category: row.try_get("category")?,
            status: status::named(row.try_get("status")?)?,
            origin: origin.as_deref().map(status::named).transpose()?,
            since: row.try_get("since")?,
            reviewer_id: row.try_get("reviewer_id")?,
            archived: row.try_get("archived")?,
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            created_at: row.try_get("created_at")?,
            submitted_at: row.try_get("submitted_at")?,
            decided_at: row.try_get("decided_at")?,
            review_started_at: row.try_get("review_started_at")?,
            outcome: row.try_get("outcome")?,
            change_requests: row.try_get("change_requests")?,
            position: 0,
        })
    }
}

/// The states that stand, of those dossiers whose first event is not in the batch.
pub(super) async fn load(
    batch: &[Recorded<Followed>],
    connection: &mut PgConnection,
) -> Result<BTreeMap<Uuid, DossierState>, ProjectionError> {
    let dossiers = batch.iter().filter(|recorded| matches!(recorded.event, Followed::Dossier(_)));
    let envelopes = dossiers.map(|recorded| &recorded.envelope);
    let (new, old): (Vec<_>, Vec<_>) = envelopes.partition(|envelope| envelope.version == 1);
    let new: BTreeSet<Uuid> = new.into_iter().map(|envelope| envelope.aggregate_id).collect();
    let old = old.into_iter().map(|envelope| envelope.aggregate_id).filter(|id| !new.contains(id));
    let old: BTreeSet<Uuid> = old.collect();
    if old.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<DossierState> = sqlx::query_as("select * from dossiers where id = any($1)")
        .bind(old.into_iter().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|state| (state.id, state)).collect())
}

/// Writes the states, and the changes that they are.
pub(super) async fn write(
    states: impl Iterator<Item = &DossierState>,
    connection: &mut PgConnection,
) -> Result<(), ProjectionError> {
    let states: Vec<&DossierState> = states.collect();
    if states.is_empty() {
        return Ok(());
    }
    let (gone, kept): (Vec<&DossierState>, Vec<&DossierState>) = states.iter().partition(|state| state.is_gone());
    if !gone.is_empty() {
        let ids: Vec<Uuid> = gone.iter().map(|state| state.id).collect();
        sqlx::query("delete from dossiers where id = any($1)").bind(ids).execute(&mut *connection).await?;
    }
    upsert(&kept, connection).await?;
    let entries: Vec<Entry> = states.iter().map(|state| state.entry()).collect();
    feed::tell(Topic::Dossiers, &entries, connection).await
}

fn each<'a, T>(states: &[&'a DossierState], column: impl Fn(&'a DossierState) -> T) -> Vec<T> {
    states.iter().map(|state| column(state)).collect()
}

async fn upsert(states: &[&DossierState], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    sqlx::query(
        "insert into dossiers (id, organization_id, category, status, origin, since, reviewer_id, archived, version,
             created_at, submitted_at, decided_at, review_started_at, outcome, change_requests)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
             $7::uuid[], $8::boolean[], $9::bigint[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[],
             $13::timestamptz[], $14::text[], $15::bigint[])
         on conflict (id) do update set
             category = excluded.category, status = excluded.status, origin = excluded.origin, since = excluded.since,
             reviewer_id = excluded.reviewer_id, archived = excluded.archived, version = excluded.version,
             submitted_at = excluded.submitted_at, decided_at = excluded.decided_at,
             review_started_at = excluded.review_started_at, outcome = excluded.outcome,
             change_requests = excluded.change_requests",
    )
    .bind(each(states, |state| state.id))
    .bind(each(states, |state| state.organization_id))
    .bind(each(states, |state| state.category.as_str()))
    .bind(each(states, |state| state.status.as_str()))
    .bind(each(states, |state| state.origin.map(Status::as_str)))
    .bind(each(states, |state| state.since))
    .bind(each(states, |state| state.reviewer_id))
    .bind(each(states, |state| state.archived))
    .bind(each(states, |state| state.version.cast_signed()))
    .bind(each(states, |state| state.created_at))
    .bind(each(states, |state| state.submitted_at))
    .bind(each(states, |state| state.decided_at))
    .bind(each(states, |state| state.review_started_at))
    .bind(each(states, |state| state.outcome.as_deref()))
    .bind(each(states, |state| state.change_requests))
    .execute(connection)
    .await?;
    Ok(())
}
