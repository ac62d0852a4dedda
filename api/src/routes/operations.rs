//! Health and metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{TimeDelta, Utc};
use event_store::Loss;
use event_store::database::MIGRATOR;
use projections::stream_trouble;
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
/// How long a loss of events is reported once the process has recovered from it.
const REPORT_LOSS: TimeDelta = TimeDelta::seconds(60);

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(live))
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
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
    /// Whether the log holds what this process has seen of it: `unavailable` while it recovers from a fail-over that lost
    /// events, `degraded` for a minute after.
    log: Health,
    /// Whether NATS answers and keeps the stream as it should; without it only freshness suffers.
    nats: Health,
    /// What is wrong, a sentence for each; empty when nothing is.
    trouble: Vec<String>,
}

/// Whether the process can serve: the same answer as `/health/ready`.
#[utoipa::path(get, path = "/health", tag = "operations", operation_id = "health", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn health(state: State<App>) -> Response {
    ready(state).await
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
    let checking = timeout(PATIENCE, check(app.health_pool()));
    let (checked, stream) = tokio::join!(checking, stream_trouble(app.bus(), app.store().log_id(), PATIENCE));
    let checked = checked.map_err(|_| sqlx::Error::PoolTimedOut).flatten();
    if let Err(error) = &checked {
        tracing::warn!(%error, "Postgres is not ready");
    }
    let (postgres, schema, durable) =
        checked.map_or((false, false, false), |(schema, durable)| (true, schema, durable));
    let durability = durable || (postgres && app.unsafe_durability());
    let (log, lost) = continuity(app);
    let nats = if stream.is_none() { Health::Ok } else { Health::Degraded };
    let stopping = app.stop().is_cancelled();
    let status = match postgres && schema && durability && !stopping {
        true => log.max(nats),
        false => Health::Unavailable,
    };
    let trouble = lost.into_iter().chain(stream).collect();
    let (postgres, schema, durability) = (good(postgres), good(schema), good(durability));
    Readiness { status, postgres, schema, durability, log, nats, trouble }
}

/// Whether the log holds what this process has seen of it, and what was lost.
fn continuity(app: &App) -> (Health, Option<String>) {
    let Some(loss) = app.store().continuity().loss() else { return (Health::Ok, None) };
    let Loss { noticed_at, seen_to, kept_to, recovered } = loss;
    let kept = kept_to.map_or("an unknown position".to_owned(), |kept_to| kept_to.to_string());
    let lost = format!("the log lost events after {kept}, up to {seen_to}: noticed at {}", noticed_at.to_rfc3339());
    match recovered {
        false => (Health::Unavailable, Some(format!("{lost}; recovering"))),
        true if Utc::now() - noticed_at < REPORT_LOSS => (Health::Degraded, Some(format!("{lost}; recovered"))),
        true => (Health::Ok, None),
    }
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
