//! Publishing, pipelined: many messages on their way, each accepted only right after the one before it.

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::{HeaderName, NATS_EXPECTED_LAST_SEQUENCE};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use domain::EventEnvelope;
use event_store::{Cursor, EventStore, StoreError};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::RelayError;
use crate::bus;

/// Events read from the log at once.
const BATCH: u32 = 1000;
/// Messages on their way, at most.
const WINDOW: usize = 1024;
/// How soon a lost connection is noticed while an acknowledgement is awaited.
const LOST: Duration = Duration::from_millis(100);
/// Left free of every message for what the client adds to it.
const MARGIN: usize = 1024;

const LOG_ID: HeaderName = HeaderName::from_static(bus::LOG_ID);
const POSITION: HeaderName = HeaderName::from_static(bus::POSITION);
const EVENT_ID: HeaderName = HeaderName::from_static(bus::EVENT_ID);
const PREVIOUS_EVENT_ID: HeaderName = HeaderName::from_static(bus::PREVIOUS_EVENT_ID);

type Reading = JoinHandle<Result<Vec<EventEnvelope>, StoreError>>;

pub(super) struct Publisher {
    context: Context,
    store: EventStore,
    log: String,
    /// The last event sent.
    sent: Cursor,
    waiting: VecDeque<PublishAckFuture>,
    /// The next batch, read while the last one is on its way.
    ahead: Option<Reading>,
}

impl Publisher {
    pub(super) fn new(context: Context, store: EventStore, last: Cursor) -> Self {
        let log = store.log_id().to_string();
        Self { context, store, log, sent: last, waiting: VecDeque::with_capacity(WINDOW), ahead: None }
    }

    /// The last position that the stream has acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.sent.position - self.waiting.len() as u64
    }

    /// Sends the next batch; false when that was the end of the log.
    pub(super) async fn publish_next(&mut self) -> Result<bool, RelayError> {
        let reading = self.ahead.take().unwrap_or_else(|| self.read(self.sent));
        let events = reading.await.map_err(|_| StoreError::Unavailable("reading ended".to_owned()))??;
        let more = events.len() == BATCH as usize;
        if let Some(last) = events.last().filter(|_| more) {
            self.ahead = Some(self.read(Cursor::at(last.position, last.event_id)));
        }
        for event in &events {
            self.send(event).await?;
        }
        Ok(more)
    }

    /// Waits until everything sent is acknowledged.
    pub(super) async fn settle(&mut self) -> Result<(), RelayError> {
        self.acknowledge(self.waiting.len()).await
    }

    fn read(&self, after: Cursor) -> Reading {
        let store = self.store.clone();
        tokio::spawn(async move { store.read_on(after, BATCH).await })
    }

    async fn send(&mut self, event: &EventEnvelope) -> Result<(), RelayError> {
        let refused = |reason: String| RelayError::Refused(event.position, reason);
        let mut payload = serde_json::to_vec(event).map_err(|error| refused(error.to_string()))?;
        if payload.len() + MARGIN > self.context.client().max_payload() {
            // Its place is kept by an empty message, and its readers take it from the log.
            payload.clear();
        }
        let message = PublishMessage::build().payload(Bytes::from(payload)).headers(self.headers(event));
        let subject = bus::subject(self.store.log_id(), event);
        let acknowledgement = self.context.send_publish(subject, message).await;
        self.waiting.push_back(acknowledgement.map_err(|error| refused(error.to_string()))?);
        self.sent = Cursor::at(event.position, event.event_id);
        if self.waiting.len() >= WINDOW {
            self.acknowledge(WINDOW / 2).await?;
        }
        Ok(())
    }

    fn headers(&self, event: &EventEnvelope) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(event.position - 1));
        headers.insert(LOG_ID, self.log.as_str());
        headers.insert(POSITION, HeaderValue::from(event.position));
        headers.insert(EVENT_ID, event.event_id.to_string());
        if let Some(previous) = self.sent.event_id {
            headers.insert(PREVIOUS_EVENT_ID, previous.to_string());
        }
        headers
    }

    /// Waits for the oldest `count` messages on their way. They are stored in order: once the last of them is, the
    /// others' answers are there.
    async fn acknowledge(&mut self, count: usize) -> Result<(), RelayError> {
        let first = self.acknowledged() + 1;
        let oldest: Vec<_> = (first..).zip(self.waiting.drain(..count)).collect();
        for (position, acknowledgement) in oldest.into_iter().rev() {
            self.stored(position, acknowledgement).await?;
        }
        Ok(())
    }

    async fn stored(&self, position: u64, acknowledgement: PublishAckFuture) -> Result<(), RelayError> {
        let mut acknowledgement = acknowledgement.into_future();
        loop {
            match timeout(LOST, &mut acknowledgement).await {
                Ok(Ok(stored)) if stored.sequence == position => return Ok(()),
                Ok(Ok(stored)) => {
                    return Err(RelayError::Refused(position, format!("stored at {}", stored.sequence)));
                }
                Ok(Err(error)) => return Err(RelayError::Refused(position, error.to_string())),
                Err(_) if self.context.client().connection_state() != State::Connected => return Err(RelayError::Away),
                Err(_) => {}
            }
        }
    }
}
