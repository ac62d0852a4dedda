//! What stands in the catalogue and in the log, for those who compare and replace rows of any projection.

use sqlx::PgConnection;

/// A table with a primary key.
#[derive(sqlx::FromRow)]
pub(super) struct Table {
    pub(super) name: String,
    /// The columns of its key.
    pub(super) key: String,
    /// Those of them that are ids.
    pub(super) ids: Option<String>,
    /// All that can be written.
    pub(super) columns: String,
}

/// The tables of a schema.
pub(super) async fn tables(connection: &mut PgConnection, schema: &str) -> Result<Vec<Table>, sqlx::Error> {
    sqlx::query_as(TABLES).bind(schema).fetch_all(connection).await
}

const TABLES: &str = "
    select t.relname::text as name,
        string_agg(quote_ident(a.attname), ', ' order by array_position(i.indkey, a.attnum))
            filter (where a.attnum = any (i.indkey)) as key,
        string_agg(quote_ident(a.attname), ', ' order by a.attnum)
            filter (where a.attnum = any (i.indkey) and a.atttypid = 'uuid'::regtype) as ids,
        string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attgenerated = '') as columns
    from pg_class t join pg_namespace n on n.oid = t.relnamespace
    join pg_index i on i.indrelid = t.oid and i.indisprimary
    join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname = $1 and t.relkind = 'r' group by t.relname order by t.relname";

/// The types of aggregates in the log, which are few and found one after the other, for the query behind it.
pub(super) const TYPES: &str = "
    with recursive types as (
        select (select aggregate_type from public.events order by aggregate_type limit 1) as name
        union all
        select (select aggregate_type from public.events e where e.aggregate_type > types.name
                order by aggregate_type limit 1)
        from types where types.name is not null)";
