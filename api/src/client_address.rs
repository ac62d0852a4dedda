//! Whose request it is when proxies stand in between: they are believed as far as each is trusted, from the nearest on.
//!
//! `X-Forwarded-For` and `Forwarded` (RFC 7239) are read apart. A proxy that writes one of them may pass on the other as
//! the client sent it: where both are there and do not lead to the same address, neither counts.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{FORWARDED, HeaderName};

use crate::config::AddressRange;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The nearest address in the chain of forwarders that is no trusted proxy.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[AddressRange]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|range| range.contains(*address));
    if !is_trusted(&peer) {
        return peer;
    }
    // From right to left: what stands before a word that is not believed anybody may have written.
    let told = |name: &HeaderName, hops: fn(&str) -> Vec<Option<IpAddr>>| {
        let lines = headers.get_all(name).iter().rev();
        let hops = lines.flat_map(|line| hops(&String::from_utf8_lossy(line.as_bytes())));
        let mut address = peer;
        for hop in hops.take_while(Option::is_some).flatten() {
            address = hop;
            if !is_trusted(&address) {
                break;
            }
        }
        headers.contains_key(name).then_some(address)
    };
    match (told(&X_FORWARDED_FOR, x_forwarded_for), told(&FORWARDED, forwarded)) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(address), _) | (None, Some(address)) => address,
        (None, None) => peer,
    }
}

/// The addresses of one line, from right to left; none for what is no address.
fn x_forwarded_for(line: &str) -> Vec<Option<IpAddr>> {
    let hops = line.rsplit(',').map(str::trim).filter(|hop| !hop.is_empty());
    hops.map(node).collect()
}

/// The same for a line of `Forwarded`.
fn forwarded(line: &str) -> Vec<Option<IpAddr>> {
    // A quote that the client left open swallows nothing of what the proxies added to its right.
    let mut elements = split(line.chars().rev(), ',');
    elements.retain(|element| !element.trim().is_empty());
    elements.into_iter().map(|element| forwarded_for(&element.chars().rev().collect::<String>())).collect()
}

/// The one `for` of an element.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split(element.chars(), ';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") {
            if found.is_some() {
                return None;
            }
            let value = value.trim();
            let unquoted = value.strip_prefix('"').map(|rest| rest.strip_suffix('"'));
            found = Some(node(unquoted.unwrap_or(Some(value))?)?);
        }
    }
    found
}

/// The parts between separators that are not quoted.
fn split(text: impl Iterator<Item = char>, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for character in text {
        quoted ^= character == '"';
        match parts.last_mut() {
            Some(part) if quoted || character != separator => part.push(character),
            _ => parts.push(String::new()),
        }
    }
    parts
}

/// An address, also with a port, an IPv6 one also in brackets.
fn node(text: &str) -> Option<IpAddr> {
    let bare = || text.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn address(peer: &str, lines: &[(&HeaderName, &[u8])]) -> String {
        let trusted: Vec<AddressRange> = vec!["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_bytes(line).unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    fn x(line: &str) -> String {
        address(PROXY, &[(&X_FORWARDED_FOR, line.as_bytes())])
    }

    fn f(line: &str) -> String {
        address(PROXY, &[(&FORWARDED, line.as_bytes())])
    }

    #[test]
    fn only_trusted_proxies_forward() {
        assert_eq!(address("203.0.113.7", &[(&X_FORWARDED_FOR, b"198.51.100.1")]), "203.0.113.7");
        assert_eq!(address("203.0.113.7", &[(&FORWARDED, b"for=198.51.100.1")]), "203.0.113.7");
        assert_eq!(address(PROXY, &[]), PROXY);
        assert_eq!(x("6.6.6.6, 198.51.100.1, 10.0.0.2"), "198.51.100.1");
        assert_eq!(f("for=6.6.6.6, for=198.51.100.1;by=10.0.0.2, for=10.0.0.2"), "198.51.100.1");
        assert_eq!(x("10.0.0.3, 10.0.0.2"), "10.0.0.3");
        let lines: [(&HeaderName, &[u8]); 2] = [(&X_FORWARDED_FOR, b"6.6.6.6"), (&X_FORWARDED_FOR, b"198.51.100.1")];
        assert_eq!(address(PROXY, &lines), "198.51.100.1");
    }

    #[test]
    fn an_address_may_have_brackets_and_a_port() {
        for line in
            ["198.51.100.1", "198.51.100.1:4711", "::ffff:198.51.100.1", "[::ffff:198.51.100.1]:80", "198.51.100.1,"]
        {
            assert_eq!(x(line), "198.51.100.1", "{line}");
        }
        for line in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"] {
            assert_eq!(x(line), "2001:db8::1", "{line}");
            assert_eq!(f(&format!("proto=https;For=\"{line}\";by=_x")), "2001:db8::1", "{line}");
        }
        assert_eq!(f("for=198.51.100.1:80;host=\"a,b;for=6.6.6.6\""), "198.51.100.1");
    }

    #[test]
    fn what_is_no_address_ends_the_chain() {
        for line in
            ["nonsense", "unknown", "6.6.6.6, unknown", "6.6.6.6, 1.2.3.4.5", "6.6.6.6 198.51.100.1", "[6.6.6.6]"]
        {
            assert_eq!(x(line), PROXY, "{line}");
        }
        for line in [
            "for=unknown",
            "for=_hidden",
            "for=6.6.6.6, for=\"_hidden\"",
            "6.6.6.6",
            "proto=https",
            "for=6.6.6.6;for=198.51.100.1",
            "for=\"6.6.6.6",
            "for=6.6.6.6\"",
            "for=\"6.6\\.6.6\"",
            "for=6.6.6.6, for=",
            "for=6.6.6.6;secret",
        ] {
            assert_eq!(f(line), PROXY, "{line}");
        }
    }

    #[test]
    fn what_a_client_sent_does_not_hide_what_the_proxies_add() {
        for sent in ["\"", "for=\"6.6.6.6", "for=\"a\\\"", ";;;,\",\"", "for=\"x, for=6.6.6.6", "\u{e9}"] {
            assert_eq!(f(&format!("{sent}, for=198.51.100.1")), "198.51.100.1", "{sent}");
            assert_eq!(f(&format!("{sent}, for=\"198.51.100.1:80\", for=10.0.0.9")), "198.51.100.1", "{sent}");
            assert_eq!(x(&format!("{sent}, 198.51.100.1")), "198.51.100.1", "{sent}");
        }
        let lines: [(&HeaderName, &[u8]); 2] =
            [(&X_FORWARDED_FOR, b"6.6.6.6"), (&X_FORWARDED_FOR, b"\xff, 198.51.100.1")];
        assert_eq!(address(PROXY, &lines), "198.51.100.1");
    }

    #[test]
    fn two_headers_that_differ_are_both_ignored() {
        let both = |x: &[u8], f: &[u8]| address(PROXY, &[(&X_FORWARDED_FOR, x), (&FORWARDED, f)]);
        assert_eq!(both(b"198.51.100.1", b"for=198.51.100.1"), "198.51.100.1");
        assert_eq!(both(b"198.51.100.1", b"for=6.6.6.6"), PROXY);
        assert_eq!(both(b"nonsense", b"for=6.6.6.6"), PROXY);
        assert_eq!(both(b"6.6.6.6", b""), PROXY);
    }
}
