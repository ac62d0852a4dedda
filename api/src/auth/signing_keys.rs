//! The keys that access tokens are signed with: a new one every month, published before it is used, and good for
//! verifying until the last token that was signed with it has expired.

use std::time::Duration;

use chrono::{DateTime, Utc};
use event_store::StoreError;
use sqlx::PgPool;
use uuid::Uuid;

use super::jwt::LIFETIME;

/// How long a key signs.
const ACTIVE_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a key is published before it signs.
const AHEAD: Duration = Duration::from_secs(600);
/// What nodes that hear of it later may still sign with a key whose time is over.
const LAG: Duration = Duration::from_secs(300);
/// Orders those who make keys.
const LOCK: i64 = 0x0063_6170_6b65_7973;

/// A key by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct SigningKey {
    /// Its name, which it is derived from.
    pub id: Uuid,
    /// From when it signs.
    pub active_from: DateTime<Utc>,
}

impl SigningKey {
    /// Whether it is time to make its successor.
    pub fn is_due(&self) -> bool {
        let signed = Utc::now().signed_duration_since(self.active_from).to_std();
        signed.is_ok_and(|signed| signed + AHEAD > ACTIVE_FOR)
    }
}

/// When the next key is to take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// When the newest has signed for a month.
    WhenDue,
    /// Soon: everybody learns of it before.
    Soon,
    /// Now: the others were stolen, and what they signed is refused.
    Now,
}

/// The keys that verify at present, in the order in which they sign; the first key is made when there is none.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn load(writes: &PgPool) -> Result<Vec<SigningKey>, StoreError> {
    let keys = read(writes).await?;
    if !keys.is_empty() {
        return Ok(keys);
    }
    rotate(writes, Rotation::WhenDue).await?;
    read(writes).await
}

async fn read(writes: &PgPool) -> Result<Vec<SigningKey>, StoreError> {
    // A key whose successor has signed for the lifetime of a token has nothing left to verify.
    let keys = sqlx::query_as(
        "select id, active_from from (
             select *, lead(active_from) over (order by active_from, id) as until from signing_keys
             where revoked_at is null) as k
         where until is null or until > clock_timestamp() - make_interval(secs => $1)
         order by active_from, id",
    )
    .bind(f64::from(LIFETIME) + LAG.as_secs_f64());
    Ok(keys.fetch_all(writes).await?)
}

/// Makes the next key; whether there was one to make.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn rotate(writes: &PgPool, rotation: Rotation) -> Result<bool, StoreError> {
    let mut transaction = writes.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    if rotation == Rotation::Now {
        let revoke = "update signing_keys set revoked_at = clock_timestamp() where revoked_at is null";
        sqlx::query(revoke).execute(&mut *transaction).await?;
    }
    // The very first signs at once, as one does whose predecessors are gone.
    let made = sqlx::query(
        "insert into signing_keys (id, active_from)
         select $1, case when newest is null then clock_timestamp()
                    else clock_timestamp() + make_interval(secs => $2) end
         from (select max(active_from) as newest from signing_keys where revoked_at is null) as k
         where newest is null or $3 or newest < clock_timestamp() - make_interval(secs => $4)",
    )
    .bind(Uuid::now_v7())
    .bind(AHEAD.as_secs_f64())
    .bind(rotation == Rotation::Soon)
    .bind((ACTIVE_FOR - AHEAD).as_secs_f64())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(made.rows_affected() > 0)
}
