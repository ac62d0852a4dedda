//! The `Accept` header, as far as a route has more than one form to offer.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// Whether the client names this media type; JSON is what it gets otherwise.
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut named = lines.flat_map(|line| line.split(',')).map(|range| range.split(';').next().unwrap_or_default());
    named.any(|name| name.trim().eq_ignore_ascii_case(media_type))
}
