//! How past lists are asked for: which dossiers they show. What each was then, its own stream tells.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use crate::dossier::Narrowing;
use crate::models::Models;
use crate::positions::Reached;
use crate::rows::reached;

/// A moment of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// After everything recorded up to this time.
    Time(DateTime<Utc>),
    /// After the event at this position.
    Position(u64),
}

/// Where the next page begins: after the last dossier of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastCursor {
    created_at: DateTime<Utc>,
    id: Uuid,
}

/// Which page of the dossiers of the past is asked for.
#[derive(Debug, Clone)]
pub struct PastFilter {
    /// When.
    pub moment: Moment,
    /// Which of the dossiers that there were.
    pub narrowing: Narrowing,
    /// Whether the newest come first.
    pub descending: bool,
    /// Where the page begins; at the start without.
    pub after: Option<PastCursor>,
    /// Dossiers on the page, at most.
    pub limit: u32,
}

/// One page of a past list.
#[derive(Debug, Clone)]
pub struct PastPage {
    /// The dossiers, by the time of their creation.
    pub ids: Vec<Uuid>,
    /// Where the next page begins, when there is one.
    pub next: Option<PastCursor>,
}

/// One page of the dossiers that there were, and that passed the filter, at a moment. None was discarded then.
///
/// # Errors
/// When the database does not answer.
pub async fn list(models: &Models, filter: &PastFilter) -> Result<(PastPage, Reached), sqlx::Error> {
    let (direction, beyond) = if filter.descending { ("desc", "<") } else { ("asc", ">") };
    let mut query = QueryBuilder::<Postgres>::new(
        "select c.*, d.* from checkpoint_of('past') c
         left join lateral (select id, created_at from past.dossiers where status <> 'discarded' and ",
    );
    match filter.moment {
        Moment::Time(time) => {
            query.push("from_at <= ").push_bind(time);
            query.push(" and (to_at is null or to_at > ").push_bind(time).push(")");
        }
        Moment::Position(position) => {
            query.push("valid_from <= ").push_bind(position.cast_signed());
            query.push(" and (valid_to is null or valid_to > ").push_bind(position.cast_signed()).push(")");
        }
    }
    filter.narrowing.push(&mut query);
    if let Some(after) = &filter.after {
        query.push(format!(" and (created_at, id) {beyond} (")).push_bind(after.created_at);
        query.push(", ").push_bind(after.id).push(")");
    }
    query
        .push(format!(" order by created_at {direction}, id {direction} limit "))
        .push_bind(i64::from(filter.limit) + 1);
    query.push(format!(") d on true order by d.created_at {direction}, d.id {direction}"));
    let rows = query.build().fetch_all(models).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        if let Some(id) = row.try_get::<Option<Uuid>, _>("id")? {
            found.push(PastCursor { created_at: row.try_get("created_at")?, id });
        }
    }
    let more = found.len() > filter.limit as usize;
    found.truncate(filter.limit as usize);
    let next = found.last().filter(|_| more).cloned();
    let reached = rows.first().map(reached).transpose()?.unwrap_or_default();
    Ok((PastPage { ids: found.into_iter().map(|place| place.id).collect(), next }, reached))
}
