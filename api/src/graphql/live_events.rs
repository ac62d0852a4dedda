//! Live events.

use async_graphql::{Context, Object, Result, SimpleObject};
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{GraphPage, LIST, LOOKUP, answered, asked, cost, found, limit, seen};
use crate::extract::{Id, NoParameters};
use crate::routes::live::{ListEvents, event, events};

/// A live event.
#[derive(SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    id: Uuid,
    organization_id: Uuid,
    title: String,
    description: String,
    time_zone: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    /// Seats; null for no limit.
    capacity: Option<i64>,
    /// Where it can be watched: for those who have a seat from 15 minutes before the start, and for its organisers.
    stream_url: Option<String>,
    /// draft, scheduled or cancelled.
    status: String,
    /// What the clock says: upcoming, live or ended.
    phase: String,
    cancel_reason: Option<String>,
    /// How many have a seat.
    confirmed: i64,
    /// How many wait for one.
    waiting: i64,
    /// What the reader has: confirmed, waitlisted, cancelled, or null.
    registration: Option<String>,
    version: u64,
}

/// The part of the graph that is about live events.
#[derive(Default)]
pub struct LiveEvents;

#[Object]
impl LiveEvents {
    /// The live events that the reader may see, the first to start first.
    #[graphql(complexity = "LIST + cost(first, child_complexity)")]
    async fn events(
        &self,
        context: &Context<'_>,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        q: Option<String>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<GraphPage<Event>> {
        let asked = asked(context);
        let parameters = ListEvents { from, to, q, limit: limit(first)?, cursor: after };
        let answer = answered(events(State(asked.app.clone()), asked.query(parameters)).await)?;
        asked.reached(answer.reached);
        GraphPage::of(answer.body)
    }

    /// One live event; null when there is none, or none that the reader may see.
    #[graphql(complexity = "LOOKUP + child_complexity")]
    async fn event(&self, context: &Context<'_>, id: Uuid) -> Result<Option<Event>> {
        let asked = asked(context);
        let answer = found(event(State(asked.app.clone()), Id(id), asked.query(NoParameters {})).await)?;
        let Some(answer) = answer else { return Ok(None) };
        asked.reached(answer.reached);
        seen(&answer.body).map(Some)
    }
}
