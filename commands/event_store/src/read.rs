//! Reading the log: by position, by stream, and by what an auditor asks for. Every read proves that it is whole.

use chrono::{DateTime, Utc};
use domain::EventEnvelope;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::append::IdempotencyRecord;
use crate::{Cursor, EventStore, StoreError, StreamId};

const COLUMNS: &str = "position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, \
                       recorded_at, payload, metadata";
/// Positions that one filtered read looks through, at most, before it answers with where it stopped.
const SCAN: u64 = 100_000;

struct Recorded(EventEnvelope);

impl FromRow<'_, PgRow> for Recorded {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let payload: Json<Box<RawValue>> = row.try_get(8)?;
        let metadata: Json<Box<RawValue>> = row.try_get(9)?;
        Ok(Self(EventEnvelope {
            position: row.try_get::<i64, _>(0)?.cast_unsigned(),
            event_id: row.try_get(1)?,
            aggregate_type: row.try_get(2)?,
            aggregate_id: parse(row.try_get(3)?)?,
            version: row.try_get::<i64, _>(4)?.cast_unsigned(),
            event_type: row.try_get(5)?,
            schema_version: parse(row.try_get(6)?)?,
            recorded_at: row.try_get(7)?,
            payload: payload.0,
            metadata: metadata.0,
        }))
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, sqlx::Error>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error: T::Err| sqlx::Error::Decode(error.into()))
}

/// What an auditor may narrow the log by; everything is optional.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// A stored type name.
    pub event_type: Option<String>,
    /// Aggregate type and id of one stream.
    pub stream: Option<(String, Uuid)>,
    /// The account that gave the command.
    pub actor: Option<Uuid>,
    /// Recorded at or after.
    pub from: Option<DateTime<Utc>>,
    /// Recorded before.
    pub to: Option<DateTime<Utc>>,
}

impl EventStore {
    /// The position of the last event, 0 for an empty log.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn head(&self) -> Result<u64, StoreError> {
        let head: i64 =
            sqlx::query_scalar("select coalesce(max(position), 0) from events").fetch_one(&self.inner.reads).await?;
        Ok(head.cast_unsigned())
    }

    /// Up to `limit` events after position `after`, in order, sealed.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when a position is missing, [`StoreError::Unavailable`] when the database does not answer.
    pub async fn read_log(&self, after: u64, limit: u32) -> Result<Vec<EventEnvelope>, StoreError> {
        let query = format!("select {COLUMNS} from events where position > $1 order by position limit $2");
        let rows: Vec<Recorded> = sqlx::query_as(&query)
            .bind(after.cast_signed())
            .bind(i64::from(limit))
            .fetch_all(&self.inner.reads)
            .await?;
        let events: Vec<EventEnvelope> = rows.into_iter().map(|row| row.0).collect();
        contiguous(&events, after, |event| event.position)?;
        self.saw(&events);
        Ok(events)
    }

    /// The log's last event; [`Cursor::START`] for an empty log.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn head_cursor(&self) -> Result<Cursor, StoreError> {
        let last: Option<(i64, Uuid)> =
            sqlx::query_as("select position, event_id from events order by position desc limit 1")
                .fetch_optional(&self.inner.reads)
                .await?;
        let Some((position, event_id)) = last else { return Ok(Cursor::START) };
        self.inner.continuity.saw(position.cast_unsigned(), event_id);
        Ok(Cursor::at(position.cast_unsigned(), event_id))
    }

    /// The place of this position, with the event there; none when the log does not reach it.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn cursor_at(&self, position: u64) -> Result<Option<Cursor>, StoreError> {
        if position == 0 {
            return Ok(Some(Cursor::START));
        }
        let event_id: Option<Uuid> = sqlx::query_scalar("select event_id from events where position = $1")
            .bind(position.cast_signed())
            .fetch_optional(&self.inner.reads)
            .await?;
        Ok(event_id.map(|event_id| Cursor::at(position, event_id)))
    }

    /// As [`EventStore::read_log`], for a reader that goes on: the log must still hold the event that it stands at.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when it does not, and as [`EventStore::read_log`].
    pub async fn read_on(&self, after: Cursor, limit: u32) -> Result<Vec<EventEnvelope>, StoreError> {
        let Cursor { position, event_id } = after;
        if position == 0 {
            return self.read_log(0, limit).await;
        }
        let mut events = self.read_log(position - 1, limit.saturating_add(1)).await?;
        let stands = events.first().is_some_and(|first| event_id.is_none_or(|event_id| first.event_id == event_id));
        if !stands {
            return Err(StoreError::Lost(format!("the event at {position} is another, or is gone")));
        }
        events.remove(0);
        Ok(events)
    }

    /// The stream's events after version `after`, in order, sealed.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when a version is missing, [`StoreError::Unavailable`] when the database does not answer.
    pub async fn read_stream(&self, stream: StreamId, after: u64) -> Result<Vec<EventEnvelope>, StoreError> {
        let query = format!(
            "select {COLUMNS} from events where aggregate_type = $1 and aggregate_id = $2 and sequence > $3
             order by sequence"
        );
        let rows: Vec<Recorded> = sqlx::query_as(&query)
            .bind(stream.aggregate_type)
            .bind(stream.id.to_string())
            .bind(after.cast_signed())
            .fetch_all(&self.inner.reads)
            .await?;
        let events: Vec<EventEnvelope> = rows.into_iter().map(|row| row.0).collect();
        contiguous(&events, after, |event| event.version)?;
        self.saw(&events);
        Ok(events)
    }

    fn saw(&self, events: &[EventEnvelope]) {
        if let Some(last) = events.last() {
            self.inner.continuity.saw(last.position, last.event_id);
        }
    }

    /// Up to `limit` events after position `after` that pass the filter, and the position up to which the log was
    /// looked through, from which the next read goes on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database does not answer.
    pub async fn read_filtered(
        &self,
        filter: &LogFilter,
        after: u64,
        limit: u32,
    ) -> Result<(Vec<EventEnvelope>, u64), StoreError> {
        let end = after.saturating_add(SCAN).min(self.head().await?.max(after));
        let query = format!(
            "select {COLUMNS} from events
             where position > $1 and position <= $2
               and ($3::text is null or event_type = $3)
               and ($4::text is null or aggregate_type = $4 and aggregate_id = $5)
               and ($6::text is null or metadata ->> 'actorId' = $6)
               and ($7::timestamptz is null or recorded_at >= $7)
               and ($8::timestamptz is null or recorded_at < $8)
             order by position limit $9"
        );
        let rows: Vec<Recorded> = sqlx::query_as(&query)
            .bind(after.cast_signed())
            .bind(end.cast_signed())
            .bind(&filter.event_type)
            .bind(filter.stream.as_ref().map(|stream| &stream.0))
            .bind(filter.stream.as_ref().map(|stream| stream.1.to_string()))
            .bind(filter.actor.map(|actor| actor.to_string()))
            .bind(filter.from)
            .bind(filter.to)
            .bind(i64::from(limit))
            .fetch_all(&self.inner.reads)
            .await?;
        let events: Vec<EventEnvelope> = rows.into_iter().map(|row| row.0).collect();
        let full = events.len() >= limit as usize;
        let reached = if full { events.last().map_or(end, |event| event.position) } else { end };
        Ok((events, reached))
    }

    /// What was remembered under a caller's idempotency key.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database does not answer.
    pub async fn idempotency_record(&self, scope: Uuid, key: &str) -> Result<Option<IdempotencyRecord>, StoreError> {
        let row: Option<(Vec<u8>, i16, Uuid, i64, i64)> = sqlx::query_as(
            "select digest, status, aggregate_id, version, position from idempotency_records
             where scope = $1 and key = $2",
        )
        .bind(scope)
        .bind(key)
        .fetch_optional(&self.inner.reads)
        .await?;
        Ok(row.map(|(digest, status, aggregate_id, version, position)| IdempotencyRecord {
            digest,
            status: status.cast_unsigned(),
            aggregate_id,
            version: version.cast_unsigned(),
            position: position.cast_unsigned(),
        }))
    }

    /// Who holds a claim.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database does not answer.
    pub async fn claim_owner(&self, kind: &str, value: &[u8]) -> Result<Option<Uuid>, StoreError> {
        let owner = sqlx::query_scalar("select owner from claims where kind = $1 and value = $2")
            .bind(kind)
            .bind(value)
            .fetch_optional(&self.inner.reads)
            .await?;
        Ok(owner)
    }
}

/// A read that skips a number is an error, never a short success.
fn contiguous(events: &[EventEnvelope], after: u64, number: fn(&EventEnvelope) -> u64) -> Result<(), StoreError> {
    for (expected, event) in (after + 1..).zip(events) {
        if number(event) != expected {
            let (kind, id) = (&event.aggregate_type, event.aggregate_id);
            return Err(StoreError::Broken(format!("{expected} is missing before {} ({kind} {id})", number(event))));
        }
    }
    Ok(())
}
