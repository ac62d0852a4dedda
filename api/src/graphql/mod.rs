//! The read side as a graph: the same answers as the routes give, to the same readers, picked and joined by the client.
//!
//! Each field asks the handler of its route, so that policy, records of access and cursors are those of the route.

mod analytics;
mod community;
mod dossiers;
mod live_events;
mod people;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use async_graphql::dataloader::DataLoader;
use async_graphql::{
    Context, EmptyMutation, EmptySubscription, Error, ErrorExtensions, MergedObject, Request, Response, Result, Schema,
    SimpleObject, Value as GraphqlValue,
};
use projections::Reached;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Limit, Page, QueryRequest};
use crate::metadata::RequestInfo;
use crate::problem::{Problem, codes};
use people::People;

/// How deep a query may go, how many fields it may ask for altogether, and how many directives it may hold.
const DEPTH: usize = 10;
const COMPLEXITY: usize = 1_000;
const DIRECTIVES: usize = 10;
/// What it costs to ask the database for a list, for one thing by its id, and for figures, beside the fields of what
/// comes back.
const LIST: usize = 30;
const LOOKUP: usize = 10;
const FIGURES: usize = 100;
/// How many items a page has that does not say, and at most.
const DEFAULT_FIRST: i32 = 20;
const MOST: i32 = 100;

#[derive(MergedObject, Default)]
struct Query(dossiers::Dossiers, community::Community, live_events::LiveEvents, analytics::Analytics);

type Graph = Schema<Query, EmptyMutation, EmptySubscription>;

static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    Schema::build(Query::default(), EmptyMutation, EmptySubscription)
        .limit_depth(DEPTH)
        .limit_complexity(COMPLEXITY)
        .limit_directives(DIRECTIVES)
        .disable_introspection()
        .disable_suggestions()
        .finish()
});

/// The schema in its own language.
pub fn sdl() -> String {
    GRAPH.sdl()
}

/// Who asks, and what they were answered so far.
pub struct Asked {
    app: App,
    caller: Caller,
    min_position: u64,
    deadline: Instant,
    info: Arc<RequestInfo>,
    position: AtomicU64,
    held_from: AtomicU64,
}

impl Asked {
    /// A request's.
    pub fn new<T>(app: App, request: &QueryRequest<T>) -> Self {
        Self {
            app,
            caller: request.caller,
            min_position: request.min_position,
            deadline: request.deadline,
            info: request.info.clone(),
            position: AtomicU64::new(u64::MAX),
            held_from: AtomicU64::new(u64::MAX),
        }
    }

    /// The same request, of one route.
    fn query<T>(&self, parameters: T) -> QueryRequest<T> {
        let Self { caller, min_position, deadline, info, .. } = self;
        let (caller, min_position, deadline) = (*caller, *min_position, *deadline);
        QueryRequest { caller, parameters, min_position, deadline, info: info.clone() }
    }

    /// What was read was so far.
    fn reached(&self, reached: Reached) {
        self.position.fetch_min(reached.position, Ordering::Relaxed);
        self.held_from.fetch_min(reached.held_from.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How far the least of what was read is; nothing was when nothing is.
    fn least(&self) -> Option<Reached> {
        let held_from = Some(self.held_from.load(Ordering::Relaxed)).filter(|position| *position < u64::MAX);
        let position = Some(self.position.load(Ordering::Relaxed)).filter(|position| *position < u64::MAX);
        position.map(|position| Reached { position, held_from })
    }
}

/// Answers a query, and says how far the least of what it read is.
///
/// # Errors
/// A 400 when it is no query of this graph, or asks for too much: then nothing was read.
pub async fn execute(asked: Asked, request: Request) -> Result<(Response, Option<Reached>), Problem> {
    let people = People::new(&asked.app, &asked.caller);
    let asked = Arc::new(asked);
    let request = request.data(asked.clone()).data(DataLoader::new(people, tokio::spawn));
    let response = GRAPH.execute(request).await;
    let refused = response.errors.iter().find(|error| error.path.is_empty() && response.data == GraphqlValue::Null);
    match refused {
        Some(error) => Err(refusal(&error.message)),
        None => Ok((response, asked.least())),
    }
}

fn refusal(message: &str) -> Problem {
    let too_much = ["too complex", "too deep", "directives", "recursion"].iter().any(|sign| message.contains(sign));
    let code = if too_much { &codes::GRAPHQL_TOO_COMPLEX } else { &codes::GRAPHQL_INVALID };
    Problem::new(code).with_detail(message, message)
}

fn asked<'a>(context: &Context<'a>) -> &'a Asked {
    context.data_unchecked::<Arc<Asked>>()
}

/// One page.
#[derive(SimpleObject)]
#[graphql(concrete(name = "DossierPage", params(dossiers::Dossier)))]
#[graphql(concrete(name = "HistoryPage", params(dossiers::HistoryItem)))]
#[graphql(concrete(name = "PostPage", params(community::Post)))]
#[graphql(concrete(name = "CommentPage", params(community::Comment)))]
#[graphql(concrete(name = "EventPage", params(live_events::Event)))]
pub(super) struct GraphPage<T: async_graphql::OutputType> {
    /// The items, in the list's order.
    items: Vec<T>,
    /// What `after` must be for the next page; null after the last.
    next_cursor: Option<String>,
}

impl<T: async_graphql::OutputType> GraphPage<T> {
    /// A route's page.
    fn of<V: Serialize>(page: Page<V>) -> Result<Self>
    where
        T: DeserializeOwned,
    {
        Ok(Self { items: page.items.iter().map(seen).collect::<Result<_>>()?, next_cursor: page.next_cursor })
    }
}

/// A route's answer as the graph has it.
fn seen<T: DeserializeOwned>(answer: &impl Serialize) -> Result<T> {
    let value = serde_json::to_value(answer).map_err(|_| error(&Problem::new(&codes::INTERNAL)))?;
    serde_json::from_value(value).map_err(|_| error(&Problem::new(&codes::INTERNAL)))
}

/// A route's refusal as the graph has it; what is not there, or not to be seen, is nothing.
fn found<T>(answer: std::result::Result<T, Problem>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(problem) if problem.code().status == 404 => Ok(None),
        Err(problem) => Err(error(&problem)),
    }
}

fn answered<T>(answer: std::result::Result<T, Problem>) -> Result<T> {
    answer.map_err(|problem| error(&problem))
}

fn error(problem: &Problem) -> Error {
    let code = problem.code();
    Error::new(code.english).extend_with(|_, extensions| extensions.set("code", code.name))
}

/// How many items a page is to have.
fn limit(first: Option<i32>) -> Result<Limit> {
    let first = first.unwrap_or(DEFAULT_FIRST);
    match u32::try_from(first) {
        Ok(limit) if (1..=MOST).contains(&first) => Ok(Limit(limit)),
        _ => Err(Error::new("first must be from 1 to 100").extend_with(|_, extensions| {
            extensions.set("code", codes::PARAMETER_INVALID.name);
        })),
    }
}

/// What a page costs.
fn cost(first: Option<i32>, each: usize) -> usize {
    1 + usize::try_from(first.unwrap_or(DEFAULT_FIRST)).unwrap_or(0).saturating_mul(each)
}
