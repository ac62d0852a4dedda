//! Tables as files, for analysts.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use domain::{Action, FieldError};
use event_store::StreamId;
use object_store::ObjectStoreExt;
use projections::analytics::ReadModel;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::analytics::asked;
use crate::accesses::{Access, AccessAction};
use crate::analytics_exports::{self, Export, make};
use crate::answer::{POSITION, QueryAnswer, json, mark_replayed};
use crate::app::App;
use crate::extract::{CommandRequest, Id, NoParameters, Page, QueryRequest};
use crate::problem::{Problem, codes};
use crate::table::{Format, Order};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list, ask)).routes(routes!(one)).routes(routes!(file))
}

/// Which table is wanted as a file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskForExport {
    /// Which read model.
    read_model: String,
    /// In which form.
    format: Format,
    /// The first day, UTC, of those read models that have days; thirty days before the last when it is not given.
    from: Option<NaiveDate>,
    /// The last day, UTC; today when it is not given.
    to: Option<NaiveDate>,
}

/// Ask for a read model as a file: made in the background, and there for seven days.
#[utoipa::path(post, path = "/api/analytics/exports", tag = "analytics", operation_id = "askForExport",
    request_body = AskForExport, responses((status = 202, body = Export)))]
async fn ask(State(app): State<App>, request: CommandRequest<AskForExport>) -> Result<Response, Problem> {
    let (AskForExport { read_model, format, from, to }, order) = request.into_parts();
    order.caller.may(Action::ReadAnalytics)?;
    let unknown = || {
        let error = FieldError::new("/readModel", "field.invalid", "is no read model");
        Problem::new(&codes::EXPORT_INVALID).with_errors(vec![error])
    };
    let model = ReadModel::named(&read_model).ok_or_else(unknown)?;
    let wanted = Order { model, asked: asked(&app, from, to), format, reader: order.caller.actor };
    let new = StreamId { aggregate_type: "export", id: Uuid::now_v7() };
    let repeated = app.remember(&order, new, StatusCode::ACCEPTED.as_u16()).await?;
    let id = if repeated { app.repeated(&order).await?.unwrap_or(new.id) } else { new.id };
    let (export, replayed) = match analytics_exports::one(app.reads(), order.caller.id(), id).await {
        Ok(known) => (known, true),
        Err(_) => {
            let access = Access::new(AccessAction::Export, order.info()).by(order.caller.id()).to("export", id);
            app.accesses().record(access.with(json!({ "of": model.name, "format": format }))).await?;
            let (export, new) = analytics_exports::ask(&app, id, &wanted).await?;
            if new {
                make(app.clone(), export.clone());
            }
            (export, !new)
        }
    };
    let mut response = (StatusCode::ACCEPTED, json(&export)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/api/analytics/exports/{id}")) {
        headers.insert(LOCATION, location);
    }
    if replayed {
        mark_replayed(headers);
    }
    Ok(response)
}

/// One's own exports, the newest first.
#[utoipa::path(get, path = "/api/analytics/exports", tag = "analytics", operation_id = "listExports",
    responses((status = 200, body = Page<Export>)))]
async fn list(
    State(app): State<App>,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Page<Export>>, Problem> {
    request.caller.may(Action::ReadAnalytics)?;
    let position = app.log_head(&request).await?;
    let items = analytics_exports::of(app.reads(), request.caller.id()).await?;
    Ok(QueryAnswer::new(Page { items, next_cursor: None }, position))
}

/// An export's manifest: how far it is, and what its file must be.
#[utoipa::path(get, path = "/api/analytics/exports/{id}", tag = "analytics", operation_id = "readExport",
    responses((status = 200, body = Export)))]
async fn one(
    State(app): State<App>,
    Id(id): Id,
    request: QueryRequest<NoParameters>,
) -> Result<QueryAnswer<Export>, Problem> {
    request.caller.may(Action::ReadAnalytics)?;
    let position = app.log_head(&request).await?;
    Ok(QueryAnswer::new(analytics_exports::one(app.reads(), request.caller.id(), id).await?, position))
}

/// An export's file, once it is finished.
#[utoipa::path(get, path = "/api/analytics/exports/{id}/file", tag = "analytics", operation_id = "readExportFile",
    responses((status = 200, content((Vec<u8> = "application/vnd.apache.parquet"), (String = "text/csv"),
        (String = "application/x-ndjson"), (String = "application/json")))))]
async fn file(State(app): State<App>, Id(id): Id, request: QueryRequest<NoParameters>) -> Result<Response, Problem> {
    request.caller.may(Action::ReadAnalytics)?;
    let export = analytics_exports::one(app.reads(), request.caller.id(), id).await?;
    if export.status != "finished" {
        return Err(Problem::new(&codes::EXPORT_NOT_FINISHED).with_retry_after(1));
    }
    let (store, prefix) = app.exports().open()?;
    let gone = |error: object_store::Error| {
        tracing::error!(%error, export = %id, "the file of an export cannot be read");
        Problem::new(&codes::EXPORTS_UNAVAILABLE).with_retry_after(60)
    };
    let object = store.get(&export.path(prefix)).await.map_err(gone)?;
    let size = object.meta.size;
    let mut response = Body::from_stream(object.into_stream()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(export.format().media_type()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    let name = format!("attachment; filename=\"{}\"", export.file_name());
    headers.insert(CONTENT_DISPOSITION, HeaderValue::try_from(name).map_err(|_| Problem::new(&codes::INTERNAL))?);
    headers.insert(&POSITION, HeaderValue::from(export.position.unwrap_or(0)));
    Ok(response)
}
