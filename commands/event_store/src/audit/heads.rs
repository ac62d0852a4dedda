//! Heads in the database.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::head::{KeyId, SignedHead, TreeHead};
use super::tree::Hash;
use crate::StoreError;

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

fn head(origin: &str, row: Row) -> Result<SignedHead, StoreError> {
    let (size, root, at, key_id, signature) = row;
    let unreadable = || StoreError::Broken(format!("the head of {size} events cannot be read"));
    let root = Hash::from_slice(&root).ok_or_else(unreadable)?;
    let signature = signature.try_into().map_err(|_| unreadable())?;
    let key_id = KeyId::from_number(u32::try_from(key_id).map_err(|_| unreadable())?);
    let head = TreeHead { origin: origin.to_owned(), size: size.cast_unsigned(), root, at };
    Ok(SignedHead { head, key_id, signature })
}
