//! Sessions of browsers: a cookie that no script reads, and a token that no other site knows.

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use event_store::{StoreError, Vault};
use uuid::Uuid;

use super::opaque::Kind;
use crate::cors::Origins;
use crate::extract::same;
use crate::problem::{Problem, codes};

/// The browser itself sees to it that such a cookie is only sent to who set it, and only by TLS (or to this machine).
const NAME: &str = "__Host-capitune";
const SESSION: Kind = Kind { hash: "cookie", tag: "cookie.tag" };
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";
/// As long as a session, in seconds.
const LIFETIME: u32 = 30 * 24 * 3600;
static CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The cookie of a session.
///
/// # Errors
/// [`StoreError::Vault`] when the system gives no randomness.
pub fn cookie(vault: &Vault, session: Uuid) -> Result<HeaderValue, StoreError> {
    let value = SESSION.issue(vault, session)?;
    let cookie = format!("{NAME}={value}; Max-Age={LIFETIME}; {ATTRIBUTES}");
    HeaderValue::from_str(&cookie).map_err(|error| StoreError::Vault(error.to_string()))
}

/// What makes a browser forget its session.
pub fn no_cookie() -> HeaderValue {
    let cookie = HeaderValue::from_str(&format!("{NAME}=; Max-Age=0; {ATTRIBUTES}"));
    cookie.unwrap_or(HeaderValue::from_static(""))
}

/// The session that a browser shows its cookie of.
pub fn session_of(vault: &Vault, headers: &HeaderMap) -> Option<Uuid> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == NAME).map(|(_, value)| value);
    // Of two, one is not ours.
    let value = values.next().filter(|_| values.next().is_none())?;
    SESSION.id_of(vault, value)
}

/// What a browser must send along with whatever changes something.
pub fn csrf_token(vault: &Vault, session: Uuid) -> String {
    let hash = vault.keyed_hash("csrf", session.as_bytes());
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes sure that a request that comes with a cookie was meant by who has it.
///
/// # Errors
/// A 403 when another site may have sent it.
pub fn check_csrf(
    vault: &Vault,
    session: Uuid,
    method: &Method,
    headers: &HeaderMap,
    friends: &Origins,
) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    check_origin(headers, friends)?;
    let mut shown = headers.get_all(&CSRF_TOKEN).iter();
    let token = shown.next().filter(|_| shown.next().is_none());
    let expected = csrf_token(vault, session);
    match token.is_some_and(|token| same(token.as_bytes(), expected.as_bytes())) {
        true => Ok(()),
        false => Err(Problem::new(&codes::AUTH_CSRF_FAILED)),
    }
}

/// Makes sure that a request comes from our own pages or those of `friends`, as far as the browser says from where.
///
/// # Errors
/// A 403 when it does not.
pub fn check_origin(headers: &HeaderMap, friends: &Origins) -> Result<(), Problem> {
    if friends.allowed(headers).is_some() {
        return Ok(());
    }
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let foreign = text(&FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let host = text(&HOST).unwrap_or_default();
    let ours = |origin: &str| {
        let origin = origin.parse::<Uri>().ok();
        origin.and_then(|origin| Some(origin.authority()?.as_str().eq_ignore_ascii_case(host))).unwrap_or(false)
    };
    if foreign || !text(&ORIGIN).is_none_or(ours) {
        return Err(Problem::new(&codes::AUTH_CSRF_FAILED));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_and_those_of_friends_are_believed() {
        let accepted = |origin: Option<&str>, site: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "app.example:8443".parse().unwrap());
            for (name, value) in [(&ORIGIN, origin), (&FETCH_SITE, site)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            let friends = Origins::new(vec!["https://friend.example".parse().unwrap()]);
            check_origin(&headers, &friends).is_ok()
        };
        assert!(accepted(None, None));
        assert!(accepted(Some("https://app.example:8443"), Some("same-origin")));
        assert!(accepted(Some("https://APP.example:8443"), None));
        assert!(accepted(Some("https://friend.example"), Some("same-site")));
        for origin in [
            "null",
            "",
            "https://app.example",
            "https://app.example:8443.evil.example",
            "https://evil.example",
            "https://app.example:8443@evil.example",
            "https://xapp.example:8443",
            "http://friend.example",
        ] {
            assert!(!accepted(Some(origin), None), "{origin}");
        }
        for site in ["cross-site", "same-site", "", "nonsense"] {
            assert!(!accepted(None, Some(site)), "{site}");
        }
    }
}
