//! What the commands on dossiers say.

use std::collections::BTreeMap;

use domain::dossier::{ChangeReason, FieldValue};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::given;

/// Opens a draft.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateDossier {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    pub category: String,
    /// At most 10,000 characters.
    #[schema(max_length = 10_000)]
    pub description: Option<String>,
    /// At most 100 fields; a value is a scalar or a list of scalars.
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>)]
    pub fields: Option<BTreeMap<String, FieldValue>>,
}

/// Changes what is given.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EditDossier {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub title: Option<String>,
    /// 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub category: Option<String>,
    /// At most 10,000 characters; null removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    /// Replaces all fields.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = BTreeMap<String, serde_json::Value>, required = false)]
    pub fields: Option<BTreeMap<String, FieldValue>>,
}

/// Hands a dossier in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubmitDossier {
    /// After a change request without an edit: why nothing changed.
    pub note: Option<String>,
}

/// Asks the owner for changes.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestChanges {
    /// What is the matter.
    #[schema(value_type = Reason)]
    pub reason: ChangeReason,
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    pub message: String,
}

/// Why a pro asks for changes.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code)] // describes the domain's type, which knows no OpenAPI
pub enum Reason {
    /// Something is wrong.
    Incorrect,
    /// Something is missing.
    Incomplete,
    /// Something is no longer valid.
    Outdated,
}

/// Decides in favour.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptDossier {
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    pub motivation: Option<String>,
}

/// Decides against, or ends the review.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Motivation {
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    pub motivation: String,
}

/// Takes a decision back into review.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReopenReview {
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    pub reason: String,
}

/// Gives up.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WithdrawDossier {
    /// 1 to 5,000 characters.
    #[schema(min_length = 1, max_length = 5_000)]
    pub reason: Option<String>,
}

/// Names the pro who is to review.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssignDossier {
    /// The account of a pro.
    pub pro: Uuid,
}
