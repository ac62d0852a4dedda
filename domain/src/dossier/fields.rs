//! The free fields of a dossier: their values and their limits.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::rejection::{FieldError, check_text};

/// How many fields a dossier may have.
pub const MAX_FIELDS: usize = 100;
/// How many characters a field's text may have.
pub const MAX_TEXT: usize = 2_000;
/// How many items a field's list may have.
pub const MAX_ITEMS: usize = 100;
/// How many bytes all fields together may take as JSON, so that an edit, which records old and new, stays
/// well within one message of the bus.
pub const MAX_BYTES: usize = 200_000;

/// The value of one field: a JSON scalar or a list of scalars, never null.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldValue {
    /// One value.
    Scalar(Scalar),
    /// Several values, in order.
    List(Vec<Scalar>),
}

/// A JSON string, number or boolean.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A number.
    Number(Number),
    /// A boolean.
    Flag(bool),
}

// Redacted: field values are personal data.
impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar(_) => "FieldValue(scalar)",
            Self::List(_) => "FieldValue(list)",
        })
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scalar")
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self::Scalar(Scalar::Text(text.to_owned()))
    }
}

impl FieldValue {
    fn scalars(&self) -> &[Scalar] {
        match self {
            Self::Scalar(scalar) => std::slice::from_ref(scalar),
            Self::List(scalars) => scalars,
        }
    }
}

/// Checks names, values and sizes; pointers are below `/fields`.
pub(super) fn check(errors: &mut Vec<FieldError>, fields: &BTreeMap<String, FieldValue>) {
    if fields.len() > MAX_FIELDS {
        let detail = format!("must have at most {MAX_FIELDS} fields");
        errors.push(FieldError::new("/fields", "field.too_many", detail));
        return;
    }
    if serde_json::to_vec(fields).map_or(0, |json| json.len()) > MAX_BYTES {
        let detail = format!("must take at most {MAX_BYTES} bytes together");
        errors.push(FieldError::new("/fields", "field.too_long", detail));
        return;
    }
    for (key, value) in fields {
        let pointer = format!("/fields/{}", key.replace('~', "~0").replace('/', "~1"));
        check_one(errors, &pointer, key, value);
    }
}

fn check_one(errors: &mut Vec<FieldError>, pointer: &str, key: &str, value: &FieldValue) {
    if !is_key(key) {
        let detail = "a field's name is a letter and up to 63 letters, digits, `_`, `.` or `-`";
        errors.push(FieldError::new(pointer, "field.bad_name", detail));
    }
    if value.scalars().len() > MAX_ITEMS {
        let detail = format!("must have at most {MAX_ITEMS} items");
        errors.push(FieldError::new(pointer, "field.too_many", detail));
    }
    for scalar in value.scalars() {
        if let Scalar::Text(text) = scalar {
            check_text(errors, pointer, text, 0, MAX_TEXT);
        }
    }
}

fn is_key(key: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    key.len() <= 64 && key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(allowed)
}
