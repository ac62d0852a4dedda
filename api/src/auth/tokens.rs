//! Access tokens that were verified already are known again by their hash: Ed25519 is too dear for every request.

use chrono::Utc;
use event_store::Vault;
use moka::sync::Cache;
use ring::digest::{SHA256, digest};
use uuid::Uuid;

use super::jwt::{Claims, Jwk, Jwt};

const CACHED: u64 = 100_000;
/// No token of ours is longer.
const LONGEST: usize = 2048;

/// Issues access tokens and recognises them.
pub struct AccessTokens {
    jwt: Jwt,
    verified: Cache<[u8; 32], Verified>,
}

/// What a good token says.
#[derive(Debug, Clone, Copy)]
pub struct Verified {
    /// The account.
    pub account: Uuid,
    /// The session.
    pub session: Uuid,
    expires: i64,
}

impl AccessTokens {
    /// The tokens of the instance that `vault` belongs to; `log` is the id of its log.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn new(vault: &Vault, log: Uuid) -> Result<Self, jsonwebtoken::errors::Error> {
        Ok(Self { jwt: Jwt::new(vault, log)?, verified: Cache::new(CACHED) })
    }

    /// The key that tokens are verified by.
    pub fn public(&self) -> &Jwk {
        self.jwt.public()
    }

    /// A token for one session of an account.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn issue(&self, account: Uuid, session: Uuid) -> Result<String, jsonwebtoken::errors::Error> {
        self.jwt.issue(account, session)
    }

    /// What a token says, if it is one of ours and good now.
    pub fn verify(&self, token: &str) -> Option<Verified> {
        if token.len() > LONGEST {
            return None;
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let verified = match self.verified.get(&hash) {
            Some(verified) => verified,
            None => {
                let Claims { sub, sid, exp, .. } = self.jwt.verify(token)?;
                let verified = Verified { account: sub, session: sid, expires: exp };
                self.verified.insert(hash, verified);
                verified
            }
        };
        (verified.expires > Utc::now().timestamp()).then_some(verified)
    }
}
