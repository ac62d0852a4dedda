//! Rows that are read beside a checkpoint, in one statement, so that both are of one moment.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

/// The rows that are there, by their `key`, and the checkpoint beside them.
pub(crate) fn present<T>(rows: &[PgRow], key: &str) -> Result<(Vec<T>, u64), sqlx::Error>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let mut checkpoint = 0;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        checkpoint = row.try_get::<Option<i64>, _>("checkpoint")?.unwrap_or(0).cast_unsigned();
        if row.try_get::<Option<Uuid>, _>(key)?.is_some() {
            items.push(T::from_row(row)?);
        }
    }
    Ok((items, checkpoint))
}
