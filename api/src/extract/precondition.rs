//! The `If-Match` header (RFC 9110, 13.1.1), by strong comparison.

use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;

use crate::problem::{Problem, codes};

/// The version at which a command may be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Any.
    None,
    /// Any, as long as the aggregate exists.
    Exists,
    /// One of these; empty when only weak or foreign tags were given, which nothing can match.
    OneOf(Vec<u64>),
}

impl Precondition {
    /// What the headers demand.
    ///
    /// # Errors
    /// A 400 when they are not a list of entity tags.
    pub fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut lines = headers.get_all(IF_MATCH).iter().peekable();
        if lines.peek().is_none() {
            return Ok(Self::None);
        }
        let mut text = String::new();
        for line in lines {
            let separator = if text.is_empty() { "" } else { "," };
            text = text + separator + line.to_str().map_err(|_| malformed())?;
        }
        if text.trim() == "*" {
            return Ok(Self::Exists);
        }
        let tags = tags(&text).ok_or_else(malformed)?;
        Ok(Self::OneOf(tags.iter().filter_map(Tag::version).collect()))
    }
}

fn malformed() -> Problem {
    Problem::new(&codes::HEADER_INVALID).with_detail(
        "If-Match must be `*` or a list of entity tags such as \"7\"",
        "If-Match doit être « * » ou une liste d'étiquettes comme \"7\"",
    )
}

#[derive(Debug)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a str,
}

impl Tag<'_> {
    /// The version that a strong tag of ours names.
    fn version(&self) -> Option<u64> {
        let version = self.opaque.parse().ok()?;
        (!self.weak && self.opaque == u64::to_string(&version)).then_some(version)
    }
}

/// A comma-separated list of `"opaque"` and `W/"opaque"`; none when it is not one, or empty.
fn tags(text: &str) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    let mut rest = text.trim();
    loop {
        // Empty elements are allowed in lists.
        rest = rest.trim_start_matches([',', ' ', '\t']);
        if rest.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let strong = rest.strip_prefix("W/");
        let (opaque, after) = strong.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        if opaque.contains(|c: char| c.is_ascii_control() || c == ' ') {
            return None;
        }
        tags.push(Tag { weak: strong.is_some(), opaque });
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Precondition::*;
    use super::*;

    fn read(lines: &[&'static str]) -> Option<Precondition> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, line.parse().unwrap());
        }
        Precondition::read(&headers).ok()
    }

    #[test]
    fn only_a_strong_tag_of_ours_names_a_version() {
        assert_eq!(read(&[]), Some(None));
        assert_eq!(read(&["*"]), Some(Exists));
        assert_eq!(read(&["\"7\""]), Some(OneOf(vec![7])));
        assert_eq!(read(&[" \"7\" , W/\"8\""]), Some(OneOf(vec![7])));
        assert_eq!(read(&["\"7\"", "\"8\""]), Some(OneOf(vec![7, 8])));
        assert_eq!(read(&["W/\"7\""]), Some(OneOf(vec![])));
        assert_eq!(read(&["\"07\""]), Some(OneOf(vec![])));
        assert_eq!(read(&["\"abc\""]), Some(OneOf(vec![])));
        assert_eq!(read(&["\"\""]), Some(OneOf(vec![])));
        assert_eq!(read(&["\"99999999999999999999999\""]), Some(OneOf(vec![])));
    }

    #[test]
    fn what_is_no_entity_tag_is_malformed() {
        for line in ["", "7", "\"7", "7\"", "\"7\"\"8\"", "\"7\" x", "w/\"7\"", "*, \"7\"", "\"a b\"", ","] {
            assert_eq!(read(&[line]), Option::None, "{line}");
        }
    }
}
