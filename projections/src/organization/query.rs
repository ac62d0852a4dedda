//! How organisations are asked for. Every answer brings the checkpoint that its rows were read beside.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::organization::{Kind, MemberRole};
use domain::{Permissions, Resource};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::Organizations;
use crate::models::Models;
use crate::positions::{Reached, partition_of};
use crate::projection::Projection;
use crate::rows::{one, present};

/// An organisation, with what the reader is there.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs)] // the fields are those of the API
pub struct OrganizationRow {
    pub id: Uuid,
    pub name: String,
    pub kind: Kind,
    /// The roles that it defined itself.
    pub roles: BTreeMap<String, Permissions>,
    /// What the reader is there; nothing for who is not a member.
    pub role: Option<MemberRole>,
    pub version: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    joined: Option<i64>,
}

impl OrganizationRow {
    /// What the reader may do there; nothing for who is not a member.
    pub fn membership(&self) -> Option<Permissions> {
        self.role.as_ref().and_then(|role| role.permissions(&self.roles))
    }

    /// What the policy needs to know of it.
    pub fn resource(&self) -> Resource {
        Resource::Organization { membership: self.membership() }
    }
}

impl FromRow<'_, PgRow> for OrganizationRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let kind: &str = row.try_get("kind")?;
        let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
        let roles: Json<BTreeMap<String, Permissions>> = row.try_get("roles")?;
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            kind: known.ok_or_else(|| sqlx::Error::Decode(format!("`{kind}` is no kind").into()))?,
            roles: roles.0,
            role: row.try_get::<Option<String>, _>("role")?.map(MemberRole::from),
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            joined: row.try_get("joined")?,
        })
    }
}

/// The organisation as `reader` sees it, and the checkpoint of its partition.
///
/// # Errors
/// When the database does not answer.
pub async fn by_id(models: &Models, id: Uuid, reader: Uuid) -> Result<(Option<OrganizationRow>, Reached), sqlx::Error> {
    let row = sqlx::query(
        "select c.*, o.*, m.role, m.position as joined
         from checkpoint_of('organization', $2, $1) c
         left join organization.organizations o on o.id = $1
         left join organization.memberships m on m.organization_id = o.id and m.user_id = $3",
    )
    .bind(id)
    .bind(partition_of(id, Organizations::PARTITIONS))
    .bind(reader)
    .fetch_optional(models)
    .await?;
    one(row.as_ref())
}

/// Where the next page of somebody's organisations begins: those that were joined before this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipCursor(i64);

/// One page of organisations.
#[derive(Debug, Clone)]
pub struct OrganizationPage {
    /// The rows, the last joined first.
    pub items: Vec<OrganizationRow>,
    /// Where the next page begins, when there is one.
    pub next: Option<MembershipCursor>,
}

/// One page of the organisations that `user` belongs to, and the lowest checkpoint of all partitions.
///
/// # Errors
/// When the database does not answer.
pub async fn list_of(
    models: &Models,
    user: Uuid,
    after: Option<MembershipCursor>,
    limit: u32,
) -> Result<(OrganizationPage, Reached), sqlx::Error> {
    let rows = sqlx::query(
        "select c.*, o.*, m.role, m.joined
         from checkpoint_of('organization') c
         left join lateral (
             select organization_id, role, position as joined from organization.memberships
             where user_id = $1 and position < $2 order by position desc limit $3) m on true
         left join organization.organizations o on o.id = m.organization_id
         order by m.joined desc",
    )
    .bind(user)
    .bind(after.map_or(i64::MAX, |after| after.0))
    .bind(i64::from(limit) + 1)
    .fetch_all(models)
    .await?;
    let (mut items, reached) = present::<OrganizationRow>(&rows, "id")?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).and_then(|row| row.joined).map(MembershipCursor);
    Ok((OrganizationPage { items, next }, reached))
}

/// A member of an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs)] // the fields are those of the API
pub struct MemberRow {
    pub user_id: Uuid,
    pub role: MemberRole,
    pub joined_at: DateTime<Utc>,
    joined: i64,
}

impl FromRow<'_, PgRow> for MemberRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user_id: row.try_get("user_id")?,
            role: row.try_get::<String, _>("role")?.into(),
            joined_at: row.try_get("joined_at")?,
            joined: row.try_get("joined")?,
        })
    }
}

/// Where the next page of members begins: those who joined after this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCursor(i64);

/// One page of members.
#[derive(Debug, Clone)]
pub struct MemberPage {
    /// The rows, in the order in which they joined.
    pub items: Vec<MemberRow>,
    /// Where the next page begins, when there is one.
    pub next: Option<MemberCursor>,
}

/// One page of an organisation's members, and the checkpoint of its partition.
///
/// # Errors
/// When the database does not answer.
pub async fn members(
    models: &Models,
    id: Uuid,
    after: Option<MemberCursor>,
    limit: u32,
) -> Result<(MemberPage, Reached), sqlx::Error> {
    let rows = sqlx::query(
        "select c.*, m.*
         from checkpoint_of('organization', $2, $1) c
         left join lateral (
             select user_id, role, joined_at, position as joined from organization.members
             where organization_id = $1 and position > $3 order by position limit $4) m on true
         order by m.joined",
    )
    .bind(id)
    .bind(partition_of(id, Organizations::PARTITIONS))
    .bind(after.map_or(0, |after| after.0))
    .bind(i64::from(limit) + 1)
    .fetch_all(models)
    .await?;
    let (mut items, reached) = present::<MemberRow>(&rows, "user_id")?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|row| MemberCursor(row.joined));
    Ok((MemberPage { items, next }, reached))
}
