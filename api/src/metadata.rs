//! What is known of a request before it is understood: its id, its trace, where it comes from, what it reads.

use std::net::SocketAddr;
use std::sync::OnceLock;

use axum::http::header::{ACCEPT_LANGUAGE, HeaderName, USER_AGENT};
use axum::http::{Extensions, HeaderMap};
use domain::metadata::Client;
use uuid::Uuid;

use crate::client_address::client_address;
use crate::config::AddressRange;
use crate::problem::Language;

/// `X-Request-Id`, in and out.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const LONGEST_REQUEST_ID: usize = 128;
const LONGEST_USER_AGENT: usize = 256;

/// The address at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What is known of a request before it is understood.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// The caller's `X-Request-Id`, or one of our own.
    pub id: String,
    /// W3C trace context, when the caller sent a valid one.
    pub traceparent: Option<String>,
    /// Where it comes from.
    pub client: Option<Client>,
    /// The language of its problems.
    pub language: Language,
    caller: OnceLock<Uuid>,
}

impl RequestInfo {
    /// Reads the headers; forwarded addresses count only from `trusted` proxies.
    pub fn read(headers: &HeaderMap, extensions: &Extensions, trusted: &[AddressRange]) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let id = text(&REQUEST_ID).filter(|id| is_request_id(id));
        let user_agent = text(&USER_AGENT).map(|agent| agent.chars().take(LONGEST_USER_AGENT).collect());
        let peer = extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        Self {
            id: id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned),
            traceparent: text(&TRACEPARENT).filter(|parent| is_traceparent(parent)).map(str::to_owned),
            client: peer.map(|peer| Client { address: client_address(peer, headers, trusted).to_string(), user_agent }),
            language: Language::preferred(text(&ACCEPT_LANGUAGE)),
            caller: OnceLock::new(),
        }
    }

    /// Notes the account that proved to be calling.
    pub fn note_caller(&self, account: Uuid) {
        self.caller.get_or_init(|| account);
    }

    /// The account that proved to be calling.
    pub fn caller(&self) -> Option<Uuid> {
        self.caller.get().copied()
    }

    /// What all events of the business exchange share: the trace, when there is one.
    pub fn correlation_id(&self) -> Uuid {
        let trace = self.traceparent.as_deref().and_then(|parent| parent.get(3..35));
        trace.and_then(|trace| Uuid::try_parse(trace).ok()).unwrap_or_else(|| self.causation_id())
    }

    /// The request as a cause: its id where that is a UUID.
    pub fn causation_id(&self) -> Uuid {
        Uuid::try_parse(&self.id).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, self.id.as_bytes()))
    }
}

fn is_request_id(id: &str) -> bool {
    (1..=LONGEST_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `00-<trace id>-<parent id>-<flags>` in lower-case hex, neither id all zeros; later versions may be longer.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let not_zero = |part: &str| part.bytes().any(|byte| byte != b'0');
    match parts.as_slice() {
        [version, trace, parent, flags, more @ ..] => {
            hex(version, 2)
                && *version != "ff"
                && (more.is_empty() || *version != "00")
                && hex(trace, 32)
                && not_zero(trace)
                && hex(parent, 16)
                && not_zero(parent)
                && hex(flags, 2)
                && text.len() <= 256
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_context_must_be_well_formed() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        assert!(is_traceparent(&good.replacen("00", "01", 1).replace("-01", "-01-more")));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn a_request_id_is_short_and_visible() {
        assert!(is_request_id("abc-123"));
        for bad in ["", "with space", "é", &"x".repeat(129)] {
            assert!(!is_request_id(bad), "{bad}");
        }
    }
}
