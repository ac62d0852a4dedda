//! `capitune history`: what became of a dossier, with personal values opened.

use std::io::{self, Write};

use domain::Aggregate;
use domain::dossier::Dossier;
use event_store::{StoreError, StreamId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::CliError;
use super::connection::{Connection, Servers};
use crate::config::Config;

/// Prints the stream of a dossier, as a table or as JSON.
///
/// # Errors
/// [`CliError`] when there is no such dossier, or when the log does not answer.
pub async fn run(config: &Config, id: Uuid, as_json: bool) -> Result<(), CliError> {
    let connection = Connection::open(config, Servers::Attached).await?;
    let store = connection.store(config).await?;
    let stream = StreamId { aggregate_type: Dossier::TYPE, id };
    let events = store.read_stream(stream, 0).await?;
    if events.is_empty() {
        return Err(CliError::NoDossier(id));
    }
    let mut out = io::stdout().lock();
    for event in events {
        let revealed = store.vault().reveal_as(&[(stream, &event.payload)]).await?;
        let payload: Value = revealed.into_iter().next().unwrap_or_default();
        let metadata = event.metadata().map_err(|error| StoreError::Broken(error.to_string()))?;
        let (actor, role) = (metadata.actor_id, json!(metadata.actor_role));
        if as_json {
            let line = json!({
                "version": event.version, "position": event.position, "type": event.event_type,
                "at": event.recorded_at, "actor": { "id": actor, "role": role }, "data": data(&payload),
                "command": metadata.command, "requestId": metadata.request_id,
            });
            writeln!(out, "{line}")?;
        } else {
            let at = event.recorded_at.format("%Y-%m-%d %H:%M:%S");
            let role = role.as_str().unwrap_or_default();
            writeln!(
                out,
                "{:>4}  {:>8}  {at}  {:<24} {role:<10} {actor}",
                event.version, event.position, event.event_type
            )?;
            writeln!(out, "      {}", data(&payload))?;
        }
    }
    Ok(())
}

/// What the event says, without the wrapping that names it a second time.
fn data(payload: &Value) -> &Value {
    payload.as_object().and_then(|wrapped| wrapped.values().next()).unwrap_or(payload)
}
