//! The graph of the read side.

use async_graphql::{Request, Variables};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::{json, mark_reached};
use crate::app::App;
use crate::extract::{CommandRequest, NoParameters, QueryRequest};
use crate::graphql::{Asked, execute, sdl};
use crate::problem::{Problem, codes};

/// A longer query is refused, in bytes.
const LONGEST: usize = 64 * 1024;

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(schema, query))
}

/// A query of the graph.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GraphQuery {
    /// In GraphQL.
    query: String,
    #[serde(default)]
    variables: Option<Value>,
    #[serde(default)]
    operation_name: Option<String>,
    /// Accepted, and not used.
    #[serde(default)]
    #[expect(dead_code)] // clients send it
    extensions: Option<Value>,
}

/// What a query is answered with.
#[derive(ToSchema)]
#[expect(dead_code)] // describes the library's own type
struct GraphAnswer {
    data: Option<Value>,
    /// What could not be answered, each with a `code` among its `extensions`.
    errors: Option<Vec<Value>>,
}

/// Read dossiers, posts, live events and figures as a graph: the same answers as by their own routes. At most 10 levels
/// deep, and of a limited cost: fields count for every item of a page, and what asks the database counts more.
#[utoipa::path(post, path = "/api/graphql", tag = "graph", operation_id = "queryGraph",
    request_body = GraphQuery, responses((status = 200, body = GraphAnswer)))]
async fn query(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
    CommandRequest { body, .. }: CommandRequest<GraphQuery>,
) -> Result<Response, Problem> {
    let GraphQuery { query, variables, operation_name, .. } = body;
    if query.len() > LONGEST {
        return Err(Problem::new(&codes::GRAPHQL_TOO_COMPLEX));
    }
    let mut graph = Request::new(query).variables(Variables::from_json(variables.unwrap_or_default()));
    if let Some(name) = operation_name {
        graph = graph.operation_name(name);
    }
    let (answer, reached) = execute(Asked::new(app, &request), graph).await?;
    let mut response = json(&answer).into_response();
    if let Some(reached) = reached {
        mark_reached(response.headers_mut(), reached);
    }
    Ok(response)
}

/// The graph's schema, in its own language.
#[utoipa::path(get, path = "/api/graphql", tag = "graph", operation_id = "readGraphSchema",
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn schema(State(app): State<App>, request: QueryRequest<NoParameters>) -> Result<Response, Problem> {
    let position = app.log_head(&request).await?;
    let mut response = sdl().into_response();
    mark_reached(response.headers_mut(), position.into());
    Ok(response)
}
