//! The `Prefer` header (RFC 7240), as far as it means something here. Whatever else it says is ignored.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::HeaderName;

/// `Prefer`.
pub static PREFER: HeaderName = HeaderName::from_static("prefer");

const DEFAULT_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What the client prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preferences {
    /// Whether a command should be answered with the resource.
    pub representation: bool,
    /// How long to wait for a read model.
    pub wait: Duration,
}

impl Preferences {
    /// What the headers say; the first of contradicting preferences counts.
    pub fn read(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(&PREFER).iter().filter_map(|line| line.to_str().ok());
        let preferences = lines.flat_map(|line| line.split(',')).filter_map(preference);
        let (mut answer, mut wait) = (None, None);
        for (name, value) in preferences {
            match name.to_ascii_lowercase().as_str() {
                "return" if answer.is_none() => answer = Some(value.eq_ignore_ascii_case("representation")),
                "wait" if wait.is_none() => wait = value.parse().ok().map(Duration::from_secs),
                _ => {}
            }
        }
        let wait = wait.unwrap_or(DEFAULT_WAIT).min(LONGEST_WAIT);
        Self { representation: answer.unwrap_or(false), wait }
    }
}

/// `name=value`, without its parameters and quotes.
fn preference(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split(';').next()?.split_once('=')?;
    Some((name.trim(), value.trim().trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> (bool, u64) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&PREFER, line.parse().unwrap());
        }
        let preferences = Preferences::read(&headers);
        (preferences.representation, preferences.wait.as_secs())
    }

    #[test]
    fn preferences_are_read_leniently() {
        assert_eq!(read(&[]), (false, 5));
        assert_eq!(read(&["return=representation"]), (true, 5));
        assert_eq!(read(&["Return=\"representation\"; foo=bar, WAIT = 10"]), (true, 10));
        assert_eq!(read(&["wait=1", "wait=20, return=minimal"]), (false, 1));
        assert_eq!(read(&["wait=99999999999999999999, respond-async"]), (false, 5));
        assert_eq!(read(&["wait=31"]), (false, 30));
        assert_eq!(read(&["wait=0"]), (false, 0));
        assert_eq!(read(&["wait=-1;;;,,=,return"]), (false, 5));
        assert_eq!(read(&["return=minimal, return=representation"]), (false, 5));
    }
}
