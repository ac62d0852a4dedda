//! A batch of facts, folded in memory and written with one statement.

use std::collections::{BTreeMap, BTreeSet};

use domain::dossier::{DossierEvent, Status};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::DossierRow;
use crate::error::ProjectionError;
use crate::projection::Recorded;

pub(super) const COLUMNS: &str = "id, owner_id, organization_id, category, title, description, fields, status, origin, \
                                  reviewer_id, open_change_request, decision, archived, version, created_at, \
                                  updated_at, submitted_at, decided_at";

pub(super) async fn apply(
    batch: &[Recorded<DossierEvent>],
    connection: &mut PgConnection,
) -> Result<(), ProjectionError> {
    let mut rows = load(batch, connection).await?;
    for Recorded { envelope, event } in batch {
        let id = envelope.aggregate_id;
        let row = DossierRow::advance(rows.remove(&id), envelope, event)?;
        rows.insert(id, row);
    }
    let (discarded, kept): (Vec<_>, Vec<_>) = rows.into_values().partition(|row| row.status == Status::Discarded);
    if !discarded.is_empty() {
        let ids: Vec<Uuid> = discarded.iter().map(|row| row.id).collect();
        sqlx::query("delete from dossiers where id = any($1)").bind(ids).execute(&mut *connection).await?;
    }
    upsert(&kept, connection).await
}

/// The rows that stand, of those dossiers whose first event is not in the batch.
async fn load(
    batch: &[Recorded<DossierEvent>],
    connection: &mut PgConnection,
) -> Result<BTreeMap<Uuid, DossierRow>, ProjectionError> {
    let mut new = BTreeSet::new();
    let mut old = BTreeSet::new();
    for envelope in batch.iter().map(|recorded| &recorded.envelope) {
        if envelope.version == 1 {
            new.insert(envelope.aggregate_id);
        } else if !new.contains(&envelope.aggregate_id) {
            old.insert(envelope.aggregate_id);
        }
    }
    if old.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<DossierRow> = sqlx::query_as(&format!("select {COLUMNS} from dossiers where id = any($1)"))
        .bind(old.into_iter().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

fn json(value: &impl Serialize) -> Result<String, ProjectionError> {
    serde_json::to_string(value).map_err(|_| ProjectionError::Poison("a value is not JSON".to_owned()))
}

fn optional<T: Serialize>(value: &Option<T>) -> Result<Option<String>, ProjectionError> {
    value.as_ref().map(json).transpose()
}

fn each<'a, T>(rows: &'a [DossierRow], column: impl Fn(&'a DossierRow) -> T) -> Vec<T> {
    rows.iter().map(column).collect()
}

/// Writes the rows, which come sorted by id, so that two batches lock them in the same order.
async fn upsert(rows: &[DossierRow], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    const UPSERT: &str = "
        insert into dossiers (id, owner_id, organization_id, category, title, description, fields, status, origin,
            reviewer_id, open_change_request, decision, archived, version, created_at, updated_at, submitted_at,
            decided_at)
        select id, owner_id, organization_id, category, title, description::json, fields::json, status, origin,
            reviewer_id, request::json, decision::json, archived, version, created_at, updated_at, submitted_at,
            decided_at
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::uuid[], $11::text[], $12::text[], $13::boolean[], $14::bigint[], $15::timestamptz[],
            $16::timestamptz[], $17::timestamptz[], $18::timestamptz[])
            as u (id, owner_id, organization_id, category, title, description, fields, status, origin, reviewer_id,
            request, decision, archived, version, created_at, updated_at, submitted_at, decided_at)
        on conflict (id) do update set
            category = excluded.category, title = excluded.title, description = excluded.description,
            fields = excluded.fields, status = excluded.status, origin = excluded.origin,
            reviewer_id = excluded.reviewer_id, open_change_request = excluded.open_change_request,
            decision = excluded.decision, archived = excluded.archived, version = excluded.version,
            updated_at = excluded.updated_at, submitted_at = excluded.submitted_at, decided_at = excluded.decided_at";
    if rows.is_empty() {
        return Ok(());
    }
    let texts = |column: fn(&DossierRow) -> Result<Option<String>, ProjectionError>| {
        rows.iter().map(column).collect::<Result<Vec<_>, _>>()
    };
    sqlx::query(UPSERT)
        .bind(each(rows, |row| row.id))
        .bind(each(rows, |row| row.owner_id))
        .bind(each(rows, |row| row.organization_id))
        .bind(each(rows, |row| row.category.as_str()))
        .bind(each(rows, |row| row.title.as_str()))
        .bind(texts(|row| optional(&row.description))?)
        .bind(texts(|row| json(&row.fields).map(Some))?)
        .bind(each(rows, |row| row.status.as_str()))
        .bind(each(rows, |row| row.origin.map(Status::as_str)))
        .bind(each(rows, |row| row.reviewer_id))
        .bind(texts(|row| optional(&row.open_change_request))?)
        .bind(texts(|row| optional(&row.decision))?)
        .bind(each(rows, |row| row.archived))
        .bind(each(rows, |row| row.version.cast_signed()))
        .bind(each(rows, |row| row.created_at))
        .bind(each(rows, |row| row.updated_at))
        .bind(each(rows, |row| row.submitted_at))
        .bind(each(rows, |row| row.decided_at))
        .execute(connection)
        .await?;
    Ok(())
}
