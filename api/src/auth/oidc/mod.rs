//! Logging in at another provider, by OpenID Connect or as GitHub has it: the authorization code flow with PKCE and
//! state, and a nonce where there is an ID token.
//!
//! State, nonce and verifier of a flow are made from one secret that only the browser has: what the database keeps of
//! it says that there was one, and makes it good once.

mod github;
mod http;
mod identities;
mod provider;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_store::{Database, Vault};
use openidconnect::{Nonce, PkceCodeVerifier};
use sqlx::PgPool;
use uuid::Uuid;

pub use identities::{Identities, Identity};

use super::opaque::Kind;
use crate::config::{OidcProvider, Protocol};
use crate::problem::{Problem, codes};
use github::GitHub;
use http::Http;
use provider::OpenIdProvider;

const STATE: Kind = Kind { hash: "oidc state", tag: "oidc state.tag" };

/// The providers that people may log in at.
#[derive(Clone)]
pub struct Oidc {
    /// Who people are there.
    pub identities: Identities,
    providers: Arc<BTreeMap<String, Provider>>,
    writes: PgPool,
}

/// A provider, by what it speaks.
enum Provider {
    OpenId(Box<OpenIdProvider>),
    GitHub(GitHub),
}

/// Who a provider says somebody is.
pub struct Profile {
    /// The provider's issuer and its name for them, which together are one person for ever.
    pub subject: String,
    /// Their address, when the provider has verified it.
    pub email: Option<String>,
    /// Their name.
    pub name: Option<String>,
}

/// What keeps providers from being called.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// There is no HTTP client.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// A flow that has begun: where to send the browser, and what it has to bring back.
pub struct Flow {
    /// The provider's address.
    pub url: String,
    /// The secret of the flow, for a cookie.
    pub state: String,
}

/// A flow that came back.
pub struct Returned {
    /// Who the provider says it is.
    pub profile: Profile,
    /// The account that asked to be linked; nothing for a log-in.
    pub account: Option<Uuid>,
}

impl Oidc {
    /// These providers, who send people back to `public_url`.
    ///
    /// # Errors
    /// [`OidcError`] when no client can be made to call them with.
    pub fn new(configured: &[OidcProvider], public_url: &str, database: &Database) -> Result<Self, OidcError> {
        let http = Http::new()?;
        let mut providers = BTreeMap::new();
        for provider in configured {
            let back = format!("{public_url}/api/auth/oidc/{}/callback", provider.name);
            let (name, http) = (provider.name.clone(), http.clone());
            let provider = match provider.protocol {
                Protocol::OpenId => Provider::OpenId(Box::new(OpenIdProvider::new(provider.clone(), back, http))),
                Protocol::GitHub => Provider::GitHub(GitHub::new(provider.clone(), back, http)),
            };
            providers.insert(name, provider);
        }
        let identities = Identities::new(database);
        Ok(Self { identities, providers: Arc::new(providers), writes: database.writes.clone() })
    }

    fn provider(&self, name: &str) -> Result<&Provider, Problem> {
        self.providers.get(name).ok_or_else(|| Problem::new(&codes::PROVIDER_NOT_FOUND))
    }

    /// Begins a flow at a provider: a log-in, or the linking of `account`.
    ///
    /// # Errors
    /// A 404 for an unknown provider, a 503 when it or the database does not answer.
    pub async fn begin(&self, vault: &Vault, name: &str, account: Option<Uuid>) -> Result<Flow, Problem> {
        let provider = self.provider(name)?;
        let id = Uuid::now_v7();
        let state = STATE.issue(vault, id)?;
        let url = provider.authorization_url(vault, &state).await?;
        sqlx::query("delete from identity_flows where begun_at < clock_timestamp() - interval '10 minutes'")
            .execute(&self.writes)
            .await?;
        sqlx::query("insert into identity_flows (id, provider, account_id) values ($1, $2, $3)")
            .bind(id)
            .bind(name)
            .bind(account)
            .execute(&self.writes)
            .await?;
        Ok(Flow { url, state })
    }

    /// Ends a flow: `state` as the browser kept it, `shown` and `code` as the provider sent them.
    ///
    /// # Errors
    /// A 400 when something of it is not as it was begun, a 503 when the provider or the database does not answer.
    pub async fn end(
        &self,
        vault: &Vault,
        name: &str,
        state: Option<&str>,
        shown: &str,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<Returned, Problem> {
        let provider = self.provider(name)?;
        let refused = || Problem::new(&codes::OIDC_FAILED);
        let state = state.filter(|state| *state == shown).ok_or_else(refused)?;
        let id = STATE.id_of(vault, state).ok_or_else(refused)?;
        // Whoever else holds it comes too late.
        let flow: Option<(String, Option<Uuid>)> = sqlx::query_as(
            "delete from identity_flows where id = $1 and begun_at > clock_timestamp() - interval '10 minutes'
             returning provider, account_id",
        )
        .bind(id)
        .fetch_optional(&self.writes)
        .await?;
        let (begun_at, account) = flow.ok_or_else(refused)?;
        if begun_at != name || issuer.is_some_and(|issuer| issuer != provider.issuer()) {
            return Err(refused());
        }
        Ok(Returned { profile: provider.profile(vault, state, code).await?, account })
    }
}

impl Provider {
    fn issuer(&self) -> &str {
        match self {
            Self::OpenId(provider) => provider.issuer(),
            Self::GitHub(github) => github.issuer(),
        }
    }

    async fn authorization_url(&self, vault: &Vault, state: &str) -> Result<String, Problem> {
        match self {
            Self::OpenId(provider) => provider.authorization_url(vault, state).await,
            Self::GitHub(github) => github.authorization_url(vault, state),
        }
    }

    async fn profile(&self, vault: &Vault, state: &str, code: &str) -> Result<Profile, Problem> {
        match self {
            Self::OpenId(provider) => provider.profile(vault, state, code).await,
            Self::GitHub(github) => github.profile(vault, state, code).await,
        }
    }
}

/// What a client is told is that it failed; what failed is for who runs the instance.
fn failed(provider: &str, error: &dyn std::fmt::Display) -> Problem {
    tracing::info!(provider, %error, "a log-in at a provider failed");
    Problem::new(&codes::OIDC_FAILED)
}

fn verifier(vault: &Vault, state: &str) -> PkceCodeVerifier {
    PkceCodeVerifier::new(URL_SAFE_NO_PAD.encode(vault.keyed_hash("oidc verifier", state.as_bytes())))
}

fn nonce(vault: &Vault, state: &str) -> Nonce {
    Nonce::new(URL_SAFE_NO_PAD.encode(vault.keyed_hash("oidc nonce", state.as_bytes())))
}
