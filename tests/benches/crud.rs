//! The peer of the HTTP figures: what one would write without event sourcing, on bare axum and sqlx. Rows are changed
//! in place, and an audit row says who did what from where, in the same transaction.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::types::Json as Stored;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::peers::{Account, Failed};

const COLUMNS: &str = "id, owner_id, category, title, description, fields, status, version, created_at, updated_at";

/// The tables.
pub const TABLES: &str = "
    create schema crud;
    create table crud.dossiers (
        id uuid primary key, owner_id uuid not null, category text not null, title text not null, description text,
        fields json not null, status text not null default 'draft', version bigint not null default 1,
        created_at timestamptz not null default now(), updated_at timestamptz not null default now()
    );
    create index on crud.dossiers (owner_id, created_at, id);
    create table crud.audit (
        id bigint primary key generated always as identity, dossier_id uuid not null, actor_id uuid not null,
        action text not null, change json not null, client text, at timestamptz not null
    );
    create index on crud.audit (dossier_id)";

#[derive(Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
struct Dossier {
    id: Uuid,
    owner_id: Uuid,
    category: String,
    title: String,
    description: Option<String>,
    fields: Stored<BTreeMap<String, Value>>,
    status: String,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Opens a dossier.
#[derive(Serialize, Deserialize)]
pub struct Create {
    /// Its title.
    pub title: String,
    /// Its category.
    pub category: String,
    /// Its description.
    pub description: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, Value>,
}

/// Changes a dossier.
#[derive(Serialize, Deserialize)]
pub struct Edit {
    /// The new description.
    pub description: String,
}

/// A page of a list.
#[derive(Deserialize)]
pub struct Page {
    /// Items on it.
    pub limit: u32,
}

/// The routes.
pub fn router(pool: PgPool) -> Router {
    Router::new()
        .route("/crud/dossiers", post(create).get(list))
        .route("/crud/dossiers/{id}", get(by_id).put(edit))
        .with_state(pool)
}

async fn create(
    State(pool): State<PgPool>,
    Account(owner): Account,
    headers: HeaderMap,
    Json(body): Json<Create>,
) -> Result<(StatusCode, Json<Value>), Failed> {
    let id = Uuid::now_v7();
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "insert into crud.dossiers (id, owner_id, category, title, description, fields)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(owner)
    .bind(&body.category)
    .bind(&body.title)
    .bind(&body.description)
    .bind(Stored(&body.fields))
    .execute(&mut *transaction)
    .await?;
    audit(&mut transaction, owner, "create", id, &body, &headers).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, done(id, 1)))
}

async fn edit(
    State(pool): State<PgPool>,
    Account(owner): Account,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(body): Json<Edit>,
) -> Result<Json<Value>, Failed> {
    let mut transaction = pool.begin().await?;
    let version: i64 = sqlx::query_scalar(
        "update crud.dossiers set description = $3, version = version + 1, updated_at = now()
         where id = $1 and owner_id = $2 returning version",
    )
    .bind(id)
    .bind(owner)
    .bind(&body.description)
    .fetch_one(&mut *transaction)
    .await?;
    audit(&mut transaction, owner, "edit", id, &body, &headers).await?;
    transaction.commit().await?;
    Ok(done(id, version))
}

async fn audit(
    connection: &mut PgConnection,
    actor: Uuid,
    action: &str,
    id: Uuid,
    change: &(impl Serialize + Sync),
    headers: &HeaderMap,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into crud.audit (dossier_id, actor_id, action, change, client, at)
         values ($1, $2, $3, $4, $5, now())",
    )
    .bind(id)
    .bind(actor)
    .bind(action)
    .bind(Stored(change))
    .bind(headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()))
    .execute(connection)
    .await?;
    Ok(())
}

fn done(id: Uuid, version: i64) -> Json<Value> {
    Json(json!({ "id": id, "version": version }))
}

async fn by_id(
    State(pool): State<PgPool>,
    Account(owner): Account,
    Path(id): Path<Uuid>,
) -> Result<Json<Dossier>, Failed> {
    let select = format!("select {COLUMNS} from crud.dossiers where id = $1 and owner_id = $2");
    let dossier = sqlx::query_as(&select).bind(id).bind(owner).fetch_one(&pool).await?;
    Ok(Json(dossier))
}

async fn list(
    State(pool): State<PgPool>,
    Account(owner): Account,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Failed> {
    let select =
        format!("select {COLUMNS} from crud.dossiers where owner_id = $1 order by created_at desc, id desc limit $2");
    let items: Vec<Dossier> = sqlx::query_as(&select).bind(owner).bind(i64::from(page.limit)).fetch_all(&pool).await?;
    Ok(Json(json!({ "items": items })))
}
