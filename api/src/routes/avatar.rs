//! The picture that an account shows.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use domain::account::{Account, AccountCommand};
use domain::{Action, Resource};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::answer::{Answered, CommandDone, POSITION};
use crate::app::App;
use crate::error::denied;
use crate::extract::{CommandRequest, Id, NoBody, NoParameters, Order, QueryRequest, UploadRequest};
use crate::problem::{Problem, codes};

/// The largest file that is taken, in bytes.
const LARGEST: usize = 5 << 20;
/// What a picture may be declared as.
const TYPES: [&str; 3] = ["image/png", "image/jpeg", "image/webp"];

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(show, change, remove))
}

/// The picture that an account shows: at most 256 by 256 pixels.
#[utoipa::path(get, path = "/api/users/{id}/avatar", tag = "users", operation_id = "getAvatar",
    responses((status = 200, content((Vec<u8> = "image/jpeg"))),
        (status = 304, description = "It is the one that the client knows.")))]
async fn show(
    State(app): State<App>,
    Id(id): Id,
    headers: HeaderMap,
    request: QueryRequest<NoParameters>,
) -> Result<Response, Problem> {
    let position = app.log_head(&request).await?;
    request.caller.can(Action::ReadCard, &Resource::Account { id }).map_err(denied::<Account>)?;
    let avatar = app.avatars().of(app.vault(), id).await?;
    let avatar = avatar.ok_or_else(|| Problem::new(&codes::AVATAR_NOT_FOUND))?;
    let etag = format!("\"{}\"", avatar.etag);
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let known = known.flat_map(|line| line.split(',')).any(|known| known.trim().trim_start_matches("W/") == etag);
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(CONTENT_TYPE, "image/jpeg")], avatar.image).into_response(),
    };
    let marks = [
        (ETAG, HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\""))),
        (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (POSITION.clone(), HeaderValue::from(position)),
    ];
    response.headers_mut().extend(marks);
    Ok(response)
}

/// Show another picture: PNG, JPEG or WebP, of at most 5 MiB and 6000 pixels a side. What is kept is drawn anew from it,
/// without whatever else was in the file.
#[utoipa::path(put, path = "/api/users/{id}/avatar", tag = "users", operation_id = "changeAvatar",
    request_body(content((Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/webp"))),
    responses((status = 200, body = CommandDone)))]
async fn change(State(app): State<App>, Id(id): Id, request: UploadRequest<LARGEST>) -> Answered {
    let UploadRequest { file, headers, order } = request;
    may_edit(&order, id)?;
    if !TYPES.iter().any(|known| headers.get(CONTENT_TYPE).is_some_and(|declared| declared == known)) {
        return Err(Problem::new(&codes::AVATAR_UNSUPPORTED_MEDIA_TYPE));
    }
    app.limiter().upload(id).await?;
    let image = app.avatars().draw(file).await?;
    // A client that hangs up must not leave it half done.
    let changing = tokio::spawn(async move {
        let answer = app.execute::<Account>(id, AccountCommand::ChangeAvatar { at: Utc::now() }, order).await?;
        app.avatars().keep(app.vault(), id, &image).await?;
        Ok(answer)
    });
    changing.await.unwrap_or_else(|_| Err(Problem::new(&codes::INTERNAL)))
}

/// Show no picture any more. Repeating it changes nothing.
#[utoipa::path(delete, path = "/api/users/{id}/avatar", tag = "users", operation_id = "removeAvatar",
    responses((status = 200, body = CommandDone)))]
async fn remove(State(app): State<App>, Id(id): Id, request: CommandRequest<NoBody>) -> Answered {
    let order = request.order;
    may_edit(&order, id)?;
    let removing = tokio::spawn(async move {
        let answer = app.execute::<Account>(id, AccountCommand::RemoveAvatar { at: Utc::now() }, order).await?;
        app.avatars().forget(id).await?;
        Ok(answer)
    });
    removing.await.unwrap_or_else(|_| Err(Problem::new(&codes::INTERNAL)))
}

/// Before anything of a file is looked at.
fn may_edit(order: &Order, id: Uuid) -> Result<(), Problem> {
    let allowed = order.caller.can(Action::EditSelf, &Resource::Account { id });
    allowed.map(drop).map_err(denied::<Account>)
}
