//! Who caused an event, why and from where: recorded beside every payload.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::Role;
use crate::personal::Personal;

/// The metadata of one recorded event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The account that gave the command.
    pub actor_id: Uuid,
    /// The role under which the policy allowed it.
    pub actor_role: Role,
    /// The organisation in which the actor acted.
    pub organization_id: Uuid,
    /// The person in whose name the actor acted, when it was not their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Uuid>,
    /// The request that carried the command (`X-Request-Id`).
    pub request_id: String,
    /// W3C trace context of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What all the events of one business exchange share.
    pub correlation_id: Uuid,
    /// The event or request that led to the command.
    pub causation_id: Uuid,
    /// Client address and user agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Personal<Client>>,
    /// The command's name.
    pub command: String,
    /// Events with the same key reach a projection in order, in one partition.
    pub partition_key: Uuid,
}

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// The peer's address, or the one a trusted proxy named.
    pub address: String,
    /// The `User-Agent` header, cut to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}
