//! The change feed as it happens, as server-sent events: for analysts.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use domain::Action;
use futures::{StreamExt, stream};
use projections::analytics::{self, Analytics, Change, Topic};
use projections::{Projection, Scope};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answer::mark_reached;
use crate::app::App;
use crate::auth::Credentials;
use crate::extract::{QueryRequest, invalid_parameter, parse_position};
use crate::problem::{Problem, codes};

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// By which proxies are kept from collecting what is to be told at once.
static ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How many changes are read at once.
const PAGE: u32 = 100;
/// How soon one stream asks the database again: what comes meanwhile is told together.
const PAUSE: Duration = Duration::from_millis(250);
/// How often something is sent, so that neither side takes the other for dead.
const BEAT: Duration = Duration::from_secs(15);
/// How soon a client is to come back.
const RETRY: Duration = Duration::from_secs(2);

/// The route.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(follow))
}

/// What to be told, and from where on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// `dossiers`, `liveEvents`, or both with a comma between them; everything when it is not given.
    #[serde(default = "everything", deserialize_with = "topics")]
    #[param(value_type = Option<String>, pattern = "^(dossiers|liveEvents)(,(dossiers|liveEvents))*$")]
    topics: Vec<Topic>,
    /// After this position; from now on when neither it nor `Last-Event-ID` is given.
    after: Option<u64>,
}

fn everything() -> Vec<Topic> {
    Topic::ALL.to_vec()
}

fn topics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Topic>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.split(',').map(|name| Topic::deserialize(name.into_deserializer())).collect()
}

/// The change feed as server-sent events (`text/event-stream`): every message is a change as `/api/analytics/changes`
/// tells it, its `id` the position. A client that comes back with `Last-Event-ID`, as browsers do, misses nothing.
#[utoipa::path(get, path = "/api/stream", tag = "analytics", operation_id = "stream",
    params(Wanted, ("Last-Event-ID" = Option<String>, Header, description = "The position to go on after.")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
async fn follow(
    State(app): State<App>,
    credentials: Credentials,
    headers: HeaderMap,
    request: QueryRequest<Wanted>,
) -> Result<Response, Problem> {
    request.caller.may(Action::ReadAnalytics)?;
    let busy = || Problem::new(&codes::STREAMS_BUSY).with_retry_after(5);
    let place = app.streams().try_acquire_owned().map_err(|_| busy())?;
    let head = app.log_head(&request).await?;
    let Wanted { topics, after } = request.parameters;
    if after.is_some_and(|after| after > head) {
        return Err(invalid_parameter("after", "must be a position of the log"));
    }
    let after = last_event_id(&headers, head)?.or(after).unwrap_or(head);
    let stop = app.stop().clone();
    let losses = app.store().continuity().losses();
    let feed = Feed { app, credentials, topics, after, losses, next_look: Instant::now(), _place: place };
    let changes = stream::unfold(feed, |mut feed| async { Some((stream::iter(feed.next().await?), feed)) });
    let opening = stream::iter([mark(after).retry(RETRY)]);
    // Whoever listens must not hold up the end of the process.
    let events = opening.chain(changes.flatten()).take_until(stop.cancelled_owned());
    let mut response = Sse::new(events.map(Ok::<_, Infallible>)).into_response();
    response.headers_mut().insert(&ACCEL_BUFFERING, HeaderValue::from_static("no"));
    mark_reached(response.headers_mut(), after.into());
    Ok(response)
}

fn last_event_id(headers: &HeaderMap, head: u64) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(&LAST_EVENT_ID) else { return Ok(None) };
    let position = value.to_str().ok().and_then(parse_position).filter(|position| *position <= head);
    let refused = || {
        Problem::new(&codes::HEADER_INVALID).with_detail(
            "Last-Event-ID must be a position of the log",
            "Last-Event-ID doit être une position du journal",
        )
    };
    position.map(Some).ok_or_else(refused)
}

/// What one client follows.
struct Feed {
    app: App,
    credentials: Credentials,
    topics: Vec<Topic>,
    /// Everything up to it was told.
    after: u64,
    /// The losses of the log's tail when it began: positions before and after one do not go together.
    losses: u64,
    next_look: Instant,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    /// What is to be told next: changes, or after a while only how far everything is. Nothing more, once the caller may
    /// no longer be told.
    async fn next(&mut self) -> Option<Vec<Event>> {
        let beat = Instant::now() + BEAT;
        loop {
            sleep_until(self.next_look).await;
            self.next_look = Instant::now() + PAUSE;
            if self.app.store().continuity().losses() != self.losses {
                return None;
            }
            match self.look().await {
                Ok(changes) if changes.is_empty() => {}
                Ok(changes) => {
                    if changes.len() == PAGE as usize {
                        // Whoever is far behind catches up without a pause.
                        self.next_look = Instant::now();
                    }
                    return Some(changes.iter().filter_map(message).collect());
                }
                Err(problem) if problem.is_refusal() => return None,
                // The stream outlives that the database is away.
                Err(_) => {}
            }
            if Instant::now() >= beat {
                return Some(vec![mark(self.after)]);
            }
            // That nothing has come is told by the next look.
            self.app.positions().wait(Analytics::NAME, Scope::All, self.after + 1, beat).await.ok();
        }
    }

    /// The next changes, should the caller still be known and allowed to read them.
    async fn look(&mut self) -> Result<Vec<Change>, Problem> {
        let caller = self.credentials.caller(&self.app).await?;
        caller.may(Action::ReadAnalytics)?;
        let models = self.app.models(&caller.actor);
        let (changes, reached) = analytics::changes(&models, &self.topics, self.after, PAGE).await?;
        let last = changes.last().map(|change| change.position.cast_unsigned());
        // Nothing after `after` is nothing up to the read model's own position.
        self.after = last.unwrap_or_else(|| self.after.max(reached.complete_to()));
        Ok(changes)
    }
}

fn message(change: &Change) -> Option<Event> {
    match Event::default().id(change.position.to_string()).json_data(change) {
        Ok(event) => Some(event),
        Err(error) => {
            tracing::error!(%error, "a change is not JSON");
            None
        }
    }
}

/// A message that says nothing: a client only remembers how far it is.
fn mark(position: u64) -> Event {
    Event::default().id(position.to_string())
}
