//! Tokens for programs: long-lived, for a purpose, told apart from access tokens by how they begin.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use event_store::{Database, StoreError, Vault};
use moka::future::Cache;
use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::types::Json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::opaque::{Kind, sealed, stream};
use super::scope::{Scope, Scopes};
use crate::extract::same;
use crate::sweep::keep_swept;

/// How a token begins, so that scanners for leaked secrets know it.
pub const PREFIX: &str = "capitune_";
const TOKEN: Kind = Kind { hash: "api token", tag: "api token.tag" };
const CACHED: u64 = 100_000;
/// How long a process may go on with a token that another has revoked.
const CACHED_FOR: Duration = Duration::from_secs(1);
/// Tokens of an account that are good at once.
const MOST: i64 = 50;

/// What has ended is kept for a month, for who wonders what it was.
const ENDED: &str = "delete from api_tokens where id in (
    select id from api_tokens
    where expires_at < clock_timestamp() - interval '30 days' or revoked_at < clock_timestamp() - interval '30 days'
    limit 10000)";

/// The tokens of an instance.
#[derive(Clone)]
pub struct ApiTokens {
    reads: PgPool,
    writes: PgPool,
    good: Cache<Uuid, Option<Known>>,
}

/// A token that is good.
#[derive(Debug, Clone)]
struct Known {
    account: Uuid,
    organization: Option<Uuid>,
    hash: Vec<u8>,
    scopes: Scopes,
}

/// What a good token allows.
#[derive(Debug, Clone, Copy)]
pub struct Bearer {
    /// The token.
    pub id: Uuid,
    /// The account that it stands for.
    pub account: Uuid,
    /// The organisation in which it acts; that of the account when there is none.
    pub organization: Option<Uuid>,
    /// What it may be used for.
    pub scopes: Scopes,
}

/// A token as its account sees it.
#[derive(Debug)]
pub struct ApiToken {
    pub id: Uuid,
    pub name: Option<String>,
    pub organization: Option<Uuid>,
    pub scopes: Vec<Scope>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A row by which a token is known.
type KnownRow = (Uuid, Option<Uuid>, Vec<u8>, Vec<String>, bool);
type Row = (Uuid, Json<Box<RawValue>>, Option<Uuid>, Vec<String>, DateTime<Utc>, DateTime<Utc>, Option<DateTime<Utc>>);

impl ApiTokens {
    /// The tokens in this database.
    pub fn new(database: &Database) -> Self {
        let good = Cache::builder().max_capacity(CACHED).time_to_live(CACHED_FOR).build();
        Self { reads: database.reads.clone(), writes: database.writes.clone(), good }
    }

    /// Makes a token, which is shown this once; nothing when the account has too many.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn issue(&self, vault: &Vault, account: Uuid, token: &ApiToken) -> Result<Option<String>, StoreError> {
        let secret = TOKEN.issue(vault, token.id)?;
        let issued = sqlx::query(
            "insert into api_tokens (id, account_id, name, token_hash, scopes, created_at, expires_at, organization_id)
             select $1, $2, $3::json, $4, $5, $6, $7, $9
             where (select count(*) from api_tokens
                    where account_id = $2 and revoked_at is null and expires_at > clock_timestamp()) < $8",
        )
        .bind(token.id)
        .bind(account)
        .bind(sealed(vault, account, &token.name).await?)
        .bind(TOKEN.hash(vault, &secret))
        .bind(token.scopes.iter().map(Scope::to_string).collect::<Vec<_>>())
        .bind(token.created_at)
        .bind(token.expires_at)
        .bind(MOST)
        .bind(token.organization)
        .execute(&self.writes)
        .await?;
        Ok((issued.rows_affected() > 0).then(|| format!("{PREFIX}{secret}")))
    }

    /// The account's tokens that are good, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer, or when a key does not open what it should.
    pub async fn of(&self, vault: &Vault, account: Uuid) -> Result<Vec<ApiToken>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select id, name, organization_id, scopes, created_at, expires_at, last_used_at from api_tokens
             where account_id = $1 and revoked_at is null and expires_at > clock_timestamp()
             order by created_at desc, id desc",
        )
        .bind(account)
        .fetch_all(&self.reads)
        .await?;
        let sealed: Vec<_> = rows.iter().map(|row| (stream(account), &row.1)).collect();
        let names: Vec<Option<String>> = vault.reveal_as(&sealed).await?;
        let tokens = rows.into_iter().zip(names);
        let shown = |((id, _, organization, scopes, created_at, expires_at, last_used_at), name): (Row, _)| {
            let scopes = parse(&scopes).collect();
            ApiToken { id, name, organization, scopes, created_at, expires_at, last_used_at }
        };
        Ok(tokens.map(shown).collect())
    }

    /// Ends a token of an account; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn revoke(&self, account: Uuid, id: Uuid) -> Result<bool, StoreError> {
        let revoked = sqlx::query(
            "update api_tokens set revoked_at = clock_timestamp()
             where id = $1 and account_id = $2 and revoked_at is null and expires_at > clock_timestamp()",
        )
        .bind(id)
        .bind(account)
        .execute(&self.writes)
        .await?;
        self.good.invalidate(&id).await;
        Ok(revoked.rows_affected() > 0)
    }

    /// Deletes all tokens of an account. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn forget(&self, account: Uuid) -> Result<(), StoreError> {
        let delete = "delete from api_tokens where account_id = $1 returning id";
        let deleted: Vec<Uuid> = sqlx::query_scalar(delete).bind(account).fetch_all(&self.writes).await?;
        for id in deleted {
            self.good.invalidate(&id).await;
        }
        Ok(())
    }

    /// What a token allows, if it is one of ours and good, as of a second ago at most.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn bearer(&self, vault: &Vault, token: &str) -> Result<Option<Bearer>, Arc<StoreError>> {
        let secret = token.strip_prefix(PREFIX).unwrap_or_default();
        let Some(id) = TOKEN.id_of(vault, secret) else { return Ok(None) };
        let known = self.good.try_get_with(id, self.read(id)).await?;
        let known = known.filter(|known| same(&known.hash, &TOKEN.hash(vault, secret)));
        Ok(known.map(|Known { account, organization, scopes, .. }| Bearer { id, account, organization, scopes }))
    }

    async fn read(&self, id: Uuid) -> Result<Option<Known>, StoreError> {
        let row: Option<KnownRow> = sqlx::query_as(
            "select account_id, organization_id, token_hash, scopes,
                 coalesce(last_used_at < clock_timestamp() - interval '1 minute', true) from api_tokens
             where id = $1 and revoked_at is null and expires_at > clock_timestamp()",
        )
        .bind(id)
        .fetch_optional(&self.reads)
        .await?;
        let Some((account, organization, hash, scopes, unnoted)) = row else { return Ok(None) };
        if unnoted {
            self.note_use(id);
        }
        Ok(Some(Known { account, organization, hash, scopes: parse(&scopes).collect() }))
    }

    /// Deletes, now and then until `stop`, the tokens that ended long ago.
    pub fn keep_swept(&self, stop: CancellationToken) {
        keep_swept(self.writes.clone(), "API tokens", ENDED, stop);
    }

    /// No request waits for it, and none fails when it does.
    fn note_use(&self, id: Uuid) {
        let writes = self.writes.clone();
        tokio::spawn(async move {
            let update = "update api_tokens set last_used_at = clock_timestamp() where id = $1";
            if let Err(error) = sqlx::query(update).bind(id).execute(&writes).await {
                tracing::debug!(%error, "the use of a token could not be noted");
            }
        });
    }
}

/// A scope that is no longer known allows nothing.
fn parse(scopes: &[String]) -> impl Iterator<Item = Scope> {
    Scope::ALL.into_iter().filter(|scope| scopes.contains(&scope.to_string()))
}
