//! Where a browser's page comes from.

use std::str::FromStr;

use axum::http::HeaderValue;
use reqwest::Url;
use thiserror::Error;

/// An origin, exactly as browsers send it: `scheme://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin(HeaderValue);

/// A text that is no origin of a web page.
#[derive(Debug, Error)]
#[error("not an origin")]
pub struct NoWebOrigin;

impl WebOrigin {
    /// What the header `Origin` says when it is this one.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl FromStr for WebOrigin {
    type Err = NoWebOrigin;

    fn from_str(text: &str) -> Result<Self, NoWebOrigin> {
        let url = Url::parse(text).map_err(|_| NoWebOrigin)?;
        // Written in any other way, it would never be equal to what a browser sends.
        let exact = url.origin().ascii_serialization() == text && !text.contains('*');
        let exact = exact && matches!(url.scheme(), "http" | "https");
        let header = HeaderValue::from_str(text).ok().filter(|_| exact);
        header.map(Self).ok_or(NoWebOrigin)
    }
}
