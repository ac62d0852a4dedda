//! Logging in at another provider, by OpenID Connect: the authorization code flow with PKCE, nonce and state.
//!
//! State, nonce and verifier of a flow are made from one secret that only the browser has: what the database keeps of
//! it says that there was one, and makes it good once.

mod identities;
mod provider;

use std::collections::BTreeMap;
use std::sync::Arc;

use event_store::{Database, Vault};
use sqlx::PgPool;
use uuid::Uuid;

pub use identities::{Identities, Identity};
pub use provider::{Profile, Provider};

use super::opaque::Kind;
use crate::config::OidcProvider;
use crate::problem::{Problem, codes};

const STATE: Kind = Kind { hash: "oidc state", tag: "oidc state.tag" };

/// The providers that people may log in at.
#[derive(Clone)]
pub struct Oidc {
    /// Who people are there.
    pub identities: Identities,
    providers: Arc<BTreeMap<String, Provider>>,
    writes: PgPool,
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
        let mut providers = BTreeMap::new();
        for provider in configured {
            let back = format!("{public_url}/api/auth/oidc/{}/callback", provider.name);
            providers.insert(provider.name.clone(), Provider::new(provider.clone(), back)?);
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
