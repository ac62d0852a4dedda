//! A dossier as each reader sees it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::dossier::Dossier;
use domain::{Action, Aggregate, Role};
use event_store::StreamId;
use projections::dossier::DossierRow;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accesses::{Access, AccessAction};
use crate::app::App;
use crate::auth::Caller;
use crate::error::denied;
use crate::extract::QueryRequest;
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

/// Records that an auditor reads a dossier; whose office or property it is to read it needs no record.
///
/// # Errors
/// A 503 when that cannot be done.
pub async fn record_read<R>(
    app: &App,
    request: &QueryRequest<R>,
    action: Action,
    row: &DossierRow,
) -> Result<(), Problem> {
    if request.caller.can(action, &row.resource()) != Ok(Role::Auditor) {
        return Ok(());
    }
    let read = Access::new(AccessAction::Read, &request.info).by(request.caller.id());
    app.accesses().record(read.concerning(row.owner_id).to(Dossier::TYPE, row.id)).await
}

/// The rows, opened for their reader.
///
/// # Errors
/// A 503 when keys cannot be read.
pub async fn show(app: &App, rows: Vec<(DossierRow, Sight)>) -> Result<Vec<Box<RawValue>>, Problem> {
    let document = |(row, sight): (DossierRow, Sight)| {
        let stream = stream(row.id);
        match sight {
            Sight::Whole => Ok((stream, Document::Whole(Box::new(row)))),
            Sight::Metadata => Ok((stream, Document::Metadata(blank(&row)?))),
        }
    };
    let documents: Result<Vec<(StreamId, Document)>, Problem> = rows.into_iter().map(document).collect();
    Ok(app.vault().reveal(&documents?).await?)
}

/// A row as far as its reader sees it.
#[derive(Serialize)]
#[serde(untagged)]
enum Document {
    Whole(Box<DossierRow>),
    Metadata(Value),
}

/// The row without what people wrote.
fn blank(row: &DossierRow) -> Result<Value, Problem> {
    let mut document = serde_json::to_value(row).map_err(|_| Problem::new(&codes::INTERNAL))?;
    for pointer in ["/description", "/fields", "/openChangeRequest/message", "/decision/motivation"] {
        if let Some(text) = document.pointer_mut(pointer) {
            *text = Value::Null;
        }
    }
    Ok(document)
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
