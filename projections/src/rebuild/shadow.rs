//! The shadow of a schema: the same tables, empty, that are filled while the live ones are read.

use sqlx::{Connection, Executor, PgConnection};

/// A live schema and the name of its shadow.
pub(super) struct Shadow {
    pub(super) live: &'static str,
    pub(super) name: String,
}

impl Shadow {
    pub(super) fn named(live: &'static str, suffix: &str) -> Self {
        Self { live, name: format!("{live}_{suffix}") }
    }

    /// The name under which replaced rows wait for their last readers.
    pub(super) fn retired(&self) -> String {
        format!("{}_retired", self.live)
    }

    /// Copies the tables of the live schema, empty, with their keys.
    pub(super) async fn create(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin().await?;
        transaction.execute(format!("create schema {}", self.name).as_str()).await?;
        self.make(&[TABLES, KEYS], &mut transaction).await?;
        transaction.commit().await
    }

    /// Makes the rest, once the rows are there: secondary indexes, privileges and policies.
    pub(super) async fn finish(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin().await?;
        let finished = "select exists (select from pg_policies where schemaname = $1)";
        if !sqlx::query_scalar(finished).bind(&self.name).fetch_one(&mut *transaction).await? {
            self.make(&[INDEXES, ACCESS], &mut transaction).await?;
        }
        transaction.commit().await
    }

    async fn make(&self, parts: &[&str], connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for part in parts {
            for statement in self.statements(part, connection).await? {
                connection.execute(statement.as_str()).await?;
            }
        }
        Ok(())
    }

    async fn statements(&self, query: &str, connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(query).bind(self.live).bind(&self.name).fetch_all(connection).await
    }
}

/// Removes a schema with all that is in it, if it is there.
pub(super) async fn drop_schema(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let drop = format!("set client_min_messages = warning; drop schema if exists {schema} cascade");
    connection.execute(drop.as_str()).await?;
    Ok(())
}

// Each query writes the statements that make in the schema $2 what stands in the schema $1.

const TABLES: &str = "
    select format('create table %I.%I (like %I.%I including all excluding indexes)%s', $2::text, c.relname,
                  $1::text, c.relname, ' with (' || array_to_string(c.reloptions, ', ') || ')')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relkind = 'r' order by c.relname";

const KEYS: &str = "
    select format('alter table %I.%I add %s', $2::text, t.relname, pg_get_constraintdef(c.oid))
    from pg_constraint c join pg_class t on t.oid = c.conrelid join pg_namespace n on n.oid = t.relnamespace
    where n.nspname = $1 and c.contype in ('p', 'u') order by t.relname";

const INDEXES: &str = "
    select regexp_replace(pg_get_indexdef(i.indexrelid), format(' ON %I\\.', $1::text), format(' ON %I.', $2::text))
    from pg_index i join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace
    where n.nspname = $1 and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
    order by i.indexrelid";

const ACCESS: &str = "
    select format('grant %s on schema %I to %s', a.privilege_type, $2::text, to_whom.role)
    from pg_namespace n, aclexplode(n.nspacl) a,
         lateral (select case a.grantee when 0 then 'public' else a.grantee::regrole::text end as role) to_whom
    where n.nspname = $1 and a.grantee <> n.nspowner
    union all
    select format('grant %s on %I.%I to %s', a.privilege_type, $2::text, c.relname, to_whom.role)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a,
         lateral (select case a.grantee when 0 then 'public' else a.grantee::regrole::text end as role) to_whom
    where n.nspname = $1 and c.relkind = 'r' and a.grantee <> c.relowner
    union all
    select format('create policy %I on %I.%I as %s for %s to %s%s%s', p.policyname, $2::text, p.tablename,
                  p.permissive, p.cmd, (select string_agg(quote_ident(role), ', ') from unnest(p.roles) as role), ' using (' || p.qual || ')',
                  ' with check (' || p.with_check || ')')
    from pg_policies p where p.schemaname = $1
    union all
    select format('alter table %I.%I enable row level security%s', $2::text, c.relname,
                  case when c.relforcerowsecurity then ', force row level security' else '' end)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relkind = 'r' and c.relrowsecurity";
