//! Rows that are read beside a checkpoint, in one statement, so that both are of one moment.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::positions::Reached;

/// How far the rows are, as `checkpoint_of` tells it.
pub(crate) fn reached(row: &PgRow) -> Result<Reached, sqlx::Error> {
    let position = |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(i64::cast_unsigned));
    Ok(Reached { position: position("checkpoint")?.unwrap_or(0), held_from: position("held_from")? })
}

/// The rows that are there, by their `key`, and how far they are.
pub(crate) fn present<T>(rows: &[PgRow], key: &str) -> Result<(Vec<T>, Reached), sqlx::Error>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if row.try_get::<Option<Uuid>, _>(key)?.is_some() {
            items.push(T::from_row(row)?);
        }
    }
    Ok((items, rows.first().map(reached).transpose()?.unwrap_or_default()))
}

/// The row that may be there, and how far it is.
pub(crate) fn one<T>(row: Option<&PgRow>) -> Result<(Option<T>, Reached), sqlx::Error>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let (mut rows, reached) = present(row.map(std::slice::from_ref).unwrap_or_default(), "id")?;
    Ok((rows.pop(), reached))
}
