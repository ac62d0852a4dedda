//! The way to read models: connections whose role sees only the rows that row-level security shows to one reader.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use domain::{Actor, Role};
use event_store::Database;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use sqlx::postgres::{PgArguments, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Arguments, Describe, Either, Error, Execute, Executor, PgPool, Postgres};

/// The read models, as one reader sees them. Nothing else leads to their connections, so none is used without a reader.
///
/// It is asked as a pool is, one query at a time: each tells the database in its own statement who reads, and the
/// database forgets that with the statement's end, so that nothing is left on the connection for whoever has it next.
#[derive(Debug, Clone)]
pub struct Models {
    pool: PgPool,
    reader: Actor,
}

impl Models {
    /// The read models in this database, for `reader`.
    pub fn new(database: &Database, reader: &Actor) -> Self {
        Self { pool: database.models.clone(), reader: *reader }
    }

    /// The same by a connection of their own, which may take its time: for all rows of a table.
    pub fn apart(database: &Database, reader: &Actor) -> Self {
        let options = database.models.connect_options().as_ref().clone().options([("statement_timeout", "1h")]);
        Self { pool: PgPoolOptions::new().max_connections(1).connect_lazy_with(options), reader: *reader }
    }

    /// The query with its reader.
    fn ask<'q>(&self, mut query: impl Execute<'q, Postgres>) -> Result<(&'static str, PgArguments), Error> {
        let mut arguments = query.take_arguments().map_err(Error::Encode)?.unwrap_or_default();
        let sql = told(query.sql(), arguments.len());
        let roles = self.reader.roles.iter().map(name).collect::<Vec<_>>().join(",");
        for setting in [self.reader.id.to_string(), self.reader.organization.to_string(), roles] {
            arguments.add(setting).map_err(Error::Encode)?;
        }
        Ok((sql, arguments))
    }
}

/// A query that tells its reader by the three parameters after its own. What it tells comes first, because the query
/// itself depends on it; were it otherwise, there would be no reader, and no rows.
///
/// Queries are few and built from constants, so that each is kept for good.
fn told(sql: &str, parameters: usize) -> &'static str {
    static TOLD: LazyLock<RwLock<HashMap<String, &'static str>>> = LazyLock::new(RwLock::default);
    if let Some(told) = TOLD.read().unwrap_or_else(PoisonError::into_inner).get(sql) {
        return told;
    }
    let [reader, organization, roles] = [1, 2, 3].map(|place| parameters + place);
    let told = format!(
        "with reader as materialized (
             select set_config('capitune.reader', ${reader}, true) as told,
                 set_config('capitune.organization', ${organization}, true),
                 set_config('capitune.roles', ${roles}, true))
         select answer.* from reader
         cross join lateral (select * from ({sql}) query where reader.told is not null offset 0) answer"
    );
    let mut known = TOLD.write().unwrap_or_else(PoisonError::into_inner);
    known.entry(sql.to_owned()).or_insert_with(|| Box::leak(told.into_boxed_str()))
}

impl<'c> Executor<'c> for &Models {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        match self.ask(query) {
            Ok((sql, arguments)) => self.pool.fetch_many(sqlx::query_with(sql, arguments)),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        match self.ask(query) {
            Ok((sql, arguments)) => self.pool.fetch_optional(sqlx::query_with(sql, arguments)),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    fn prepare_with<'e, 'q: 'e>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement<'q>, Error>>
    where
        'c: 'e,
    {
        self.pool.prepare_with(sql, parameters)
    }

    fn describe<'e, 'q: 'e>(self, sql: &'q str) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        self.pool.describe(sql)
    }
}

/// As the policies write it.
fn name(role: Role) -> &'static str {
    match role {
        Role::Applicant => "applicant",
        Role::Pro => "pro",
        Role::Auditor => "auditor",
        Role::Analyst => "analyst",
        Role::Moderator => "moderator",
        Role::Organizer => "organizer",
        Role::Admin => "admin",
    }
}
