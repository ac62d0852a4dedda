//! How dossiers are asked for. Every answer brings the checkpoint that its rows were read beside.

use chrono::{DateTime, Utc};
use domain::dossier::Status;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::write::COLUMNS;
use super::{DossierRow, Dossiers};
use crate::models::Models;
use crate::positions::{Reached, partition_of};
use crate::projection::Projection;
use crate::rows::{one, present};
use crate::search;

/// Which dossiers the reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visible {
    /// Every one.
    All,
    /// Their own, and for a pro also those on their desk: assigned to them, or submitted in their organisation and
    /// not assigned.
    To {
        /// The reader.
        user: Uuid,
        /// The organisation whose dossiers the reader reviews.
        reviews_for: Option<Uuid>,
    },
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DossierSort {
    /// By what.
    pub key: SortKey,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SortKey {
    /// When it was created.
    CreatedAt,
    /// When it last changed.
    UpdatedAt,
    /// Its title, without case and accents.
    Title,
}

/// Where the next page begins: after the last row of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DossierCursor {
    /// Whether the list is in descending order.
    pub descending: bool,
    /// The last row's sort key.
    pub after: Place,
    /// The last row's id.
    pub id: Uuid,
}

/// The value of a sort key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // as the sort keys of the same names
pub enum Place {
    CreatedAt(DateTime<Utc>),
    UpdatedAt(DateTime<Utc>),
    Title(String),
}

impl DossierCursor {
    /// The order that it continues.
    pub fn sort(&self) -> DossierSort {
        let key = match self.after {
            Place::CreatedAt(_) => SortKey::CreatedAt,
            Place::UpdatedAt(_) => SortKey::UpdatedAt,
            Place::Title(_) => SortKey::Title,
        };
        DossierSort { key, descending: self.descending }
    }
}

/// What a list of dossiers is narrowed by, now or in the past.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Narrowing {
    /// In this status.
    pub status: Option<Status>,
    /// Of this category.
    pub category: Option<String>,
    /// Assigned to this pro.
    pub assigned_to: Option<Uuid>,
    /// With these words in the title, without case and accents.
    pub q: Option<String>,
}

impl Narrowing {
    pub(crate) fn push<'a>(&'a self, query: &mut QueryBuilder<'a, Postgres>) {
        if let Some(status) = self.status {
            query.push(" and status = ").push_bind(status.as_str());
        }
        if let Some(category) = &self.category {
            query.push(" and category = ").push_bind(category);
        }
        if let Some(pro) = self.assigned_to {
            query.push(" and reviewer_id = ").push_bind(pro);
        }
        search::push(query, self.q.as_deref());
    }
}

/// Which page of the dossiers is asked for.
#[derive(Debug, Clone)]
pub struct DossierFilter {
    /// Which dossiers the reader may see.
    pub visible: Visible,
    /// Which of them.
    pub narrowing: Narrowing,
    /// The order, unless a cursor continues one.
    pub sort: DossierSort,
    /// Where the page begins; at the start without.
    pub after: Option<DossierCursor>,
    /// Rows on the page, at most.
    pub limit: u32,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct DossierPage {
    /// The rows.
    pub items: Vec<DossierRow>,
    /// Where the next page begins, when there is one.
    pub next: Option<DossierCursor>,
}

/// The dossier, and the checkpoint of its partition.
///
/// # Errors
/// When the database does not answer.
pub async fn by_id(models: &Models, id: Uuid) -> Result<(Option<DossierRow>, Reached), sqlx::Error> {
    let row = sqlx::query(
        "select c.*, d.* from checkpoint_of('dossier', $2, $1) c
         left join dossier.dossiers d on d.id = $1",
    )
    .bind(id)
    .bind(partition_of(id, Dossiers::PARTITIONS))
    .fetch_optional(models)
    .await?;
    one(row.as_ref())
}

/// One page of the dossiers that pass the filter, and the lowest checkpoint of all partitions.
///
/// # Errors
/// When the database does not answer.
pub async fn list(models: &Models, filter: &DossierFilter) -> Result<(DossierPage, Reached), sqlx::Error> {
    let mut query = page_query(filter);
    let rows = query.build().fetch_all(models).await?;
    let (mut items, reached) = present::<DossierRow>(&rows, "id")?;
    let mut next = None;
    if items.len() > filter.limit as usize {
        items.truncate(filter.limit as usize);
        let last = items.last().zip(rows.get(items.len().wrapping_sub(1)));
        next = last.map(|(item, row)| cursor(item, row, order(filter))).transpose()?;
    }
    Ok((DossierPage { items, next }, reached))
}

fn order(filter: &DossierFilter) -> DossierSort {
    filter.after.as_ref().map_or(filter.sort, DossierCursor::sort)
}

fn cursor(item: &DossierRow, row: &PgRow, sort: DossierSort) -> Result<DossierCursor, sqlx::Error> {
    let after = match sort.key {
        SortKey::CreatedAt => Place::CreatedAt(item.created_at),
        SortKey::UpdatedAt => Place::UpdatedAt(item.updated_at),
        SortKey::Title => Place::Title(row.try_get("title_sort")?),
    };
    Ok(DossierCursor { descending: sort.descending, after, id: item.id })
}

/// A page of each way in to the dossiers that the reader may see, which overlap nowhere, merged into one; each is a
/// walk along its own index.
fn page_query(filter: &DossierFilter) -> QueryBuilder<'_, Postgres> {
    let sort = order(filter);
    let column = match sort.key {
        SortKey::CreatedAt => "created_at",
        SortKey::UpdatedAt => "updated_at",
        SortKey::Title => "title_sort",
    };
    let direction = if sort.descending { "desc" } else { "asc" };
    let mut query = QueryBuilder::new(
        "select c.*, d.* from checkpoint_of('dossier') c
         left join lateral (select * from (",
    );
    for way in 0..ways(filter.visible) {
        query.push(if way == 0 { "(" } else { " union all (" });
        query.push(format!("select {COLUMNS}, title_sort from dossier.dossiers where "));
        push_way(&mut query, filter.visible, way);
        filter.narrowing.push(&mut query);
        if let Some(after) = &filter.after {
            push_after(&mut query, after, column);
        }
        query.push(format!(" order by {column} {direction}, id {direction} limit "));
        query.push_bind(i64::from(filter.limit) + 1).push(")");
    }
    query.push(format!(") ways order by {column} {direction}, id {direction} limit "));
    query.push_bind(i64::from(filter.limit) + 1);
    query.push(format!(") d on true order by d.{column} {direction}, d.id {direction}"));
    query
}

fn ways(visible: Visible) -> u8 {
    match visible {
        Visible::All | Visible::To { reviews_for: None, .. } => 1,
        Visible::To { reviews_for: Some(_), .. } => 3,
    }
}

fn push_way(query: &mut QueryBuilder<'_, Postgres>, visible: Visible, way: u8) {
    match (visible, way) {
        (Visible::All, _) => {
            query.push("true");
        }
        (Visible::To { user, .. }, 0) => {
            query.push("owner_id = ").push_bind(user);
        }
        (Visible::To { user, reviews_for }, way) => {
            match way {
                1 => query.push("reviewer_id = ").push_bind(user),
                _ => query.push("reviewer_id is null and submitted_at is not null"),
            };
            query.push(" and organization_id = ").push_bind(reviews_for);
            query.push(" and owner_id <> ").push_bind(user);
        }
    }
}

fn push_after(query: &mut QueryBuilder<'_, Postgres>, cursor: &DossierCursor, column: &str) {
    let beyond = if cursor.descending { "<" } else { ">" };
    query.push(format!(" and ({column}, id) {beyond} ("));
    match &cursor.after {
        Place::CreatedAt(at) | Place::UpdatedAt(at) => query.push_bind(*at),
        Place::Title(title) => query.push_bind(title.clone()),
    };
    query.push(", ").push_bind(cursor.id).push(")");
}
