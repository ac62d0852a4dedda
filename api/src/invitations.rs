//! Invitations to organisations, as they are found by whom they are for: by a keyed hash of the address. The address
//! itself is sealed in the log by a key of the invitation's own, which is destroyed with it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use event_store::{StoreError, Vault};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::app::App;
use crate::auth::address_hash;
use crate::mail::Mailbox;

const LOOK_EVERY: Duration = Duration::from_secs(600);
/// Invitations that somebody is shown, at most.
const SHOWN: i64 = 100;

/// The invitations of an instance.
#[derive(Clone)]
pub struct Invitations {
    writes: PgPool,
    mailbox: Option<Mailbox>,
}

impl Invitations {
    /// The invitations in this database, whose messages are kept in `mailbox` when no server sends them.
    pub fn new(writes: PgPool, mailbox: Option<Mailbox>) -> Self {
        Self { writes, mailbox }
    }

    /// Makes the invitation's key, and lets it be found by whom it is for: before the event, which needs the key.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn prepare(
        &self,
        vault: &Vault,
        id: Uuid,
        organization: Uuid,
        email: &str,
        expires_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let insert = "insert into invitations (id, organization_id, address_hash, expires_at) values ($1, $2, $3, $4)";
        sqlx::query(insert)
            .bind(id)
            .bind(organization)
            .bind(address_hash(vault, email))
            .bind(expires_at)
            .execute(&self.writes)
            .await?;
        vault.create_key(id).await
    }

    /// The newest invitations for an address, each with its organisation.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn to(&self, vault: &Vault, email: &str) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
        let query = "select id, organization_id from invitations
                     where address_hash = $1 and expires_at > clock_timestamp() order by id desc limit $2";
        let found = sqlx::query_as(query).bind(address_hash(vault, email)).bind(SHOWN);
        Ok(found.fetch_all(&self.writes).await?)
    }

    /// The organisation of an invitation that stands.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn organization(&self, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        let query = "select organization_id from invitations where id = $1 and expires_at > clock_timestamp()";
        Ok(sqlx::query_scalar(query).bind(id).fetch_optional(&self.writes).await?)
    }

    /// Forgets whom an invitation was for, which is of no more use. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn forget(&self, vault: &Vault, id: Uuid) -> Result<(), StoreError> {
        vault.erase(id).await?;
        if let Some(mailbox) = &self.mailbox {
            mailbox.forget(id).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        // The hash stays for a while, by which messages to one address are counted.
        let end = "update invitations set expires_at = least(expires_at, clock_timestamp()) where id = $1";
        sqlx::query(end).bind(id).execute(&self.writes).await?;
        Ok(())
    }

    /// Forgets all invitations for an address, by its keyed hash.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn forget_all_to(&self, vault: &Vault, address_hash: &[u8]) -> Result<(), StoreError> {
        let query = sqlx::query_scalar("select id from invitations where address_hash = $1").bind(address_hash);
        self.forget_each(vault, query.fetch_all(&self.writes).await?).await
    }

    /// Forgets those that have expired, and deletes them an hour later.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn forget_expired(&self, vault: &Vault) -> Result<(), StoreError> {
        let expired = "select i.id from invitations i join person_keys k on k.person_id = i.id
                       where i.expires_at < clock_timestamp() and k.wrapped_key is not null";
        self.forget_each(vault, sqlx::query_scalar(expired).fetch_all(&self.writes).await?).await?;
        let old = "delete from invitations where expires_at < clock_timestamp() - interval '1 hour'";
        sqlx::query(old).execute(&self.writes).await?;
        Ok(())
    }

    async fn forget_each(&self, vault: &Vault, ids: Vec<Uuid>) -> Result<(), StoreError> {
        for id in ids {
            self.forget(vault, id).await?;
        }
        Ok(())
    }
}

/// Forgets, now and then, the invitations that have expired.
pub fn keep_forgetting(app: &App) {
    let (app, stop) = (app.clone(), app.stop().clone());
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(async move {
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = app.invitations().forget_expired(app.vault()).await {
                tracing::warn!(%error, "expired invitations could not be forgotten; trying again later");
            }
        }
    });
}
