//! The names that the relay and the subscriptions agree on, and the connection they share.

use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectOptions};
use domain::EventEnvelope;
use event_store::LogId;

/// Header: which log the event is of.
pub(crate) const LOG_ID: &str = "Capitune-Log-Id";
/// Header: the event's position, which is also the message's sequence.
pub(crate) const POSITION: &str = "Capitune-Position";
/// Header: the event's id.
pub(crate) const EVENT_ID: &str = "Capitune-Event-Id";
/// Header: the id of the event before, none before the first: a chain of messages cannot mix events of a log with those
/// that it has lost.
pub(crate) const PREVIOUS_EVENT_ID: &str = "Capitune-Previous-Event-Id";

const RECONNECT_MOST: Duration = Duration::from_secs(1);

/// Opens a connection to NATS at `url`. Returns at once: the server may be down now, and later, for ever.
///
/// # Errors
/// When `url` is not one.
pub async fn connect(url: &str) -> Result<Client, ConnectError> {
    ConnectOptions::new()
        .name("capitune")
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            let doubled = Duration::from_millis(10 << attempt.min(10));
            doubled.min(RECONNECT_MOST).mul_f64(rand::random_range(0.5..1.0))
        })
        .event_callback(|event| async move { tracing::debug!(%event, "nats") })
        .connect(url)
        .await
}

/// The stream that holds the log.
pub(crate) fn stream_name(log: LogId) -> String {
    format!("capitune_{log}")
}

/// Every subject of the log.
pub(crate) fn subjects(log: LogId) -> String {
    format!("capitune.{log}.>")
}

/// The subject of one event.
pub(crate) fn subject(log: LogId, event: &EventEnvelope) -> String {
    format!("capitune.{log}.{}.{}", event.aggregate_type, event.aggregate_id)
}
