//! The row, and how each fact changes it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::dossier::{ChangeReason, Decision, Dossier, DossierEvent, FieldValue, Status};
use domain::{EventEnvelope, Personal, Resource};
use event_store::StoreError;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::status;
use crate::error::ProjectionError;

/// A dossier as the API shows it; serialised, its personal values are still sealed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct DossierRow {
    pub id: Uuid,
    pub owner_id: Uuid,
    pub organization_id: Uuid,
    pub category: String,
    pub title: String,
    pub description: Option<Personal<String>>,
    pub fields: BTreeMap<String, Personal<FieldValue>>,
    pub status: Status,
    pub reviewer_id: Option<Uuid>,
    /// None yet: documents are an aggregate to come.
    pub documents: [(); 0],
    pub open_change_request: Option<ChangeRequest>,
    pub decision: Option<DecisionMade>,
    pub archived: bool,
    pub version: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub submitted_at: Option<DateTime<Utc>>,
    pub decided_at: Option<DateTime<Utc>>,
    /// Where a cancelled change request returns to.
    #[serde(skip)]
    pub(super) origin: Option<Status>,
}

/// What a pro asked the owner to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct ChangeRequest {
    pub reason: ChangeReason,
    pub message: Personal<String>,
    pub at: DateTime<Utc>,
    pub by: Uuid,
}

/// How a review ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct DecisionMade {
    pub outcome: Decision,
    pub motivation: Option<Personal<String>>,
    pub by: Uuid,
    pub at: DateTime<Utc>,
}

impl DossierRow {
    /// The dossier after these events of its stream, from its first; nothing without any.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when an event cannot be decoded or is missing.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a EventEnvelope>) -> Result<Option<Self>, StoreError> {
        let mut row = None;
        for envelope in events {
            row = Some(Self::after(row, envelope)?);
        }
        Ok(row)
    }

    /// The dossier after each of these events of its stream, from its first.
    ///
    /// # Errors
    /// As [`DossierRow::fold`].
    pub fn states(events: &[EventEnvelope]) -> Result<Vec<Self>, StoreError> {
        let mut states: Vec<Self> = Vec::with_capacity(events.len());
        for envelope in events {
            states.push(Self::after(states.last().cloned(), envelope)?);
        }
        Ok(states)
    }

    fn after(row: Option<Self>, envelope: &EventEnvelope) -> Result<Self, StoreError> {
        let version = row.as_ref().map_or(0, |row| row.version);
        if envelope.version != version + 1 {
            let (position, found) = (envelope.position, envelope.version);
            return Err(StoreError::Broken(format!("position {position}: version {found} of a dossier at {version}")));
        }
        let event = envelope.decode::<Dossier>().map_err(|error| StoreError::Broken(error.to_string()))?;
        Self::advance(row, envelope, &event).map_err(|error| StoreError::Broken(error.to_string()))
    }

    /// What the policy needs to know of it.
    pub fn resource(&self) -> Resource {
        Resource::Dossier {
            owner: self.owner_id,
            organization: self.organization_id,
            reviewer: self.reviewer_id,
            submitted: self.submitted_at.is_some(),
            discarded: self.status == Status::Discarded,
        }
    }

    /// The row after an event of its stream that comes later; between them is what was skipped on purpose.
    pub(super) fn advance(
        row: Option<Self>,
        envelope: &EventEnvelope,
        event: &DossierEvent,
    ) -> Result<Self, ProjectionError> {
        let version = row.as_ref().map_or(0, |row| row.version);
        let misplaced = || {
            let (position, found) = (envelope.position, envelope.version);
            ProjectionError::Poison(format!("position {position}: version {found} of a dossier at {version}"))
        };
        if envelope.version <= version {
            return Err(misplaced());
        }
        match (row, event) {
            (Some(mut row), event) => {
                row.apply(envelope, event);
                Ok(row)
            }
            (None, event) => Self::created(envelope, event).ok_or_else(misplaced),
        }
    }

    fn created(envelope: &EventEnvelope, event: &DossierEvent) -> Option<Self> {
        let DossierEvent::Created { owner, organization, category, title, description, fields, .. } = event else {
            return None;
        };
        let at = status::at(event);
        Some(Self {
            id: envelope.aggregate_id,
            owner_id: *owner,
            organization_id: *organization,
            category: category.clone(),
            title: title.clone(),
            description: description.clone(),
            fields: fields.clone(),
            status: Status::Draft,
            reviewer_id: None,
            documents: [],
            open_change_request: None,
            decision: None,
            archived: false,
            version: envelope.version,
            created_at: at,
            updated_at: at,
            submitted_at: None,
            decided_at: None,
            origin: None,
        })
    }

    /// Applies the next event of its stream.
    fn apply(&mut self, envelope: &EventEnvelope, event: &DossierEvent) {
        self.version = envelope.version;
        self.updated_at = status::at(event);
        let before = self.status;
        (self.status, self.origin) = status::after((before, self.origin), event);
        if self.status != before {
            // Neither outlives the status that it stands for.
            (self.open_change_request, self.decision, self.decided_at) = (None, None, None);
        }
        match event {
            DossierEvent::Edited { .. } => self.edit(event),
            DossierEvent::Submitted { .. } => self.submitted_at = Some(self.updated_at),
            DossierEvent::ReviewStarted { reviewer, .. } | DossierEvent::Assigned { reviewer, .. } => {
                self.reviewer_id = Some(*reviewer);
            }
            DossierEvent::ChangesRequested { reason, message, by, .. } => {
                let (reason, message, at, by) = (*reason, message.clone(), self.updated_at, *by);
                self.open_change_request = Some(ChangeRequest { reason, message, at, by });
            }
            DossierEvent::Accepted { motivation, by, .. } => self.decide(Decision::Accepted, motivation.clone(), *by),
            DossierEvent::Refused { motivation, by, .. } => {
                self.decide(Decision::Refused, Some(motivation.clone()), *by)
            }
            DossierEvent::Closed { motivation, by, .. } => self.decide(Decision::Closed, Some(motivation.clone()), *by),
            DossierEvent::Archived { .. } => self.archived = true,
            DossierEvent::Created { .. }
            | DossierEvent::ChangeRequestCancelled { .. }
            | DossierEvent::ReviewReopened { .. }
            | DossierEvent::Withdrawn { .. }
            | DossierEvent::Discarded { .. } => {}
        }
    }

    fn decide(&mut self, outcome: Decision, motivation: Option<Personal<String>>, by: Uuid) {
        self.reviewer_id = Some(by);
        self.decided_at = Some(self.updated_at);
        self.decision = Some(DecisionMade { outcome, motivation, by, at: self.updated_at });
    }

    fn edit(&mut self, event: &DossierEvent) {
        let DossierEvent::Edited { title, category, description, fields, .. } = event else { return };
        if let Some(change) = title {
            self.title.clone_from(&change.to);
        }
        if let Some(change) = category {
            self.category.clone_from(&change.to);
        }
        if let Some(change) = description {
            self.description.clone_from(&change.to);
        }
        for (key, change) in fields {
            match &change.to {
                Some(value) => self.fields.insert(key.clone(), value.clone()),
                None => self.fields.remove(key),
            };
        }
    }
}

impl FromRow<'_, PgRow> for DossierRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let description: Option<Json<_>> = row.try_get("description")?;
        let fields: Json<_> = row.try_get("fields")?;
        let open_change_request: Option<Json<_>> = row.try_get("open_change_request")?;
        let decision: Option<Json<_>> = row.try_get("decision")?;
        let origin: Option<String> = row.try_get("origin")?;
        Ok(Self {
            id: row.try_get("id")?,
            owner_id: row.try_get("owner_id")?,
            organization_id: row.try_get("organization_id")?,
            category: row.try_get("category")?,
            title: row.try_get("title")?,
            description: description.map(|json| json.0),
            fields: fields.0,
            status: status::named(row.try_get("status")?)?,
            reviewer_id: row.try_get("reviewer_id")?,
            documents: [],
            open_change_request: open_change_request.map(|json| json.0),
            decision: decision.map(|json| json.0),
            archived: row.try_get("archived")?,
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            submitted_at: row.try_get("submitted_at")?,
            decided_at: row.try_get("decided_at")?,
            origin: origin.as_deref().map(status::named).transpose()?,
        })
    }
}
