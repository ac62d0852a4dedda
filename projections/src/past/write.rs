//! A batch of facts as stretches that end and begin.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::EventEnvelope;
use domain::dossier::{DossierEvent, Status};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};
use uuid::Uuid;

use crate::dossier::status;
use crate::error::ProjectionError;
use crate::projection::Recorded;

/// A stretch of the log in which a list shows a dossier so.
#[derive(Debug, Clone, PartialEq)]
struct Stretch {
    id: Uuid,
    valid_from: i64,
    valid_to: Option<i64>,
    from_at: DateTime<Utc>,
    to_at: Option<DateTime<Utc>>,
    shown: Shown,
    /// With which it began.
    version: u64,
}

/// What a list shows of a dossier, or looks for.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    owner_id: Uuid,
    organization_id: Uuid,
    category: String,
    title: String,
    status: Status,
    origin: Option<Status>,
    reviewer_id: Option<Uuid>,
    archived: bool,
    created_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Stretch {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let origin: Option<String> = row.try_get("origin")?;
        Ok(Self {
            id: row.try_get("id")?,
            valid_from: row.try_get("valid_from")?,
            valid_to: row.try_get("valid_to")?,
            from_at: row.try_get("from_at")?,
            to_at: row.try_get("to_at")?,
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            shown: Shown {
                owner_id: row.try_get("owner_id")?,
                organization_id: row.try_get("organization_id")?,
                category: row.try_get("category")?,
                title: row.try_get("title")?,
                status: status::named(row.try_get("status")?)?,
                origin: origin.as_deref().map(status::named).transpose()?,
                reviewer_id: row.try_get("reviewer_id")?,
                archived: row.try_get("archived")?,
                created_at: row.try_get("created_at")?,
            },
        })
    }
}

impl Stretch {
    /// The same, over with this event.
    fn ended(self, by: &EventEnvelope) -> Self {
        Self { valid_to: Some(by.position.cast_signed()), to_at: Some(by.recorded_at), ..self }
    }
}

impl Shown {
    fn created(event: &DossierEvent) -> Option<Self> {
        let DossierEvent::Created { owner, organization, category, title, .. } = event else { return None };
        Some(Self {
            owner_id: *owner,
            organization_id: *organization,
            category: category.clone(),
            title: title.clone(),
            status: Status::Draft,
            origin: None,
            reviewer_id: None,
            archived: false,
            created_at: status::at(event),
        })
    }

    fn after(mut self, event: &DossierEvent) -> Self {
        (self.status, self.origin) = status::after((self.status, self.origin), event);
        match event {
            DossierEvent::Edited { title, category, .. } => {
                if let Some(change) = title {
                    self.title.clone_from(&change.to);
                }
                if let Some(change) = category {
                    self.category.clone_from(&change.to);
                }
            }
            DossierEvent::ReviewStarted { reviewer, .. } | DossierEvent::Assigned { reviewer, .. } => {
                self.reviewer_id = Some(*reviewer);
            }
            DossierEvent::Accepted { by, .. } | DossierEvent::Refused { by, .. } | DossierEvent::Closed { by, .. } => {
                self.reviewer_id = Some(*by);
            }
            DossierEvent::Archived { .. } => self.archived = true,
            _ => {}
        }
        self
    }
}

pub(super) async fn apply(
    batch: &[Recorded<DossierEvent>],
    connection: &mut PgConnection,
) -> Result<(), ProjectionError> {
    let mut lasting = load(batch, connection).await?;
    let mut ended = Vec::new();
    for Recorded { envelope, event } in batch {
        let id = envelope.aggregate_id;
        if let Some(next) = advance(lasting.get(&id), envelope, event)? {
            ended.extend(lasting.insert(id, next).map(|last| last.ended(envelope)));
        }
    }
    // Those that were there before, and last, are written already.
    let first = batch.first().map_or(0, |first| first.envelope.position.cast_signed());
    lasting.retain(|_, stretch| stretch.valid_from >= first);
    // Those that end first: only one of a dossier lasts.
    write(&ended, connection).await?;
    write(&lasting.into_values().collect::<Vec<_>>(), connection).await
}

/// The stretch that an event begins, where a list shows something else after it.
fn advance(
    standing: Option<&Stretch>,
    envelope: &EventEnvelope,
    event: &DossierEvent,
) -> Result<Option<Stretch>, ProjectionError> {
    let EventEnvelope { position, version, recorded_at, .. } = envelope;
    let known = standing.map_or(0, |standing| standing.version);
    let misplaced =
        || ProjectionError::Poison(format!("position {position}: version {version} of a dossier at {known}"));
    if *version <= known {
        return Err(misplaced());
    }
    let shown = match standing {
        Some(standing) => standing.shown.clone().after(event),
        None => Shown::created(event).ok_or_else(misplaced)?,
    };
    let changed = standing.is_none_or(|standing| standing.shown != shown);
    Ok(changed.then(|| Stretch {
        id: envelope.aggregate_id,
        valid_from: position.cast_signed(),
        valid_to: None,
        from_at: *recorded_at,
        to_at: None,
        shown,
        version: *version,
    }))
}

/// The stretches that last, of those dossiers whose first event is not in the batch.
async fn load(
    batch: &[Recorded<DossierEvent>],
    connection: &mut PgConnection,
) -> Result<BTreeMap<Uuid, Stretch>, ProjectionError> {
    let of = |recorded: &Recorded<DossierEvent>| recorded.envelope.aggregate_id;
    let new: BTreeSet<Uuid> = batch.iter().filter(|recorded| recorded.envelope.version == 1).map(of).collect();
    let old: BTreeSet<Uuid> = batch.iter().map(of).filter(|id| !new.contains(id)).collect();
    if old.is_empty() {
        return Ok(BTreeMap::new());
    }
    let stretches: Vec<Stretch> = sqlx::query_as("select * from dossiers where id = any($1) and valid_to is null")
        .bind(old.into_iter().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(stretches.into_iter().map(|stretch| (stretch.id, stretch)).collect())
}

fn each<'a, T>(stretches: &'a [Stretch], column: impl Fn(&'a Stretch) -> T) -> Vec<T> {
    stretches.iter().map(column).collect()
}

async fn write(stretches: &[Stretch], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    if stretches.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into dossiers (id, valid_from, valid_to, from_at, to_at, owner_id, organization_id, category, title, status,
             origin, reviewer_id, archived, version, created_at)
         select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::uuid[],
             $7::uuid[], $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[], $13::boolean[], $14::bigint[],
             $15::timestamptz[])
         on conflict (id, valid_from) do update set
             valid_to = excluded.valid_to, to_at = excluded.to_at",
    )
    .bind(each(stretches, |stretch| stretch.id))
    .bind(each(stretches, |stretch| stretch.valid_from))
    .bind(each(stretches, |stretch| stretch.valid_to))
    .bind(each(stretches, |stretch| stretch.from_at))
    .bind(each(stretches, |stretch| stretch.to_at))
    .bind(each(stretches, |stretch| stretch.shown.owner_id))
    .bind(each(stretches, |stretch| stretch.shown.organization_id))
    .bind(each(stretches, |stretch| stretch.shown.category.as_str()))
    .bind(each(stretches, |stretch| stretch.shown.title.as_str()))
    .bind(each(stretches, |stretch| stretch.shown.status.as_str()))
    .bind(each(stretches, |stretch| stretch.shown.origin.map(Status::as_str)))
    .bind(each(stretches, |stretch| stretch.shown.reviewer_id))
    .bind(each(stretches, |stretch| stretch.shown.archived))
    .bind(each(stretches, |stretch| stretch.version.cast_signed()))
    .bind(each(stretches, |stretch| stretch.shown.created_at))
    .execute(connection)
    .await?;
    Ok(())
}
