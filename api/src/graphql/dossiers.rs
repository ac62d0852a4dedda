//! Dossiers with their people and their history.

use async_graphql::{ComplexObject, Context, Json, Object, Result, SimpleObject};
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::dossier::{Dossier as DossierAggregate, Status};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::people::{Person, person};
use super::{GraphPage, LIST, LOOKUP, answered, asked, cost, found, limit, seen};
use crate::error::not_found;
use crate::extract::{Id, Paging};
use crate::routes::dossier::{AsItWas, ListDossiers, dossier, dossiers, history};

/// A dossier.
#[derive(SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
#[graphql(complex)]
pub struct Dossier {
    id: Uuid,
    owner_id: Uuid,
    organization_id: Uuid,
    category: String,
    title: String,
    /// Null when there is none, when it is not the reader's to see, or when the owner's data was erased.
    description: Option<String>,
    /// Null when they are not the reader's to see.
    fields: Option<Json<Value>>,
    /// How far it has come.
    status: String,
    reviewer_id: Option<Uuid>,
    documents: Vec<Json<Value>>,
    /// What a pro asked the owner to change.
    open_change_request: Option<Json<Value>>,
    /// How its review ended.
    decision: Option<Json<Value>>,
    /// Whether it was filed for good.
    archived: bool,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    submitted_at: Option<DateTime<Utc>>,
    decided_at: Option<DateTime<Utc>>,
}

/// One event in the life of a dossier.
#[derive(SimpleObject, Deserialize)]
#[serde(rename_all = "camelCase")]
#[graphql(complex)]
pub struct HistoryItem {
    /// The dossier's version after it.
    version: u64,
    /// Its number in the whole log.
    position: u64,
    /// What happened.
    r#type: String,
    at: DateTime<Utc>,
    #[graphql(skip)]
    actor: Actor,
    /// What the event says.
    data: Json<Value>,
    /// What it changed in the dossier.
    changes: Json<Value>,
}

#[derive(Deserialize)]
struct Actor {
    id: Uuid,
    role: String,
}

#[ComplexObject]
impl HistoryItem {
    /// Who caused it.
    async fn actor(&self, context: &Context<'_>) -> Result<Option<Person>> {
        person(context, self.actor.id).await
    }

    /// The role under which they did.
    async fn role(&self) -> &str {
        &self.actor.role
    }
}

#[ComplexObject]
impl Dossier {
    /// Whose it is.
    async fn owner(&self, context: &Context<'_>) -> Result<Option<Person>> {
        person(context, self.owner_id).await
    }

    /// Who reviews it.
    async fn reviewer(&self, context: &Context<'_>) -> Result<Option<Person>> {
        match self.reviewer_id {
            Some(reviewer) => person(context, reviewer).await,
            None => Ok(None),
        }
    }

    /// What became of it, event by event; null when it is not the reader's to replay.
    #[graphql(complexity = "LOOKUP + cost(first, child_complexity)")]
    async fn history(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<GraphPage<HistoryItem>>> {
        let asked = asked(context);
        let request = asked.query(Paging { limit: limit(first)?, cursor: after });
        let answer = history(State(asked.app.clone()), Id(self.id), request).await;
        // Who sees the dossier may still not replay it, which is no fault of the query.
        let answer =
            answer.map_err(|problem| if problem.is_denial() { not_found::<DossierAggregate>() } else { problem });
        let Some(answer) = found(answer)? else { return Ok(None) };
        asked.reached(answer.reached);
        GraphPage::of(answer.body).map(Some)
    }
}

/// The part of the graph that is about dossiers.
#[derive(Default)]
pub struct Dossiers;

#[Object]
impl Dossiers {
    /// The dossiers that the reader may see, the newest first; for auditors also as they were.
    #[graphql(complexity = "LIST + cost(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are the route's")]
    async fn dossiers(
        &self,
        context: &Context<'_>,
        status: Option<String>,
        category: Option<String>,
        assigned_to: Option<Uuid>,
        q: Option<String>,
        as_of: Option<DateTime<Utc>>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<GraphPage<Dossier>> {
        let known = |name: String| Status::ALL.into_iter().find(|status| status.as_str() == name);
        let status = match status {
            None => None,
            Some(name) => Some(known(name).ok_or_else(|| async_graphql::Error::new("there is no such status"))?),
        };
        let asked = asked(context);
        let limit = limit(first)?;
        let parameters = ListDossiers {
            status,
            category,
            assigned_to,
            q,
            sort: None,
            as_of,
            at_position: None,
            limit,
            cursor: after,
        };
        let answer = answered(dossiers(State(asked.app.clone()), asked.query(parameters)).await)?;
        asked.reached(answer.reached);
        GraphPage::of(answer.body)
    }

    /// One dossier, now or as it was; null when there is none, or none that the reader may see.
    #[graphql(complexity = "LOOKUP + child_complexity")]
    async fn dossier(&self, context: &Context<'_>, id: Uuid, version: Option<u64>) -> Result<Option<Dossier>> {
        let asked = asked(context);
        let request = asked.query(AsItWas { version, as_of: None, at_position: None });
        let Some(answer) = found(dossier(State(asked.app.clone()), Id(id), request).await)? else { return Ok(None) };
        asked.reached(answer.reached);
        seen(&answer.body).map(Some)
    }
}
