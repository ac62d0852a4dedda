//! Health and metrics.

use std::time::Duration;

use async_nats::connection::State as Connection;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use event_store::database::MIGRATOR;
use serde::Serialize;
use sqlx::PgPool;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::json;
use crate::app::App;
use crate::edge::Verbatim;
use crate::problem::{Problem, codes};

/// How long a dependency may take to answer.
const PATIENCE: Duration = Duration::from_millis(800);

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(live)).routes(routes!(ready)).routes(routes!(metrics))
}

/// That the process lives.
#[derive(Serialize, ToSchema)]
struct Live {
    status: &'static str,
}

/// Whether the process lives; depends on nothing.
#[utoipa::path(get, path = "/health/live", tag = "operations", operation_id = "live", security(()),
    responses((status = 200, body = Live)))]
async fn live() -> Response {
    json(&Live { status: "ok" })
}

/// How a dependency is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Health {
    /// As it should be.
    Ok,
    /// Away, while the rest goes on.
    Degraded,
    /// Away, or not as it should be.
    Unavailable,
}

/// How every dependency is.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// The worst of what matters.
    status: Health,
    /// Whether Postgres answers.
    postgres: Health,
    /// Whether its schema is the one that this build needs.
    schema: Health,
    /// Whether it keeps what it has committed.
    durability: Health,
    /// Whether NATS answers; without it only freshness suffers.
    nats: Health,
}

/// Whether the process can serve.
#[utoipa::path(get, path = "/health/ready", tag = "operations", operation_id = "ready", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn ready(State(app): State<App>) -> Response {
    let readiness = readiness(&app).await;
    if readiness.status != Health::Unavailable {
        return json(&readiness);
    }
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, json(&readiness)).into_response();
    response.extensions_mut().insert(Verbatim);
    response
}

async fn readiness(app: &App) -> Readiness {
    let good = |good: bool| if good { Health::Ok } else { Health::Unavailable };
    let checked = timeout(PATIENCE, check(app.health_pool())).await;
    let checked = checked.map_err(|_| sqlx::Error::PoolTimedOut).flatten();
    if let Err(error) = &checked {
        tracing::warn!(%error, "Postgres is not ready");
    }
    let (postgres, schema, durable) =
        checked.map_or((false, false, false), |(schema, durable)| (true, schema, durable));
    let durability = durable || (postgres && app.unsafe_durability());
    let connected = app.bus().connection_state() == Connection::Connected;
    let nats = if connected { Health::Ok } else { Health::Degraded };
    let stopping = app.stop().is_cancelled();
    let status = match postgres && schema && durability && !stopping {
        true => nats,
        false => Health::Unavailable,
    };
    Readiness { status, postgres: good(postgres), schema: good(schema), durability: good(durability), nats }
}

/// Whether the schema is ours, and whether commits are kept.
async fn check(pool: &PgPool) -> Result<(bool, bool), sqlx::Error> {
    let needed = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    sqlx::query_as(
        "select coalesce((select max(version) from _sqlx_migrations where success), 0) >= $1,
                current_setting('fsync') = 'on' and current_setting('full_page_writes') = 'on'
                and current_setting('synchronous_commit') not in ('off')",
    )
    .bind(needed)
    .fetch_one(pool)
    .await
}

/// The metrics, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations", operation_id = "metrics", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let handle = app.metrics().filter(|_| !app.metrics_apart());
    let text = handle.ok_or_else(|| Problem::new(&codes::ROUTE_NOT_FOUND))?.render();
    Ok(prometheus(text))
}

/// A text in the format of Prometheus.
pub fn prometheus(text: String) -> Response {
    let mut response = text.into_response();
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
