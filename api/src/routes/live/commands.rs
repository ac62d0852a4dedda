//! The commands on live events.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::live::{Live, LiveCommand};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{Answered, CommandDone};
use crate::app::App;
use crate::extract::{CommandRequest, Id, NoBody, given};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(create))
        .routes(routes!(edit))
        .routes(routes!(publish))
        .routes(routes!(cancel))
        .routes(routes!(register, unregister))
}

/// What a live event is about.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateEvent {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// At most 10,000 characters.
    #[schema(max_length = 10_000)]
    description: Option<String>,
    /// An IANA time zone: `Europe/Paris`.
    time_zone: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    /// Seats; null for no limit.
    capacity: Option<u32>,
    /// Where it can be watched; shown to those who have a seat.
    stream_url: Option<String>,
}

/// Changes what is given.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EditEvent {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    title: Option<String>,
    /// At most 10,000 characters.
    #[schema(max_length = 10_000)]
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    description: Option<String>,
    /// An IANA time zone: `Europe/Paris`.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    time_zone: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    starts_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    ends_at: Option<DateTime<Utc>>,
    /// Seats; null lifts the limit.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    capacity: Option<Option<u32>>,
    /// Where it can be watched; null removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    stream_url: Option<Option<String>>,
}

/// Calls a live event off.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CancelEvent {
    /// Announced with it: 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    reason: String,
}

/// Draft a live event.
#[utoipa::path(post, path = "/api/admin/events", tag = "events", operation_id = "createEvent",
    request_body = CreateEvent, responses((status = 201, body = CommandDone)))]
async fn create(State(app): State<App>, request: CommandRequest<CreateEvent>) -> Answered {
    let (body, order) = request.into_parts();
    let command = LiveCommand::Create {
        title: body.title,
        description: body.description.unwrap_or_default(),
        time_zone: body.time_zone,
        starts_at: body.starts_at,
        ends_at: body.ends_at,
        capacity: body.capacity,
        stream_url: body.stream_url,
        organization: order.caller.actor.organization,
        by: order.caller.id(),
        at: Utc::now(),
    };
    app.create::<Live>(Uuid::now_v7(), command, order).await
}

/// Change what is given.
#[utoipa::path(put, path = "/api/admin/events/{id}", tag = "events", operation_id = "editEvent",
    request_body = EditEvent, responses((status = 200, body = CommandDone)))]
async fn edit(State(app): State<App>, Id(id): Id, request: CommandRequest<EditEvent>) -> Answered {
    let (body, order) = request.into_parts();
    let EditEvent { title, description, time_zone, starts_at, ends_at, capacity, stream_url } = body;
    let at = Utc::now();
    let command = LiveCommand::Edit { title, description, time_zone, starts_at, ends_at, capacity, stream_url, at };
    app.execute::<Live>(id, command, order).await
}

/// Announce it to all.
#[utoipa::path(post, path = "/api/admin/events/{id}/publish", tag = "events", operation_id = "publishEvent",
    responses((status = 200, body = CommandDone)))]
async fn publish(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    app.execute::<Live>(id, LiveCommand::Publish { at: Utc::now() }, request.order).await
}

/// Call it off, and with it every registration.
#[utoipa::path(post, path = "/api/admin/events/{id}/cancel", tag = "events", operation_id = "cancelEvent",
    request_body = CancelEvent, responses((status = 200, body = CommandDone)))]
async fn cancel(State(app): State<App>, Id(id): Id, request: CommandRequest<CancelEvent>) -> Answered {
    let (CancelEvent { reason }, order) = request.into_parts();
    app.execute::<Live>(id, LiveCommand::Cancel { reason, at: Utc::now() }, order).await
}

/// Take a seat, or a place in the waiting list. Repeating it changes nothing.
#[utoipa::path(post, path = "/api/events/{id}/register", tag = "events", operation_id = "registerForEvent",
    responses((status = 200, body = CommandDone)))]
async fn register(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let command = LiveCommand::Register { user: request.order.caller.id(), at: Utc::now() };
    app.execute::<Live>(id, command, request.order).await
}

/// Give the seat or the place back. Repeating it changes nothing.
#[utoipa::path(delete, path = "/api/events/{id}/register", tag = "events", operation_id = "unregisterFromEvent",
    responses((status = 200, body = CommandDone)))]
async fn unregister(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let command = LiveCommand::Unregister { user: request.order.caller.id(), at: Utc::now() };
    app.execute::<Live>(id, command, request.order).await
}
