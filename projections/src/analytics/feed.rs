//! The change feed: each thing at its last change, with nothing personal in it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use uuid::Uuid;

use super::query::{Answer, answered, beside_checkpoint};
use crate::error::ProjectionError;
use crate::models::Models;
use crate::positions::Reached;

/// What the feed tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Topic {
    /// Every dossier.
    Dossiers,
    /// Every live event, but for who registers.
    LiveEvents,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 2] = [Self::Dossiers, Self::LiveEvents];

    /// What one thing of it is called.
    fn kind(self) -> &'static str {
        match self {
            Self::Dossiers => "dossier",
            Self::LiveEvents => "liveEvent",
        }
    }
}

/// The last change of one thing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Change {
    /// The position of the event that made it; the next read goes on after it.
    pub position: i64,
    /// What it is: `dossier` or `liveEvent`.
    pub kind: String,
    /// Its id.
    pub id: Uuid,
    /// `upsert` or `tombstone`.
    pub change: String,
    /// What it is now; nothing once it is gone.
    pub data: Option<Box<RawValue>>,
}

/// A change to be told.
pub(super) struct Entry {
    pub(super) id: Uuid,
    pub(super) position: u64,
    /// As JSON, nothing once it is gone.
    pub(super) data: Option<String>,
}

/// Puts the changes of things of one topic in the place of their former ones.
pub(super) async fn tell(
    topic: Topic,
    entries: &[Entry],
    connection: &mut PgConnection,
) -> Result<(), ProjectionError> {
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into changes (kind, id, position, change, data)
         select $1, id, position, case when data is null then 'tombstone' else 'upsert' end, data::json
         from unnest($2::uuid[], $3::bigint[], $4::text[]) as u (id, position, data)
         on conflict (kind, id) do update set
             position = excluded.position, change = excluded.change, data = excluded.data",
    )
    .bind(topic.kind())
    .bind(entries.iter().map(|entry| entry.id).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.position.cast_signed()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.data.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Up to `limit` things of these topics that changed after position `after`, each as it is now, in the order of their
/// last change. What is held back comes in its place once it is released, and nothing after it comes before.
///
/// # Errors
/// When the database does not answer.
pub async fn changes(
    models: &Models,
    topics: &[Topic],
    after: u64,
    limit: u32,
) -> Result<(Vec<Change>, Reached), sqlx::Error> {
    let query = beside_checkpoint(
        "select position, kind, id, change, data from analytics.changes
         where position > $1 and position < coalesce(c.held_from, 9223372036854775807) and kind = any($2)
         order by position limit $3",
    );
    let answer: Answer<Change> = sqlx::query_as(&query)
        .bind(after.cast_signed())
        .bind(topics.iter().map(|topic| topic.kind()).collect::<Vec<_>>())
        .bind(i64::from(limit))
        .fetch_one(models)
        .await?;
    Ok(answered(answer))
}
