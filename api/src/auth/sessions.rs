//! Sessions: one row per log-in, with the hash of the one refresh token that is good now.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_store::{Database, StoreError, Vault};
use moka::future::Cache;
use ring::rand::{SecureRandom, SystemRandom};
use sqlx::PgPool;
use std::sync::Arc;
use uuid::Uuid;

use crate::extract::same;

const CACHED: u64 = 100_000;
/// How long a process may go on with a session that another has ended.
const CACHED_FOR: Duration = Duration::from_secs(1);
const ID: usize = 16;
const SECRET: usize = 32;
const TAG: usize = 16;

/// The sessions of an instance.
#[derive(Clone)]
pub struct Sessions {
    reads: PgPool,
    writes: PgPool,
    /// Whose each session is; nobody's once it has ended.
    live: Cache<Uuid, Option<Uuid>>,
}

/// A session that was begun or carried on.
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub account: Uuid,
    /// The refresh token that carries it on next.
    pub refresh_token: String,
}

impl Sessions {
    /// The sessions in this database.
    pub fn new(database: &Database) -> Self {
        let live = Cache::builder().max_capacity(CACHED).time_to_live(CACHED_FOR).build();
        Self { reads: database.reads.clone(), writes: database.writes.clone(), live }
    }

    /// Begins a session, which lives 30 days.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn begin(&self, vault: &Vault, account: Uuid) -> Result<Session, StoreError> {
        let id = Uuid::now_v7();
        let refresh_token = refresh_token(vault, id)?;
        sqlx::query(
            "insert into sessions (id, account_id, refresh_hash, expires_at)
             values ($1, $2, $3, clock_timestamp() + interval '30 days')",
        )
        .bind(id)
        .bind(account)
        .bind(hash(vault, &refresh_token))
        .execute(&self.writes)
        .await?;
        Ok(Session { id, account, refresh_token })
    }

    /// Carries a session on: its refresh token is spent, and comes with a successor. One that was spent before ends
    /// the session, since two hold it.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn refresh(&self, vault: &Vault, token: &str) -> Result<Option<Session>, StoreError> {
        let Some(id) = session_of(vault, token) else { return Ok(None) };
        let successor = refresh_token(vault, id)?;
        let account: Option<Uuid> = sqlx::query_scalar(
            "update sessions set refresh_hash = $3
             where id = $1 and refresh_hash = $2 and revoked_at is null and expires_at > clock_timestamp()
             returning account_id",
        )
        .bind(id)
        .bind(hash(vault, token))
        .bind(hash(vault, &successor))
        .fetch_optional(&self.writes)
        .await?;
        let Some(account) = account else {
            self.end(id).await?;
            return Ok(None);
        };
        Ok(Some(Session { id, account, refresh_token: successor }))
    }

    /// Ends a session. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn end(&self, id: Uuid) -> Result<(), StoreError> {
        sqlx::query("update sessions set revoked_at = coalesce(revoked_at, clock_timestamp()) where id = $1")
            .bind(id)
            .execute(&self.writes)
            .await?;
        self.live.invalidate(&id).await;
        Ok(())
    }

    /// Ends every session of an account.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn end_all(&self, account: Uuid) -> Result<(), StoreError> {
        let ended: Vec<Uuid> = sqlx::query_scalar(
            "update sessions set revoked_at = clock_timestamp() where account_id = $1 and revoked_at is null
             returning id",
        )
        .bind(account)
        .fetch_all(&self.writes)
        .await?;
        for id in ended {
            self.live.invalidate(&id).await;
        }
        Ok(())
    }

    /// Whether this session of `account` goes on, as of a second ago at most.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn is_live(&self, id: Uuid, account: Uuid) -> Result<bool, Arc<StoreError>> {
        let read = async {
            let live: Option<Uuid> = sqlx::query_scalar(
                "select account_id from sessions
                 where id = $1 and revoked_at is null and expires_at > clock_timestamp()",
            )
            .bind(id)
            .fetch_optional(&self.reads)
            .await?;
            Ok::<_, StoreError>(live)
        };
        Ok(self.live.try_get_with(id, read).await? == Some(account))
    }
}

/// A new refresh token: the session's id, a secret, and a tag that tells our tokens from guesses.
fn refresh_token(vault: &Vault, session: Uuid) -> Result<String, StoreError> {
    let mut bytes = session.as_bytes().to_vec();
    let mut secret = [0; SECRET];
    let filled = SystemRandom::new().fill(&mut secret);
    filled.map_err(|_| StoreError::Vault("the system gives no randomness".to_owned()))?;
    bytes.extend(secret);
    let tag = vault.keyed_hash("refresh.tag", &bytes);
    bytes.extend(&tag[..TAG]);
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The session that a refresh token of ours belongs to.
fn session_of(vault: &Vault, token: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == ID + SECRET + TAG)?;
    let (content, tag) = bytes.split_at(ID + SECRET);
    let ours = same(tag, &vault.keyed_hash("refresh.tag", content)[..TAG]);
    Uuid::from_slice(&content[..ID]).ok().filter(|_| ours)
}

fn hash(vault: &Vault, token: &str) -> Vec<u8> {
    vault.keyed_hash("refresh", token.as_bytes()).to_vec()
}
