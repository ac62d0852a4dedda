//! Heads in the database.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::head::{KeyId, SignedHead, TreeHead};
use super::tree::Hash;
use crate::StoreError;

/// A signed head that a process had seen, and that the log lost in a fail-over to a standby that was behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostHead {
    /// The head.
    pub head: SignedHead,
    /// The last position up to which the log is known to be as that process had seen it.
    pub kept_to: u64,
    /// When that process noticed.
    pub noticed_at: DateTime<Utc>,
}

type Row = (i64, Vec<u8>, DateTime<Utc>, i64, Vec<u8>);

pub(crate) async fn last(connection: &mut PgConnection, origin: &str) -> Result<Option<SignedHead>, StoreError> {
    let last = "select size, root, signed_at, key_id, signature from audit_heads order by size desc limit 1";
    let row: Option<Row> = sqlx::query_as(last).fetch_optional(connection).await?;
    row.map(|row| head(origin, row)).transpose()
}

pub(crate) async fn all(connection: &mut PgConnection, origin: &str) -> Result<Vec<SignedHead>, StoreError> {
    let all = "select size, root, signed_at, key_id, signature from audit_heads order by size";
    let rows: Vec<Row> = sqlx::query_as(all).fetch_all(connection).await?;
    rows.into_iter().map(|row| head(origin, row)).collect()
}

pub(crate) async fn insert(connection: &mut PgConnection, signed: &SignedHead) -> Result<(), StoreError> {
    sqlx::query("insert into audit_heads (size, root, signed_at, key_id, signature) values ($1, $2, $3, $4, $5)")
        .bind(signed.head.size.cast_signed())
        .bind(signed.head.root.as_bytes().as_slice())
        .bind(signed.head.at)
        .bind(i64::from(signed.key_id.number()))
        .bind(signed.signature.as_slice())
        .execute(connection)
        .await?;
    Ok(())
}

/// Records a head that was seen and that the log no longer holds.
pub(crate) async fn insert_lost(pool: &PgPool, lost: &SignedHead, kept_to: u64) -> Result<(), StoreError> {
    sqlx::query(
        "insert into audit_lost_heads (size, root, signed_at, key_id, signature, kept_to)
         select $1, $2, $3, $4, $5, $6
         where not exists (select from audit_heads where size = $1 and root = $2)
         on conflict do nothing",
    )
    .bind(lost.head.size.cast_signed())
    .bind(lost.head.root.as_bytes().as_slice())
    .bind(lost.head.at)
    .bind(i64::from(lost.key_id.number()))
    .bind(lost.signature.as_slice())
    .bind(kept_to.cast_signed())
    .execute(pool)
    .await?;
    Ok(())
}

/// The heads that were lost, the oldest loss first.
pub(crate) async fn lost(connection: &mut PgConnection, origin: &str) -> Result<Vec<LostHead>, StoreError> {
    let lost = "select size, root, signed_at, key_id, signature, kept_to, noticed_at from audit_lost_heads
        order by noticed_at, size";
    type LostRow = (i64, Vec<u8>, DateTime<Utc>, i64, Vec<u8>, i64, DateTime<Utc>);
    let rows: Vec<LostRow> = sqlx::query_as(lost).fetch_all(connection).await?;
    let lost = |(size, root, at, key_id, signature, kept_to, noticed_at): LostRow| {
        let head = head(origin, (size, root, at, key_id, signature))?;
        Ok(LostHead { head, kept_to: kept_to.cast_unsigned(), noticed_at })
    };
    rows.into_iter().map(lost).collect()
}

fn head(origin: &str, row: Row) -> Result<SignedHead, StoreError> {
    let (size, root, at, key_id, signature) = row;
    let unreadable = || StoreError::Broken(format!("the head of {size} events cannot be read"));
    let root = Hash::from_slice(&root).ok_or_else(unreadable)?;
    let signature = signature.try_into().map_err(|_| unreadable())?;
    let key_id = KeyId::from_number(u32::try_from(key_id).map_err(|_| unreadable())?);
    let head = TreeHead { origin: origin.to_owned(), size: size.cast_unsigned(), root, at };
    Ok(SignedHead { head, key_id, signature })
}
