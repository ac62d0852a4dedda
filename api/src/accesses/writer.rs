//! Writes accesses: whatever has queued, in one statement.

use event_store::{EventStore, StoreError, Vault};
use sqlx::PgPool;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Access, Queued};
use crate::auth::sealed;

/// Accesses of one statement, at most.
const BATCH: usize = 500;

pub(super) async fn run(writes: PgPool, store: EventStore, mut queue: mpsc::Receiver<Queued>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let accesses: Vec<&Access> = batch.iter().map(|(access, _)| access).collect();
        // Who waits for it hears of a failure by the end of the channel.
        match write(&writes, store.vault(), &accesses).await {
            Ok(()) => batch.drain(..).filter_map(|(_, written)| written).for_each(|written| {
                written.send(()).ok();
            }),
            Err(error) => {
                tracing::warn!(%error, accesses = batch.len(), "accesses could not be recorded");
                batch.clear();
            }
        }
    }
}

async fn write(writes: &PgPool, vault: &Vault, accesses: &[&Access]) -> Result<(), StoreError> {
    let mut clients = Vec::with_capacity(accesses.len());
    for access in accesses {
        clients.push(client_of(vault, access).await?);
    }
    let text = |value: &serde_json::Value| value.to_string();
    sqlx::query(
        "insert into accesses (id, action, account_id, actor_id, resource_type, resource_id, refusal, detail, client,
             request_id)
         select id, action, account_id, actor_id, resource_type, resource_id, refusal, detail::json, client::json,
             request_id
         from unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::text[],
             $9::text[], $10::text[])
             as u (id, action, account_id, actor_id, resource_type, resource_id, refusal, detail, client, request_id)",
    )
    .bind(accesses.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(accesses.iter().map(|access| access.action.name()).collect::<Vec<_>>())
    .bind(accesses.iter().map(|access| access.account).collect::<Vec<_>>())
    .bind(accesses.iter().map(|access| access.actor).collect::<Vec<_>>())
    .bind(accesses.iter().map(|access| access.resource.map(|resource| resource.0)).collect::<Vec<_>>())
    .bind(accesses.iter().map(|access| access.resource.map(|resource| resource.1)).collect::<Vec<_>>())
    .bind(accesses.iter().map(|access| access.refusal).collect::<Vec<_>>())
    .bind(accesses.iter().map(|access| access.detail.as_ref().map(text)).collect::<Vec<_>>())
    .bind(clients)
    .bind(accesses.iter().map(|access| access.request_id.as_str()).collect::<Vec<_>>())
    .execute(writes)
    .await?;
    Ok(())
}

/// Where it came from, for the actor's eyes or else for those of the person concerned. For somebody erased it is not kept.
async fn client_of(vault: &Vault, access: &Access) -> Result<Option<String>, StoreError> {
    let (Some(whose), Some(client)) = (access.actor.or(access.account), &access.client) else { return Ok(None) };
    match sealed(vault, whose, client).await {
        Ok(client) => Ok(Some(client)),
        Err(error @ StoreError::Unavailable(_)) => Err(error),
        Err(_) => Ok(None),
    }
}
