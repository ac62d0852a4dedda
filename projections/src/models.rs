//! The way to read models: connections whose role sees only the rows that row-level security shows to one reader.

use domain::{Actor, Role};
use event_store::Database;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};

/// The read models, as one reader sees them. Nothing else leads to their connections, so none is used without a reader.
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

    /// A connection on which the reader is known. Who had it before is not: what it knew is replaced.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn connection(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query(
            "select set_config('capitune.reader', $1, false), set_config('capitune.organization', $2, false),
                 set_config('capitune.roles', $3, false)",
        )
        .bind(self.reader.id.to_string())
        .bind(self.reader.organization.to_string())
        .bind(self.reader.roles.iter().map(name).collect::<Vec<_>>().join(","))
        .execute(&mut *connection)
        .await?;
        Ok(connection)
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
