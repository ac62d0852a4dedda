//! The keys that heads are signed with. Only their names are stored: each is derived from its own and the log's secret.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::head::{HeadKey, KeyId, VerifierKey};
use crate::{StoreError, Vault};

const PURPOSE: &str = "audit-head-key";

/// A key that signs heads, or has signed some.
pub(crate) struct AuditKey {
    pub(crate) key: HeadKey,
    pub(crate) active_from: DateTime<Utc>,
}

/// A public key, and how it can be believed by whoever believes its predecessor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// The key.
    pub key: VerifierKey,
    /// From when it signs.
    pub active_from: DateTime<Utc>,
    /// Its predecessor's signature of [`introduction`]; the first has none.
    pub introduced_by: Option<(KeyId, [u8; 64])>,
}

/// What a key signs to introduce its successor.
pub fn introduction(key: &VerifierKey) -> String {
    format!("{}\nthe next key\n{key}\n", key.origin)
}

/// Every key, in the order in which they sign.
pub(crate) async fn load(
    connection: &mut PgConnection,
    vault: &Vault,
    origin: &str,
) -> Result<Vec<AuditKey>, StoreError> {
    let rows: Vec<(Uuid, DateTime<Utc>)> =
        sqlx::query_as("select id, active_from from audit_keys order by active_from, id").fetch_all(connection).await?;
    rows.into_iter().map(|(id, active_from)| Ok(AuditKey { key: derive(vault, origin, id)?, active_from })).collect()
}

/// Makes the next key, which signs from now on.
pub(crate) async fn rotate(connection: &mut PgConnection, vault: &Vault, origin: &str) -> Result<HeadKey, StoreError> {
    let id = Uuid::now_v7();
    sqlx::query("insert into audit_keys (id) values ($1)").bind(id).execute(connection).await?;
    derive(vault, origin, id)
}

fn derive(vault: &Vault, origin: &str, id: Uuid) -> Result<HeadKey, StoreError> {
    let seed = vault.keyed_hash(PURPOSE, id.as_bytes());
    HeadKey::new(origin.to_owned(), &seed).ok_or_else(|| StoreError::Vault("a key for tree heads is none".to_owned()))
}

/// The keys, as everybody may have them.
pub(crate) fn publish(keys: &[AuditKey]) -> Vec<PublishedKey> {
    let mut previous: Option<&HeadKey> = None;
    let mut published = Vec::with_capacity(keys.len());
    for AuditKey { key, active_from } in keys {
        let verifier = key.verifier().clone();
        let introduced_by =
            previous.map(|previous| (previous.verifier().id(), previous.sign(&introduction(&verifier))));
        published.push(PublishedKey { key: verifier, active_from: *active_from, introduced_by });
        previous = Some(key);
    }
    published
}
