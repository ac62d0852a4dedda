//! Where people may log in besides here.

use std::net::IpAddr;

use axum::http::Uri;

use super::Secret;

/// Where GitHub is.
pub const GITHUB: &str = "https://github.com";

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenID Connect.
    OpenId,
    /// OAuth, as GitHub and GitHub Enterprise have it.
    GitHub,
}

/// A provider that people may log in at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcProvider {
    /// What it is called in addresses.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its issuer, which describes itself under `/.well-known/openid-configuration`; for GitHub where it is.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// How we prove that.
    pub client_secret: Secret,
}

impl OidcProvider {
    /// Reads `name=issuer,client id,client secret`, several separated by spaces; none when one of them is not so. GitHub is
    /// known by its address, GitHub Enterprise by a `github+` before it.
    pub fn parse_all(text: &str) -> Option<Vec<Self>> {
        let providers: Option<Vec<Self>> = text.split_whitespace().map(Self::parse).collect();
        providers.filter(|providers| {
            let mut names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
            names.sort_unstable();
            names.windows(2).all(|pair| pair[0] != pair[1])
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('=')?;
        let parts: Vec<&str> = rest.splitn(3, ',').collect();
        let [issuer, client_id, client_secret] = parts.as_slice() else { return None };
        let (protocol, issuer) = match issuer.strip_prefix("github+") {
            Some(issuer) => (Protocol::GitHub, issuer),
            None if *issuer == GITHUB => (Protocol::GitHub, *issuer),
            None => (Protocol::OpenId, *issuer),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let named = (1..=30).contains(&name.len()) && name.chars().all(plain);
        let complete = !client_id.is_empty() && !client_secret.is_empty();
        (named && complete && is_issuer(issuer)).then(|| Self {
            name: name.to_owned(),
            protocol,
            issuer: issuer.to_owned(),
            client_id: (*client_id).to_owned(),
            client_secret: Secret((*client_secret).to_owned()),
        })
    }
}

/// Only this machine is talked to without TLS.
fn is_issuer(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
    uri.query().is_none() && (uri.scheme_str() == Some("https") || uri.scheme_str() == Some("http") && here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_has_a_name_an_issuer_and_our_credentials() {
        let names = |text: &str| {
            let providers = OidcProvider::parse_all(text)?;
            Some(providers.into_iter().map(|provider| provider.name).collect::<Vec<_>>())
        };
        let google = "google=https://accounts.google.com,an-id,a,secret";
        assert_eq!(names(google).unwrap(), ["google"]);
        assert_eq!(OidcProvider::parse_all(google).unwrap()[0].client_secret.expose(), "a,secret");
        let protocol = |text: &str| OidcProvider::parse_all(text).unwrap()[0].protocol;
        assert_eq!(protocol(google), Protocol::OpenId);
        assert_eq!(protocol("github=https://github.com,a,b"), Protocol::GitHub);
        assert_eq!(protocol("ours=github+https://git.example,a,b"), Protocol::GitHub);
        assert_eq!(names(&format!("{google}  here=http://127.0.0.1:9,a,b")).unwrap().len(), 2);
        for wrong in [
            "google",
            "google=https://accounts.google.com,an-id",
            "google=https://accounts.google.com,,secret",
            "Google=https://accounts.google.com,a,b",
            "a/b=https://accounts.google.com,a,b",
            "plain=github+http://git.example,a,b",
            "plain=http://accounts.google.com,a,b",
            "file=file:///etc/passwd,a,b",
            "twice=https://a.b,c,d twice=https://a.b,c,d",
        ] {
            assert_eq!(names(wrong), None, "{wrong}");
        }
    }
}
