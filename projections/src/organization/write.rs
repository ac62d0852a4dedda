//! How facts change the rows. They are few: one at a time is soon enough.

use chrono::SubsecRound;
use domain::organization::{MemberRole, OrganizationEvent};
use domain::{EventEnvelope, Permissions};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::error::ProjectionError;
use crate::projection::Recorded;

/// The two tables that say who belongs where.
const MEMBERS: [&str; 2] = ["members", "memberships"];

pub(super) async fn apply(
    recorded: &Recorded<OrganizationEvent>,
    connection: &mut PgConnection,
) -> Result<(), ProjectionError> {
    let Recorded { envelope, event } = recorded;
    advance(envelope, event, connection).await?;
    match event {
        OrganizationEvent::Created { by, .. } => join(envelope, event, *by, &MemberRole::Admin, connection).await?,
        OrganizationEvent::Edited { name, kind, .. } => {
            sqlx::query("update organizations set name = coalesce($2, name), kind = coalesce($3, kind) where id = $1")
                .bind(envelope.aggregate_id)
                .bind(name.as_ref().map(|change| &change.to))
                .bind(kind.as_ref().map(|change| change.to.as_str()))
                .execute(connection)
                .await?;
        }
        OrganizationEvent::MemberJoined { user, role, .. } => join(envelope, event, *user, role, connection).await?,
        OrganizationEvent::MemberRoleChanged { user, to, .. } => {
            for table in MEMBERS {
                let update = format!("update {table} set role = $3 where organization_id = $1 and user_id = $2");
                let update = sqlx::query(&update).bind(envelope.aggregate_id).bind(user).bind(to.as_str());
                update.execute(&mut *connection).await?;
            }
        }
        OrganizationEvent::MemberRemoved { user, .. } | OrganizationEvent::MemberLeft { user, .. } => {
            for table in MEMBERS {
                let delete = format!("delete from {table} where organization_id = $1 and user_id = $2");
                sqlx::query(&delete).bind(envelope.aggregate_id).bind(user).execute(&mut *connection).await?;
            }
        }
        OrganizationEvent::RoleDefined { role, permissions, .. } => {
            define(envelope, role, *permissions, connection).await?;
        }
        OrganizationEvent::RoleRedefined { role, permissions, .. } => {
            define(envelope, role, permissions.to, connection).await?;
        }
        OrganizationEvent::RoleDeleted { role, .. } => {
            sqlx::query("update organizations set roles = roles - $2 where id = $1")
                .bind(envelope.aggregate_id)
                .bind(role)
                .execute(connection)
                .await?;
        }
        // Who was invited is nobody else's to see: the log knows.
        OrganizationEvent::MemberInvited { .. }
        | OrganizationEvent::InvitationRevoked { .. }
        | OrganizationEvent::InvitationDeclined { .. } => {}
    }
    Ok(())
}

/// The organisation at the version of the event, made by the event that made it.
async fn advance(
    envelope: &EventEnvelope,
    event: &OrganizationEvent,
    connection: &mut PgConnection,
) -> Result<(), ProjectionError> {
    let advance = match event {
        OrganizationEvent::Created { name, kind, .. } => sqlx::query(
            "insert into organizations (id, version, created_at, updated_at, name, kind)
             values ($1, $2, $3, $3, $4, $5)",
        )
        .bind(envelope.aggregate_id)
        .bind(envelope.version.cast_signed())
        .bind(event.at().trunc_subsecs(6))
        .bind(name)
        .bind(kind.as_str()),
        _ => sqlx::query("update organizations set version = $2, updated_at = $3 where id = $1 and version < $2")
            .bind(envelope.aggregate_id)
            .bind(envelope.version.cast_signed())
            .bind(event.at().trunc_subsecs(6)),
    };
    if advance.execute(connection).await?.rows_affected() == 1 {
        return Ok(());
    }
    let (position, version) = (envelope.position, envelope.version);
    Err(ProjectionError::Poison(format!("position {position}: version {version} of an organisation does not follow")))
}

async fn join(
    envelope: &EventEnvelope,
    event: &OrganizationEvent,
    user: Uuid,
    role: &MemberRole,
    connection: &mut PgConnection,
) -> Result<(), ProjectionError> {
    sqlx::query(
        "with member as (
             insert into members (organization_id, user_id, role, position, joined_at) values ($1, $2, $3, $4, $5))
         insert into memberships (organization_id, user_id, role, position) values ($1, $2, $3, $4)",
    )
    .bind(envelope.aggregate_id)
    .bind(user)
    .bind(role.as_str())
    .bind(envelope.position.cast_signed())
    .bind(event.at().trunc_subsecs(6))
    .execute(connection)
    .await?;
    Ok(())
}

async fn define(
    envelope: &EventEnvelope,
    role: &str,
    permissions: Permissions,
    connection: &mut PgConnection,
) -> Result<(), ProjectionError> {
    sqlx::query("update organizations set roles = roles || jsonb_build_object($2::text, $3::jsonb) where id = $1")
        .bind(envelope.aggregate_id)
        .bind(role)
        .bind(Json(permissions))
        .execute(connection)
        .await?;
    Ok(())
}
