//! The id in a path.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Caller;
use crate::problem::{Problem, codes};

/// The id that a path names as `{id}`. What is no id names nothing: 404, but only to those who may come in.
#[derive(Debug, Clone, Copy)]
pub struct Id(pub Uuid);

impl FromRequestParts<App> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Caller::from_request_parts(parts, app).await?;
        let nothing = || Problem::new(&codes::ROUTE_NOT_FOUND);
        let parameters = RawPathParams::from_request_parts(parts, app).await.map_err(|_| nothing())?;
        let id = parameters.iter().find_map(|(name, value)| (name == "id").then_some(value));
        id.and_then(parse_id).map(Self).ok_or_else(nothing)
    }
}

/// An id as the product writes it.
pub fn parse_id(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
}
