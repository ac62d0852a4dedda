//! The stream and its agreement with the log: where they differ, the stream is made anew.

use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, LastRawMessageErrorKind, StorageType, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use event_store::{Cursor, Database, EventStore, LogId, StoreError};

use super::RelayError;
use super::replicas::Replicas;
use crate::bus;

/// How long the stream keeps a message: days, not history.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The shortest there is: positions, not message ids, tell what was published already.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// The place in the log after which to publish, on a stream that agrees with the log up to there.
pub(super) async fn agree(
    context: &Context,
    store: &EventStore,
    database: &Database,
    replicas: Replicas,
) -> Result<Cursor, RelayError> {
    let name = bus::stream_name(store.log_id());
    let needed = oldest_needed(store, database).await?;
    match context.get_stream(&name).await {
        Ok(stream) => {
            if let Some(last) = agreed(&stream, store, needed).await? {
                replicas.apply(context, &stream).await;
                return Ok(last);
            }
            tracing::warn!(stream = name, "the stream is not what the log says; it is made anew");
            let deleted = context.delete_stream(&name).await;
            deleted.map_err(|error| RelayError::Stream("deleted", error.to_string()))?;
        }
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
            _ => return Err(RelayError::Stream("found", error.to_string())),
        },
    }
    replicas.create(context, config(store, name, needed)).await?;
    delete_earlier(context, store.log_id()).await;
    tracing::info!(after = needed.position, "the stream was created");
    Ok(needed)
}

/// The place of the stream's last message, when that is the log's event of that position.
async fn agreed(stream: &Stream, store: &EventStore, needed: Cursor) -> Result<Option<Cursor>, RelayError> {
    let state = &stream.cached_info().state;
    let last = state.last_sequence;
    if state.messages == 0 {
        return Ok((last == needed.position).then_some(needed));
    }
    let message = match stream.get_raw_message(last).await {
        Ok(message) => message,
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
        Err(error) => return Err(RelayError::Stream("read", error.to_string())),
    };
    let Some(event) = store.read_log(last - 1, 1).await?.pop() else { return Ok(None) };
    let says = |header, value: String| message.headers.get(header).is_some_and(|said| said.as_str() == value);
    let same = says(bus::LOG_ID, store.log_id().to_string())
        && says(bus::POSITION, event.position.to_string())
        && says(bus::EVENT_ID, event.event_id.to_string());
    Ok(same.then_some(Cursor::at(last, event.event_id)))
}

fn config(store: &EventStore, name: String, after: Cursor) -> Config {
    Config {
        name,
        subjects: vec![bus::subjects(store.log_id())],
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_age: MAX_AGE,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        first_sequence: Some(after.position + 1),
        ..Config::default()
    }
}

/// Streams of generations that a restore has ended hold disk and nothing else; one that stays is tried again with the
/// next stream that is created.
async fn delete_earlier(context: &Context, log: LogId) {
    for generation in 1..log.generation {
        let name = bus::stream_name(LogId { generation, ..log });
        if let Err(error) = context.delete_stream(&name).await {
            tracing::debug!(stream = name, %error, "an earlier stream is not there, or stays");
        }
    }
}

/// The lowest checkpoint: nothing up to it is waited for. One that is ahead of the log is another log's.
async fn oldest_needed(store: &EventStore, database: &Database) -> Result<Cursor, StoreError> {
    let oldest: i64 = sqlx::query_scalar(
        "select coalesce(min(position) filter (where position <= (select coalesce(max(position), 0) from events)), 0)
         from checkpoints",
    )
    .fetch_one(&database.reads)
    .await?;
    let cursor = store.cursor_at(oldest.cast_unsigned()).await?;
    cursor.ok_or_else(|| StoreError::Lost(format!("the event at {oldest} is gone")))
}
