//! The account's read model: who has an account, for their own page, for public cards and for the admin.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};
use domain::account::{Account, AccountEvent, Locale};
use domain::envelope::DecodeError;
use domain::{EventEnvelope, Personal, Role, Roles};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, QueryBuilder, Row};
use uuid::Uuid;

use crate::error::ProjectionError;
use crate::models::Models;
use crate::positions::{Reached, partition_of};
use crate::projection::{Applying, Projection, Recorded};
use crate::rows::{one, present};

const COLUMNS: &str =
    "id, organization_id, email, name, locale, roles, avatar, status, version, created_at, updated_at";

/// The projection that keeps `account.accounts`.
pub struct Accounts;

/// An account as the API shows it; serialised, its personal values are still sealed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs)] // the fields are those of the API
pub struct AccountRow {
    pub id: Uuid,
    pub organization_id: Uuid,
    pub email: Personal<String>,
    pub name: Personal<String>,
    pub locale: Locale,
    pub roles: Roles,
    /// Whether it shows a picture.
    #[serde(skip)]
    pub avatar: bool,
    pub status: AccountStatus,
    pub version: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Whether an account may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// It may.
    Active,
    /// An admin shut it out.
    Suspended,
    /// Its person is forgotten.
    Erased,
}

impl AccountStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Erased => "erased",
        }
    }
}

impl AccountRow {
    fn registered(envelope: &EventEnvelope, event: &AccountEvent) -> Option<Self> {
        let AccountEvent::Registered { organization, email, name, locale, roles, at } = event else { return None };
        Some(Self {
            id: envelope.aggregate_id,
            organization_id: *organization,
            email: email.clone(),
            name: name.clone(),
            locale: *locale,
            roles: *roles,
            avatar: false,
            status: AccountStatus::Active,
            version: 1,
            created_at: at.trunc_subsecs(6),
            updated_at: at.trunc_subsecs(6),
        })
    }

    fn apply(&mut self, envelope: &EventEnvelope, event: &AccountEvent) {
        self.version = envelope.version;
        self.updated_at = event.at().trunc_subsecs(6);
        match event {
            AccountEvent::ProfileEdited { name, locale, .. } => {
                if let Some(change) = name {
                    self.name = change.to.clone();
                }
                if let Some(change) = locale {
                    self.locale = change.to;
                }
            }
            AccountEvent::AddressChanged { to, .. } => self.email = to.clone(),
            AccountEvent::RolesChanged { to, .. } => self.roles = *to,
            AccountEvent::Suspended { .. } => self.status = AccountStatus::Suspended,
            AccountEvent::Reactivated { .. } => self.status = AccountStatus::Active,
            AccountEvent::Erased { .. } => self.status = AccountStatus::Erased,
            AccountEvent::AvatarChanged { .. } => self.avatar = true,
            AccountEvent::AvatarRemoved { .. } => self.avatar = false,
            AccountEvent::Registered { .. }
            | AccountEvent::AddressRequested { .. }
            | AccountEvent::VerificationRequested { .. }
            | AccountEvent::AddressVerified { .. }
            | AccountEvent::AddressReused { .. }
            | AccountEvent::PasswordChanged { .. }
            | AccountEvent::PasswordResetRequested { .. }
            | AccountEvent::PasswordReset { .. }
            | AccountEvent::TotpEnabled { .. }
            | AccountEvent::TotpDisabled { .. }
            | AccountEvent::ApiTokenIssued { .. }
            | AccountEvent::ApiTokenRevoked { .. }
            | AccountEvent::ErasureRequested { .. }
            | AccountEvent::ErasureWithdrawn { .. } => {}
        }
    }
}

impl Projection for Accounts {
    const NAME: &'static str = "account";
    const VERSION: i32 = 1;
    const PARTITIONS: i32 = 4;
    const SCHEMA: &'static str = "account";
    type Event = AccountEvent;

    fn interested(event: &EventEnvelope) -> bool {
        event.is::<Account>()
    }

    fn decode(event: &EventEnvelope) -> Result<AccountEvent, DecodeError> {
        event.decode::<Account>()
    }

    fn apply<'a>(batch: &'a [Recorded<AccountEvent>], connection: &'a mut PgConnection) -> Applying<'a> {
        Box::pin(apply(batch, connection))
    }
}

async fn apply(batch: &[Recorded<AccountEvent>], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let known: BTreeSet<Uuid> = batch.iter().map(|recorded| recorded.envelope.aggregate_id).collect();
    let known: Vec<AccountRow> = sqlx::query_as(&format!("select {COLUMNS} from accounts where id = any($1)"))
        .bind(known.into_iter().collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
    let mut rows: BTreeMap<Uuid, AccountRow> = known.into_iter().map(|row| (row.id, row)).collect();
    for Recorded { envelope, event } in batch {
        let row = rows.get_mut(&envelope.aggregate_id);
        let version = row.as_ref().map_or(0, |row| row.version);
        let misplaced = || {
            let (position, found) = (envelope.position, envelope.version);
            ProjectionError::Poison(format!("position {position}: version {found} of an account at {version}"))
        };
        if envelope.version <= version {
            return Err(misplaced());
        }
        match row {
            Some(row) => row.apply(envelope, event),
            None => {
                let row = AccountRow::registered(envelope, event).ok_or_else(misplaced)?;
                rows.insert(row.id, row);
            }
        }
    }
    upsert(rows.into_values().collect(), connection).await
}

fn name_of(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Writes the rows, sorted by id.
async fn upsert(rows: Vec<AccountRow>, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    const UPSERT: &str = "
        insert into accounts (id, organization_id, email, name, locale, roles, status, version, created_at, updated_at,
            avatar)
        select id, organization_id, email::json, name::json, locale, string_to_array(roles, ','), status, version,
            created_at, updated_at, avatar
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
            $9::timestamptz[], $10::timestamptz[], $11::boolean[])
            as u (id, organization_id, email, name, locale, roles, status, version, created_at, updated_at, avatar)
        on conflict (id) do update set
            email = excluded.email, name = excluded.name, locale = excluded.locale, roles = excluded.roles,
            avatar = excluded.avatar, status = excluded.status, version = excluded.version, updated_at = excluded.updated_at";
    let sealed = |column: fn(&AccountRow) -> &Personal<String>| {
        let json = rows.iter().map(|row| serde_json::to_string(column(row)));
        json.collect::<Result<Vec<_>, _>>().map_err(|_| ProjectionError::Poison("a value is not JSON".to_owned()))
    };
    let roles = |row: &AccountRow| row.roles.iter().map(name_of).collect::<Vec<_>>().join(",");
    sqlx::query(UPSERT)
        .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.organization_id).collect::<Vec<_>>())
        .bind(sealed(|row| &row.email)?)
        .bind(sealed(|row| &row.name)?)
        .bind(rows.iter().map(|row| name_of(row.locale)).collect::<Vec<_>>())
        .bind(rows.iter().map(roles).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.status.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.version.cast_signed()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.created_at).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.updated_at).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.avatar).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

fn named<T: serde::de::DeserializeOwned>(name: String) -> Result<T, sqlx::Error> {
    serde_json::from_value(Value::String(name)).map_err(|error| sqlx::Error::Decode(error.into()))
}

impl FromRow<'_, PgRow> for AccountRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let email: Json<_> = row.try_get("email")?;
        let name: Json<_> = row.try_get("name")?;
        let roles: Vec<String> = row.try_get("roles")?;
        Ok(Self {
            id: row.try_get("id")?,
            organization_id: row.try_get("organization_id")?,
            email: email.0,
            name: name.0,
            locale: named(row.try_get("locale")?)?,
            roles: roles.into_iter().map(named::<Role>).collect::<Result<_, _>>()?,
            avatar: row.try_get("avatar")?,
            status: named(row.try_get("status")?)?,
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// The account, and the checkpoint of its partition.
///
/// # Errors
/// When the database does not answer.
pub async fn by_id(models: &Models, id: Uuid) -> Result<(Option<AccountRow>, Reached), sqlx::Error> {
    let row = sqlx::query(
        "select c.*, a.* from checkpoint_of('account', $2, $1) c
         left join account.accounts a on a.id = $1",
    )
    .bind(id)
    .bind(partition_of(id, Accounts::PARTITIONS))
    .fetch_optional(models)
    .await?;
    one(row.as_ref())
}

/// The sealed names of those of `ids` that have an account, for cards.
///
/// # Errors
/// When the database does not answer.
pub async fn names(models: &Models, ids: &[Uuid]) -> Result<BTreeMap<Uuid, Personal<String>>, sqlx::Error> {
    let rows: Vec<(Uuid, Json<Personal<String>>)> =
        sqlx::query_as("select id, name from account.accounts where id = any($1)").bind(ids).fetch_all(models).await?;
    Ok(rows.into_iter().map(|(id, name)| (id, name.0)).collect())
}

/// Where the next page of accounts begins: after the last row of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountCursor {
    /// When the last row was created.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// One page of accounts.
#[derive(Debug, Clone)]
pub struct AccountPage {
    /// The rows, the newest first.
    pub items: Vec<AccountRow>,
    /// Where the next page begins, when there is one.
    pub next: Option<AccountCursor>,
}

/// One page of all accounts, the newest first, and the lowest checkpoint of all partitions.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    models: &Models,
    after: Option<AccountCursor>,
    limit: u32,
) -> Result<(AccountPage, Reached), sqlx::Error> {
    let mut query = QueryBuilder::new(
        "select c.*, a.* from checkpoint_of('account') c
         left join lateral (select * from account.accounts",
    );
    if let Some(after) = after {
        query.push(" where (created_at, id) < (").push_bind(after.created_at);
        query.push(", ").push_bind(after.id).push(")");
    }
    query.push(" order by created_at desc, id desc limit ").push_bind(i64::from(limit) + 1);
    query.push(") a on true order by a.created_at desc, a.id desc");
    let rows = query.build().fetch_all(models).await?;
    let (mut items, reached) = present::<AccountRow>(&rows, "id")?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().filter(|_| more);
    let next = last.map(|row| AccountCursor { created_at: row.created_at, id: row.id });
    Ok((AccountPage { items, next }, reached))
}
