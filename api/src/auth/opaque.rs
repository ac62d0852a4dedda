//! Opaque tokens: an id, a secret, and a tag that tells ours from guesses without asking the database; and what is kept
//! sealed for an account beside the log.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::account::Account;
use domain::{Aggregate, Personal};
use event_store::{StoreError, StreamId, Vault};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use uuid::Uuid;

use crate::extract::same;

const ID: usize = 16;
const SECRET: usize = 32;
const TAG: usize = 16;

/// A kind of opaque token; its name keeps its tags and hashes apart from those of the others.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// What its hashes are for.
    pub hash: &'static str,
    /// What its tags are for.
    pub tag: &'static str,
}

impl Kind {
    /// A new token that names `id`.
    ///
    /// # Errors
    /// [`StoreError::Vault`] when the system gives no randomness.
    pub fn issue(self, vault: &Vault, id: Uuid) -> Result<String, StoreError> {
        let mut bytes = id.as_bytes().to_vec();
        bytes.extend(random::<SECRET>()?);
        let tag = vault.keyed_hash(self.tag, &bytes);
        bytes.extend(&tag[..TAG]);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The id that a token of ours names.
    pub fn id_of(self, vault: &Vault, token: &str) -> Option<Uuid> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == ID + SECRET + TAG)?;
        let (content, tag) = bytes.split_at(ID + SECRET);
        let ours = same(tag, &vault.keyed_hash(self.tag, content)[..TAG]);
        Uuid::from_slice(&content[..ID]).ok().filter(|_| ours)
    }

    /// The hash that a token is kept by.
    pub fn hash(self, vault: &Vault, token: &str) -> Vec<u8> {
        vault.keyed_hash(self.hash, token.as_bytes()).to_vec()
    }
}

/// Bytes that nobody can guess.
///
/// # Errors
/// [`StoreError::Vault`] when the system gives no randomness.
pub fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], StoreError> {
    let mut bytes = [0; LENGTH];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| StoreError::Vault("the system gives no randomness".to_owned()))?;
    Ok(bytes)
}

/// The stream of an account.
pub fn stream(account: Uuid) -> StreamId {
    StreamId { aggregate_type: Account::TYPE, id: account }
}

/// A value as JSON that only this account's key opens.
///
/// # Errors
/// [`StoreError`] when the key cannot be had.
pub async fn sealed(vault: &Vault, account: Uuid, value: &impl Serialize) -> Result<String, StoreError> {
    let json = serde_json::to_string(&Personal::new(account, value));
    let json = json.map_err(|error| StoreError::Invalid(error.to_string()))?;
    Ok(vault.seal(stream(account), &json).await?.0)
}
