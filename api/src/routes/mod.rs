//! The product on one page.

mod accesses;
pub mod account;
mod admin;
pub mod analytics;
mod analytics_exports;
mod api_tokens;
mod audit;
mod auth;
mod avatar;
mod break_glass;
mod browser_session;
pub mod dossier;
mod erasure;
mod evidence;
mod export;
mod failures;
mod graphql;
mod jwks;
pub mod live;
mod mailbox;
mod oidc;
mod operations;
mod organization;
mod password_reset;
pub mod post;
mod projections;
mod stream;
mod totp;
mod verification;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

pub use account::names;
pub use evidence::{HeadView, InclusionProof, KeyView};
pub use operations::prometheus;

use crate::app::App;
use crate::edge::edge;
use crate::openapi;
use crate::problem::{Problem, codes};

/// Every route of the product.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::base())
        .merge(auth::router())
        .merge(verification::router())
        .merge(password_reset::router())
        .merge(oidc::router())
        .merge(browser_session::router())
        .merge(totp::router())
        .merge(api_tokens::router())
        .merge(jwks::router())
        .merge(account::router())
        .merge(avatar::router())
        .merge(erasure::router())
        .merge(export::router())
        .merge(dossier::router())
        .merge(post::router())
        .merge(live::router())
        .merge(organization::router())
        .merge(audit::router())
        .merge(break_glass::router())
        .merge(evidence::router())
        .merge(accesses::router())
        .merge(analytics::router())
        .merge(analytics_exports::router())
        .merge(stream::router())
        .merge(graphql::router())
        .merge(admin::router())
        .merge(projections::router())
        .merge(failures::router())
        .merge(operations::router())
}

/// The API, ready to serve.
pub fn router(app: App) -> Router {
    let (router, document) = routes().split_for_parts();
    let document = Bytes::from(openapi::complete(&document));
    let docs = SwaggerUi::new("/docs").config(Config::from("/api/openapi.json"));
    router
        .route("/api/openapi.json", get(move || async move { openapi(document) }))
        .merge(docs)
        .merge(mailbox::router())
        .fallback(|| async { Problem::new(&codes::ROUTE_NOT_FOUND) })
        .layer(from_fn_with_state(app.clone(), edge))
        .with_state(app)
}

/// The API's description, as text.
#[cfg(test)]
pub fn description() -> Vec<u8> {
    openapi::complete(&routes().split_for_parts().1)
}

fn openapi(document: Bytes) -> Response {
    let mut response = document.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
