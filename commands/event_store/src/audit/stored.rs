//! Reading events as they are stored, to the byte.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};

use super::leaf::StoredEvent;
use crate::StoreError;

impl FromRow<'_, PgRow> for StoredEvent {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get::<i64, _>(0)?.cast_unsigned(),
            event_id: row.try_get(1)?,
            version: row.try_get::<i64, _>(2)?.cast_unsigned(),
            recorded_at: row.try_get::<DateTime<Utc>, _>(3)?.timestamp_micros(),
            texts: [
                row.try_get(4)?,
                row.try_get(5)?,
                row.try_get(6)?,
                row.try_get(7)?,
                // Of type `json`, whose text it is.
                row.try_get_unchecked(8)?,
                row.try_get_unchecked(9)?,
            ],
        })
    }
}

/// The events after position `after` up to position `end`, in order; that none is missing is for the caller to see.
pub(crate) async fn read(connection: &mut PgConnection, after: u64, end: u64) -> Result<Vec<StoredEvent>, StoreError> {
    let events = sqlx::query_as(
        "select position, event_id, sequence, recorded_at, aggregate_type, aggregate_id, event_type, event_version,
             payload, metadata
         from events where position > $1 and position <= $2 order by position",
    );
    Ok(events.bind(after.cast_signed()).bind(end.cast_signed()).fetch_all(connection).await?)
}
