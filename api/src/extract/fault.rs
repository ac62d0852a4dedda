//! What serde finds wrong with a body or with parameters, said without the names of our types.

use domain::FieldError;
use serde_path_to_error::{Path, Segment};

/// What a value lacks or has too much of.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// A name that is not known here.
    Unknown,
    /// A name that must be there.
    Missing,
    /// A value of the wrong kind or outside its bounds.
    Invalid,
}

/// The fault that serde's message names, and where it is.
pub fn fault(path: &Path, message: &str) -> (Fault, FieldError) {
    let mut pointer = pointer(path);
    let (fault, code, detail) = if message.starts_with("unknown field ") {
        (Fault::Unknown, "field.unknown", "is not known here")
    } else if message.starts_with("missing field ") {
        (Fault::Missing, "field.required", "is required")
    } else {
        (Fault::Invalid, "field.invalid", expected(message))
    };
    if fault != Fault::Invalid
        && let Some(name) = message.split('`').nth(1)
    {
        let last = format!("/{}", escape(name));
        if !pointer.ends_with(&last) {
            pointer.push_str(&last);
        }
    }
    (fault, FieldError::new(pointer, code, detail))
}

/// What a message may tell: the kinds of JSON, and none of our types.
fn expected(message: &str) -> &'static str {
    let expected = message.rsplit_once("expected ").map_or("", |(_, expected)| expected);
    match expected {
        _ if expected.starts_with("a string") => "must be a string",
        _ if expected.starts_with("a boolean") => "must be true or false",
        _ if expected.starts_with("a map") => "must be an object",
        _ if expected.starts_with("a sequence") => "must be a list",
        _ if expected.starts_with(['i', 'u']) && expected[1..].starts_with(['3', '6', '8']) => {
            "must be a whole number within its bounds"
        }
        _ if message.contains("variant") => "is none of the values that are allowed here",
        _ => "is not what is expected here",
    }
}

fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", escape(key)),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

/// A name as a JSON pointer has it.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
