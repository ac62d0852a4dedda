//! Reads what was recorded, the newest first.

use chrono::{DateTime, Utc};
use domain::metadata::Client;
use event_store::{StoreError, Vault};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::AccessAction;
use crate::auth::stream;

/// Which accesses to show.
#[derive(Debug, Default, Serialize)]
pub struct AccessFilter {
    pub account: Option<Uuid>,
    pub actor: Option<Uuid>,
    pub resource: Option<Uuid>,
    pub action: Option<AccessAction>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

/// Where the next page begins: after the last row of this one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AccessCursor(pub Uuid);

/// An access, as it was recorded.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Access)]
pub struct RecordedAccess {
    /// Its id, in the order of time.
    pub id: Uuid,
    at: DateTime<Utc>,
    action: String,
    /// The person concerned.
    account_id: Option<Uuid>,
    /// Who did it, when that was proved.
    actor_id: Option<Uuid>,
    resource_type: Option<String>,
    resource_id: Option<Uuid>,
    /// The code of the problem that it was refused with; null when it was done.
    refusal: Option<String>,
    /// What else there is to say.
    #[schema(value_type = Option<Object>)]
    detail: Option<Value>,
    /// The address that it came from; null once the person was erased.
    address: Option<String>,
    /// The user agent that it came from.
    device: Option<String>,
    request_id: String,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    at: DateTime<Utc>,
    action: String,
    account_id: Option<Uuid>,
    actor_id: Option<Uuid>,
    resource_type: Option<String>,
    resource_id: Option<Uuid>,
    refusal: Option<String>,
    detail: Option<Json<Value>>,
    client: Option<Json<Box<RawValue>>>,
    request_id: String,
}

impl RecordedAccess {
    /// Leaves out where it came from, unless this account did it.
    pub fn hide_from(&mut self, account: Uuid) {
        if self.actor_id.is_some_and(|actor| actor != account) {
            (self.address, self.device) = (None, None);
        }
    }
}

/// Up to `limit` accesses before `after`, the newest first.
///
/// # Errors
/// [`StoreError`] when the database does not answer, or when a key does not open what it should.
pub async fn list(
    pool: &PgPool,
    vault: &Vault,
    filter: &AccessFilter,
    after: Option<AccessCursor>,
    limit: u32,
) -> Result<Vec<RecordedAccess>, StoreError> {
    let mut query = QueryBuilder::new("select * from accesses where true");
    for (column, id) in [("account_id", filter.account), ("actor_id", filter.actor), ("resource_id", filter.resource)] {
        if let Some(id) = id {
            query.push(format!(" and {column} = ")).push_bind(id);
        }
    }
    if let Some(action) = filter.action {
        query.push(" and action = ").push_bind(action.name());
    }
    if let Some(from) = filter.from {
        query.push(" and at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" and at < ").push_bind(to);
    }
    if let Some(AccessCursor(id)) = after {
        query.push(" and id < ").push_bind(id);
    }
    query.push(" order by id desc limit ").push_bind(i64::from(limit));
    let rows: Vec<Row> = query.build_query_as().fetch_all(pool).await?;
    let sealed: Vec<_> =
        rows.iter().map(|row| (stream(row.actor_id.or(row.account_id).unwrap_or_default()), &row.client)).collect();
    let clients: Vec<Option<Client>> = vault.reveal_as(&sealed).await?;
    Ok(rows.into_iter().zip(clients).map(|(row, client)| row.shown(client)).collect())
}

impl Row {
    fn shown(self, client: Option<Client>) -> RecordedAccess {
        let (address, device) = client.map_or((None, None), |client| (Some(client.address), client.user_agent));
        RecordedAccess {
            id: self.id,
            at: self.at,
            action: self.action,
            account_id: self.account_id,
            actor_id: self.actor_id,
            resource_type: self.resource_type,
            resource_id: self.resource_id,
            refusal: self.refusal,
            detail: self.detail.map(|detail| detail.0),
            address,
            device,
            request_id: self.request_id,
        }
    }
}
