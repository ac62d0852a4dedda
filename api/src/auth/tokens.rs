//! Access tokens that were verified already are known again by their hash: Ed25519 is too dear for every request.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::Utc;
use event_store::{Database, EventStore};
use moka::sync::Cache;
use ring::digest::{SHA256, digest};
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::AuthError;
use super::jwt::{Claims, Jwk, Jwt, key_id};
use super::signing_keys::{self, Rotation, SigningKey};

const CACHED: u64 = 100_000;
/// No token of ours is longer.
const LONGEST: usize = 2048;
/// How often to look for keys that other processes made or revoked.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How soon to look again for a token whose key is not known, so that nobody makes us ask without end.
const SOONEST: Duration = Duration::from_secs(1);

/// Issues access tokens and recognises them.
pub struct AccessTokens {
    store: EventStore,
    writes: PgPool,
    keys: RwLock<Keys>,
    looked: Mutex<Instant>,
    verified: Cache<[u8; 32], Verified>,
}

/// The keys as they were when last looked at.
#[derive(Clone)]
struct Keys {
    known: Vec<SigningKey>,
    jwt: Arc<Jwt>,
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
    /// The tokens of the instance that this log belongs to.
    ///
    /// # Errors
    /// [`AuthError`] when the keys cannot be had.
    pub async fn open(database: &Database, store: &EventStore) -> Result<Self, AuthError> {
        let writes = database.writes.clone();
        let keys = Keys::of(store, signing_keys::load(&writes).await?)?;
        let looked = Mutex::new(Instant::now());
        let verified = Cache::new(CACHED);
        Ok(Self { store: store.clone(), writes, keys: RwLock::new(keys), looked, verified })
    }

    /// The keys that tokens are verified by.
    pub fn public(&self) -> Vec<Jwk> {
        self.jwt().public()
    }

    /// A token for one session of an account.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn issue(&self, account: Uuid, session: Uuid) -> Result<String, jsonwebtoken::errors::Error> {
        self.jwt().issue(account, session)
    }

    /// What a token says, if it is one of ours and good now.
    pub async fn verify(&self, token: &str) -> Option<Verified> {
        if token.len() > LONGEST {
            return None;
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let verified = match self.verified.get(&hash) {
            Some(verified) => verified,
            None => {
                let Claims { sub, sid, exp, .. } = self.claims(token).await?;
                let verified = Verified { account: sub, session: sid, expires: exp };
                self.verified.insert(hash, verified);
                verified
            }
        };
        (verified.expires > Utc::now().timestamp()).then_some(verified)
    }

    async fn claims(&self, token: &str) -> Option<Claims> {
        let kid = key_id(token)?;
        if !self.jwt().knows(&kid) {
            // Another process may have made the key a moment ago.
            let mut looked = self.looked.try_lock().ok()?;
            if looked.elapsed() < SOONEST {
                return None;
            }
            *looked = Instant::now();
            self.look().await.ok()?;
        }
        self.jwt().verify(token)
    }

    /// Looks for keys that were made or revoked, and makes one when it is time to, until `stop`.
    pub fn keep_rotated(self: &Arc<Self>, stop: CancellationToken) {
        let this = self.clone();
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::spawn(async move {
            while stop.run_until_cancelled(tick.tick()).await.is_some() {
                if let Err(error) = this.look().await {
                    tracing::debug!(%error, "the signing keys could not be looked at; trying again later");
                }
            }
        });
    }

    async fn look(&self) -> Result<(), AuthError> {
        let mut known = signing_keys::load(&self.writes).await?;
        if known.last().is_some_and(SigningKey::is_due) && signing_keys::rotate(&self.writes, Rotation::WhenDue).await?
        {
            tracing::info!("a new key will sign access tokens");
            known = signing_keys::load(&self.writes).await?;
        }
        if known == self.keys.read().unwrap_or_else(PoisonError::into_inner).known {
            return Ok(());
        }
        let keys = Keys::of(&self.store, known)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        // What a revoked key signed is not to be known again.
        self.verified.invalidate_all();
        Ok(())
    }

    fn jwt(&self) -> Arc<Jwt> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).jwt.clone()
    }
}

impl Keys {
    fn of(store: &EventStore, known: Vec<SigningKey>) -> Result<Self, AuthError> {
        let jwt = Arc::new(Jwt::new(store.vault(), store.log_id().id, &known)?);
        Ok(Self { known, jwt })
    }
}
