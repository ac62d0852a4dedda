//! The peers of the HTTP figures, in a process of their own: the CRUD, axum over stock cqrs-es, and handlers that do
//! nothing but the queries of our own reads.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::Utc;
use domain::access::DEFAULT_ORGANIZATION;
use domain::dossier::DossierCommand;
use domain::{Actor, Role};
use event_store::Database;
use projections::Models;
use projections::dossier::{self, DossierFilter, DossierRow, DossierSort, Narrowing, SortKey, Visible};
use ring::hmac;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::crud;
use crate::servers::execute;
use crate::write_side::{self, Stock};

/// Connections of each peer: more of them made all of them slower on a small machine.
const CONNECTIONS: usize = 20;

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));

/// A token for the peers: a JWT signed with HMAC, cheaper to verify than ours.
pub fn token(account: Uuid) -> String {
    let expires = Utc::now().timestamp() + 3600;
    let claims = json!({ "sub": account, "exp": expires }).to_string();
    let signed = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), BASE64.encode(claims));
    let signature = hmac::sign(&KEY, signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(signature))
}

/// Who calls, by the token.
pub struct Account(pub Uuid);

impl<S: Sync> FromRequestParts<S> for Account {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let header = parts.headers.get("authorization").and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        token.and_then(verify).map(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}

fn verify(token: &str) -> Option<Uuid> {
    let (signed, signature) = token.rsplit_once('.')?;
    hmac::verify(&KEY, signed.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
    let claims: Value = serde_json::from_slice(&BASE64.decode(signed.split_once('.')?.1).ok()?).ok()?;
    let good = claims["exp"].as_i64()? > Utc::now().timestamp();
    good.then(|| claims["sub"].as_str()?.parse().ok()).flatten()
}

/// Whatever goes wrong.
pub struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0).into_response()
    }
}

/// Serves all peers, and prints where.
pub async fn serve(database_url: &str) {
    execute(database_url, crud::TABLES).await;
    write_side::create_stock_table(database_url).await;
    let plain = || write_side::plain_pool(database_url, CONNECTIONS);
    // With the settings of our own reads.
    let connections = u32::try_from(CONNECTIONS).unwrap();
    let database = Database::connect(database_url, connections).await.unwrap();
    let router = crud::router(plain().await).merge(stock_router(plain().await)).merge(query_router(database));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await.unwrap();
}

fn stock_router(pool: PgPool) -> Router {
    Router::new()
        .route("/stock/dossiers", post(create))
        .route("/stock/dossiers/{id}", axum::routing::put(edit))
        .with_state(write_side::open_stock(pool))
}

async fn create(
    State(stock): State<Arc<Stock>>,
    Account(owner): Account,
    Json(body): Json<crud::Create>,
) -> Result<(StatusCode, Json<Value>), Failed> {
    let id = Uuid::now_v7();
    let command = DossierCommand::Create {
        owner,
        organization: DEFAULT_ORGANIZATION,
        category: body.category,
        title: body.title,
        description: body.description,
        fields: BTreeMap::new(),
        at: Utc::now(),
    };
    stock.execute_with_metadata(&id.to_string(), command, write_side::metadata()).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

async fn edit(
    State(stock): State<Arc<Stock>>,
    Account(_): Account,
    Path(id): Path<Uuid>,
    Json(body): Json<crud::Edit>,
) -> Result<Json<Value>, Failed> {
    let command = DossierCommand::Edit {
        title: None,
        category: None,
        description: Some(Some(body.description)),
        fields: None,
        at: Utc::now(),
    };
    stock.execute_with_metadata(&id.to_string(), command, write_side::metadata()).await?;
    Ok(Json(json!({ "id": id })))
}

/// The very queries of our own reads under row-level security, and nothing else: no session, no policy, no opening of
/// what is sealed, no waiting.
fn query_router(database: Database) -> Router {
    Router::new().route("/query/dossiers", get(list)).route("/query/dossiers/{id}", get(by_id)).with_state(database)
}

fn models(database: &Database, user: Uuid) -> Models {
    Models::new(database, &Actor::new(user, [Role::Applicant].into_iter().collect(), DEFAULT_ORGANIZATION))
}

async fn by_id(
    State(database): State<Database>,
    Account(user): Account,
    Path(id): Path<Uuid>,
) -> Result<Json<Option<DossierRow>>, Failed> {
    let (row, _) = dossier::by_id(&models(&database, user), id).await?;
    Ok(Json(row))
}

async fn list(
    State(database): State<Database>,
    Account(user): Account,
    Query(page): Query<crud::Page>,
) -> Result<Json<Value>, Failed> {
    let filter = DossierFilter {
        visible: Visible::To { user, reviews_for: None },
        narrowing: Narrowing::default(),
        sort: DossierSort { key: SortKey::CreatedAt, descending: true },
        after: None,
        limit: page.limit,
    };
    let (page, _) = dossier::list(&models(&database, user), &filter).await?;
    Ok(Json(json!({ "items": page.items })))
}
