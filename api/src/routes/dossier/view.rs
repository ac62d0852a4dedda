//! A dossier as each reader sees it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::dossier::Dossier;
use domain::{Action, Aggregate};
use event_store::StreamId;
use projections::dossier::DossierRow;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Caller;
use crate::error::denied;
use crate::problem::{Problem, codes};

/// The stream of a dossier.
pub fn stream(id: Uuid) -> StreamId {
    StreamId { aggregate_type: Dossier::TYPE, id }
}

/// How much of a dossier a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All of it.
    Whole,
    /// All but what its people wrote.
    Metadata,
}

/// How much of this dossier the caller sees.
///
/// # Errors
/// A 404 when it is nothing.
pub fn sight(caller: &Caller, row: &DossierRow) -> Result<Sight, Problem> {
    let resource = row.resource();
    match caller.can(Action::ReadDossier, &resource) {
        Ok(_) => Ok(Sight::Whole),
        Err(_) => match caller.can(Action::ReadDossierMetadata, &resource) {
            Ok(_) => Ok(Sight::Metadata),
            Err(_) => Err(denied::<Dossier>(domain::Denial::Hidden)),
        },
    }
}

/// The rows, opened for their reader.
///
/// # Errors
/// A 503 when keys cannot be read.
pub async fn show(app: &App, rows: Vec<(DossierRow, Sight)>) -> Result<Vec<Value>, Problem> {
    let mut documents = Vec::with_capacity(rows.len());
    for (row, sight) in rows {
        let mut document = serde_json::to_value(&row).map_err(|_| Problem::new(&codes::INTERNAL))?;
        if sight == Sight::Metadata {
            blank(&mut document);
        }
        documents.push((stream(row.id), document));
    }
    app.vault().reveal(&mut documents).await?;
    Ok(documents.into_iter().map(|(_, document)| document).collect())
}

/// Takes away what people wrote.
fn blank(document: &mut Value) {
    for pointer in ["/description", "/fields", "/openChangeRequest/message", "/decision/motivation"] {
        if let Some(text) = document.pointer_mut(pointer) {
            *text = Value::Null;
        }
    }
}

/// A dossier.
#[derive(ToSchema)]
#[schema(as = Dossier, rename_all = "camelCase")]
#[expect(dead_code)] // describes the read model's row, which knows no OpenAPI
pub struct DossierView {
    id: Uuid,
    owner_id: Uuid,
    organization_id: Uuid,
    category: String,
    title: String,
    /// Null when there is none, when it is not the reader's to see, or when the owner's data was erased.
    description: Option<String>,
    /// Null when they are not the reader's to see.
    fields: Option<BTreeMap<String, Value>>,
    status: StatusView,
    /// The pro it is assigned to.
    reviewer_id: Option<Uuid>,
    documents: Vec<Value>,
    open_change_request: Option<ChangeRequestView>,
    decision: Option<DecisionView>,
    /// Whether it was filed for good.
    archived: bool,
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    submitted_at: Option<DateTime<Utc>>,
    decided_at: Option<DateTime<Utc>>,
}

/// How far a dossier has come.
#[derive(ToSchema)]
#[schema(as = DossierStatus, rename_all = "snake_case")]
#[expect(dead_code)] // describes the domain's type
pub enum StatusView {
    Draft,
    Submitted,
    InReview,
    ChangesRequested,
    Accepted,
    Refused,
    Closed,
    Withdrawn,
    Discarded,
}

/// What a pro asked the owner to change.
#[derive(ToSchema)]
#[schema(as = ChangeRequest, rename_all = "camelCase")]
#[expect(dead_code)] // describes the read model's row
pub struct ChangeRequestView {
    reason: super::bodies::Reason,
    message: Option<String>,
    by: Uuid,
    at: DateTime<Utc>,
}

/// How a review ended.
#[derive(ToSchema)]
#[schema(as = Decision, rename_all = "camelCase")]
#[expect(dead_code)] // describes the read model's row
pub struct DecisionView {
    outcome: OutcomeView,
    motivation: Option<String>,
    by: Uuid,
    at: DateTime<Utc>,
}

/// With which result a review ended.
#[derive(ToSchema)]
#[schema(as = DecisionOutcome, rename_all = "snake_case")]
#[expect(dead_code)] // describes the domain's type
pub enum OutcomeView {
    Accepted,
    Refused,
    Closed,
}
