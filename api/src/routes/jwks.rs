//! The keys that access tokens are signed with, for whoever verifies them elsewhere.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::json;
use crate::app::App;
use crate::auth::Jwk;
use crate::extract::{NoBody, PublicRequest};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(keys))
}

/// Public keys, as RFC 7517 describes them.
#[derive(Serialize, ToSchema)]
struct KeySet {
    keys: Vec<Jwk>,
}

/// The public keys of access tokens. What a token says is no more than who: whether its session goes on, only this API
/// knows.
#[utoipa::path(get, path = "/api/auth/jwks.json", tag = "auth", operation_id = "publicKeys", security(()),
    responses((status = 200, body = KeySet)))]
async fn keys(State(app): State<App>, _: PublicRequest<NoBody>) -> Response {
    json(&KeySet { keys: app.auth().tokens.public() })
}
