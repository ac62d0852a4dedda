//! Refusals: what every aggregate's error tells the edge about itself.

use std::error::Error;

use serde::{Deserialize, Serialize};

/// A refusal by an aggregate: a type with a human sentence (`Display`) and a stable code.
pub trait Rejection: Error + Clone + PartialEq + Send + Sync + 'static {
    /// The stable code, `<resource>.<condition>`: `dossier.invalid_transition`.
    fn code(&self) -> &'static str;

    /// The same sentence in French.
    fn french(&self) -> String;

    /// What kind of refusal it is, so that the edge can say what the caller may do.
    fn kind(&self) -> RejectionKind;
}

/// What the caller may do about a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RejectionKind {
    /// The command's content is wrong: mend these fields (422).
    Invalid(Vec<FieldError>),
    /// The command is not allowed in this state (409).
    Transition {
        /// The state the aggregate is in.
        current_state: &'static str,
        /// The commands that this state allows.
        allowed_commands: Vec<&'static str>,
    },
    /// A rule over the whole aggregate or over a claim stands against it (409).
    Conflict,
    /// It is somebody else's to do (403).
    Forbidden,
    /// There is nothing under this id (404).
    NotFound,
}

/// One field of a command that cannot stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer into the request body: `/title`.
    pub pointer: String,
    /// Stable code: `field.too_long`.
    pub code: String,
    /// A sentence for a person.
    pub detail: String,
}

impl FieldError {
    /// A field error from its three parts.
    pub fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.to_owned(), detail: detail.into() }
    }
}

/// Checks that `text`, trimmed, has between `min` and `max` characters; pushes a field error otherwise.
pub fn check_length(errors: &mut Vec<FieldError>, pointer: &str, text: &str, min: usize, max: usize) {
    let length = text.trim().chars().count();
    if length < min {
        let detail =
            if min == 1 { "must not be empty".to_owned() } else { format!("must have at least {min} characters") };
        errors.push(FieldError::new(pointer, "field.too_short", detail));
    } else if text.chars().count() > max {
        errors.push(FieldError::new(pointer, "field.too_long", format!("must have at most {max} characters")));
    }
}

/// Checks a text's length as [`check_length`] does, and that it holds no NUL, which the store cannot keep.
pub fn check_text(errors: &mut Vec<FieldError>, pointer: &str, text: &str, min: usize, max: usize) {
    check_length(errors, pointer, text, min, max);
    if text.contains('\0') {
        errors.push(FieldError::new(pointer, "field.nul", "must not hold the NUL character"));
    }
}
