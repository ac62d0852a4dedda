//! Who gives a command, why, and on which conditions.

use domain::metadata::Client;
use domain::{Actor, Metadata, Personal, Role};
use event_store::{Claim, IdempotencyKey};
use tokio::time::Instant;
use uuid::Uuid;

/// Everything about a command that is not the command itself.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who gives it.
    pub actor: Actor,
    /// In whose name, when it is not the actor's own.
    pub on_behalf_of: Option<Uuid>,
    /// The request it came with (`X-Request-Id`).
    pub request_id: String,
    /// W3C trace context of that request.
    pub traceparent: Option<String>,
    /// What all events of one business exchange share.
    pub correlation_id: Uuid,
    /// The event or request that led to it.
    pub causation_id: Uuid,
    /// Where the request came from.
    pub client: Option<Client>,
    /// The only version on which it may be decided (`If-Match`).
    pub if_match: Option<u64>,
    /// The caller's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
    /// Claims to take or release with it.
    pub claims: Vec<Claim>,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

impl Context {
    /// The context of a command that nobody's request has led to.
    pub fn without_request(actor: Actor, deadline: Instant) -> Self {
        let cause = Uuid::now_v7();
        Self {
            actor,
            on_behalf_of: None,
            request_id: cause.to_string(),
            traceparent: None,
            correlation_id: cause,
            causation_id: cause,
            client: None,
            if_match: None,
            idempotency: None,
            claims: Vec::new(),
            deadline,
        }
    }

    pub(crate) fn metadata(&self, role: Role, command: &str, partition_key: Uuid) -> Metadata {
        Metadata {
            actor_id: self.actor.id,
            actor_role: role,
            organization_id: self.actor.organization,
            on_behalf_of: self.on_behalf_of,
            request_id: self.request_id.clone(),
            traceparent: self.traceparent.clone(),
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            client: self.client.clone().map(|client| Personal::new(self.actor.id, client)),
            command: command.to_owned(),
            partition_key,
        }
    }
}
