//! Who people are at other providers.

use chrono::{DateTime, Utc};
use event_store::{Database, StoreError, Vault};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

/// The identities of an instance.
#[derive(Clone)]
pub struct Identities {
    reads: PgPool,
    writes: PgPool,
}

/// One person at one provider.
#[derive(Debug, FromRow)]
pub struct Identity {
    /// Its id.
    pub id: Uuid,
    /// The provider.
    pub provider: String,
    /// When it was linked.
    pub created_at: DateTime<Utc>,
}

impl Identities {
    /// The identities in this database.
    pub fn new(database: &Database) -> Self {
        Self { reads: database.reads.clone(), writes: database.writes.clone() }
    }

    /// The account of somebody at a provider.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn account(&self, vault: &Vault, subject: &str) -> Result<Option<Uuid>, StoreError> {
        let account = sqlx::query_scalar("select account_id from identities where subject = $1");
        Ok(account.bind(hash(vault, subject).as_slice()).fetch_optional(&self.reads).await?)
    }

    /// Links an account; whether it is linked now. One person at a provider has one account, and an account one person
    /// at each provider.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn link(&self, vault: &Vault, account: Uuid, name: &str, subject: &str) -> Result<bool, StoreError> {
        let subject = hash(vault, subject);
        let insert = "insert into identities (id, account_id, provider, subject) values ($1, $2, $3, $4)
                      on conflict do nothing";
        sqlx::query(insert)
            .bind(Uuid::now_v7())
            .bind(account)
            .bind(name)
            .bind(subject.as_slice())
            .execute(&self.writes)
            .await?;
        let linked = "select exists (select from identities where account_id = $1 and subject = $2)";
        Ok(sqlx::query_scalar(linked).bind(account).bind(subject.as_slice()).fetch_one(&self.writes).await?)
    }

    /// The account's identities.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn of(&self, account: Uuid) -> Result<Vec<Identity>, StoreError> {
        let query = "select id, provider, created_at from identities where account_id = $1 order by created_at, id";
        Ok(sqlx::query_as(query).bind(account).fetch_all(&self.reads).await?)
    }

    /// Unlinks an identity of an account, unless it is the account's only way in; whether it is gone.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn unlink(&self, account: Uuid, id: Uuid) -> Result<bool, StoreError> {
        let delete = "delete from identities where id = $2 and account_id = $1
                      and (exists (select from credentials where account_id = $1)
                           or exists (select from identities where account_id = $1 and id <> $2))";
        Ok(sqlx::query(delete).bind(account).bind(id).execute(&self.writes).await?.rows_affected() > 0)
    }

    /// Forgets all identities of an account. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn forget(&self, account: Uuid) -> Result<(), StoreError> {
        sqlx::query("delete from identities where account_id = $1").bind(account).execute(&self.writes).await?;
        Ok(())
    }
}

fn hash(vault: &Vault, subject: &str) -> [u8; 32] {
    vault.keyed_hash("identity", subject.as_bytes())
}
