//! Sessions: one row per log-in, with the hash of the one refresh token that is good now.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::metadata::Client;
use event_store::{Database, StoreError, Vault};
use moka::future::Cache;
use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::types::Json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::opaque::{Kind, sealed, stream};
use crate::rate_limit::network;
use crate::sweep::keep_swept;

const CACHED: u64 = 100_000;
/// How long a process may go on with a session that another has ended.
const CACHED_FOR: Duration = Duration::from_secs(1);
/// Sessions that an account is shown, at most.
const SHOWN: i64 = 100;
const REFRESH: Kind = Kind { hash: "refresh", tag: "refresh.tag" };
/// What has ended is kept for a day, so that a token used twice is still noticed.
const ENDED: &str = "delete from sessions where id in (
    select id from sessions
    where expires_at < clock_timestamp() - interval '1 day' or revoked_at < clock_timestamp() - interval '1 day'
    limit 10000)";
/// How long ago a log-in may lie for what is sensitive, in seconds.
const FRESH: f64 = 600.0;

/// The sessions of an instance.
#[derive(Clone)]
pub struct Sessions {
    reads: PgPool,
    writes: PgPool,
    /// Whose each session is, and where it acts; nobody's once it has ended.
    live: Cache<Uuid, Option<Live>>,
}

/// A session that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Whose it is.
    pub account: Uuid,
    /// The organisation in which it acts; that of the account when there is none.
    pub organization: Option<Uuid>,
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

/// A session as its account sees it.
#[derive(Debug)]
pub struct ActiveSession {
    /// Its id.
    pub id: Uuid,
    /// Where it was begun, as far as that is known.
    pub client: Option<Client>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When it was used last, to the minute.
    pub last_used_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}

type Row = (Uuid, Option<Json<Box<RawValue>>>, DateTime<Utc>, DateTime<Utc>, DateTime<Utc>);

impl Sessions {
    /// The sessions in this database.
    pub fn new(database: &Database) -> Self {
        let live = Cache::builder().max_capacity(CACHED).time_to_live(CACHED_FOR).build();
        Self { reads: database.reads.clone(), writes: database.writes.clone(), live }
    }

    /// Begins a session, which lives 30 days, and acts in the account's own organisation.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn begin(&self, vault: &Vault, account: Uuid, client: Option<&Client>) -> Result<Session, StoreError> {
        self.begin_in(vault, account, None, client).await
    }

    /// Begins a session that acts in this organisation.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn begin_in(
        &self,
        vault: &Vault,
        account: Uuid,
        organization: Option<Uuid>,
        client: Option<&Client>,
    ) -> Result<Session, StoreError> {
        let id = Uuid::now_v7();
        let refresh_token = REFRESH.issue(vault, id)?;
        let network = network_hash(vault, account, client);
        let client = match client {
            Some(client) => Some(sealed(vault, account, client).await?),
            None => None,
        };
        sqlx::query(
            "insert into sessions (id, account_id, refresh_hash, expires_at, client, network, organization_id)
             values ($1, $2, $3, clock_timestamp() + interval '30 days', $4::json, $5, $6)",
        )
        .bind(id)
        .bind(account)
        .bind(REFRESH.hash(vault, &refresh_token))
        .bind(client)
        .bind(network.as_slice())
        .bind(organization)
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
        let Some(id) = REFRESH.id_of(vault, token) else { return Ok(None) };
        let successor = REFRESH.issue(vault, id)?;
        let account: Option<Uuid> = sqlx::query_scalar(
            "update sessions set refresh_hash = $3
             where id = $1 and refresh_hash = $2 and revoked_at is null and expires_at > clock_timestamp()
             returning account_id",
        )
        .bind(id)
        .bind(REFRESH.hash(vault, token))
        .bind(REFRESH.hash(vault, &successor))
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

    /// Lets a session act in another organisation, or in the account's own: in every process once this returns.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn act_in(&self, id: Uuid, organization: Option<Uuid>) -> Result<(), StoreError> {
        let update = "update sessions set organization_id = $2 where id = $1";
        sqlx::query(update).bind(id).bind(organization).execute(&self.writes).await?;
        self.live.invalidate(&id).await;
        // Others may go on with what they knew, and nothing must end up where its author no longer acts.
        tokio::time::sleep(CACHED_FOR).await;
        Ok(())
    }

    /// The sessions of an account that go on: the newest hundred.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer, or when a key does not open what it should.
    pub async fn of(&self, vault: &Vault, account: Uuid) -> Result<Vec<ActiveSession>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "select id, client, created_at, last_used_at, expires_at from sessions
             where account_id = $1 and revoked_at is null and expires_at > clock_timestamp()
             order by created_at desc, id desc limit $2",
        )
        .bind(account)
        .bind(SHOWN)
        .fetch_all(&self.reads)
        .await?;
        let sealed: Vec<_> = rows.iter().map(|row| (stream(account), &row.1)).collect();
        let clients: Vec<Option<Client>> = vault.reveal_as(&sealed).await?;
        let sessions = rows.into_iter().zip(clients);
        Ok(sessions
            .map(|((id, _, created_at, last_used_at, expires_at), client)| ActiveSession {
                id,
                client,
                created_at,
                last_used_at,
                expires_at,
            })
            .collect())
    }

    /// Ends a session of an account; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn end_one_of(&self, account: Uuid, id: Uuid) -> Result<bool, StoreError> {
        let ended = sqlx::query(
            "update sessions set revoked_at = clock_timestamp()
             where id = $1 and account_id = $2 and revoked_at is null and expires_at > clock_timestamp()",
        )
        .bind(id)
        .bind(account)
        .execute(&self.writes)
        .await?;
        self.live.invalidate(&id).await;
        Ok(ended.rows_affected() > 0)
    }

    /// Ends every session of an account.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn end_all(&self, account: Uuid) -> Result<(), StoreError> {
        self.end_all_but(account, Uuid::nil()).await
    }

    /// Ends every session of an account but one.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn end_all_but(&self, account: Uuid, kept: Uuid) -> Result<(), StoreError> {
        let ended: Vec<Uuid> = sqlx::query_scalar(
            "update sessions set revoked_at = clock_timestamp()
             where account_id = $1 and id <> $2 and revoked_at is null
             returning id",
        )
        .bind(account)
        .bind(kept)
        .fetch_all(&self.writes)
        .await?;
        for id in ended {
            self.live.invalidate(&id).await;
        }
        Ok(())
    }

    /// Whether a session was begun so lately that its owner need not prove again who they are.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn is_fresh(&self, id: Uuid) -> Result<bool, StoreError> {
        let fresh: Option<bool> = sqlx::query_scalar(
            "select created_at > clock_timestamp() - make_interval(secs => $2) from sessions where id = $1",
        )
        .bind(id)
        .bind(FRESH)
        .fetch_optional(&self.reads)
        .await?;
        Ok(fresh.unwrap_or(false))
    }

    /// Whether the account logged in from this network lately.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn knows_network(
        &self,
        vault: &Vault,
        account: Uuid,
        client: Option<&Client>,
    ) -> Result<bool, StoreError> {
        let network = network_hash(vault, account, client);
        let known = sqlx::query_scalar("select exists (select from sessions where account_id = $1 and network = $2)")
            .bind(account)
            .bind(network.as_slice());
        Ok(known.fetch_one(&self.reads).await?)
    }

    /// Deletes, now and then until `stop`, the sessions that have ended.
    pub fn keep_swept(&self, stop: CancellationToken) {
        keep_swept(self.writes.clone(), "sessions", ENDED, stop);
    }

    /// No request waits for it, and none fails when it does.
    fn note_use(&self, id: Uuid) {
        let writes = self.writes.clone();
        tokio::spawn(async move {
            let update = "update sessions set last_used_at = clock_timestamp()
                          where id = $1 and last_used_at < clock_timestamp() - interval '1 minute'";
            if let Err(error) = sqlx::query(update).bind(id).execute(&writes).await {
                tracing::debug!(%error, "the use of a session could not be noted");
            }
        });
    }

    /// Whose session this is and where it acts, while it goes on, as of a second ago at most.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn live(&self, id: Uuid) -> Result<Option<Live>, Arc<StoreError>> {
        let read = async {
            let live: Option<(Uuid, Option<Uuid>, bool)> = sqlx::query_as(
                "select account_id, organization_id, last_used_at < clock_timestamp() - interval '1 minute'
                 from sessions where id = $1 and revoked_at is null and expires_at > clock_timestamp()",
            )
            .bind(id)
            .fetch_optional(&self.reads)
            .await?;
            if let Some((.., true)) = live {
                self.note_use(id);
            }
            Ok::<_, StoreError>(live.map(|(account, organization, _)| Live { account, organization }))
        };
        self.live.try_get_with(id, read).await
    }
}

/// By what an account and the network of one of its log-ins are known again.
fn network_hash(vault: &Vault, account: Uuid, client: Option<&Client>) -> [u8; 32] {
    vault.keyed_hash("session.network", format!("{account} {}", network_of(client)).as_bytes())
}

/// The network that a request comes from; the same for all whose address is not known.
pub fn network_of(client: Option<&Client>) -> String {
    let address = client.and_then(|client| client.address.parse().ok());
    address.map_or_else(String::new, |address| network(address).to_string())
}
