//! An OpenID Connect provider: what it says of itself, and who it says somebody is.

use std::sync::Arc;
use std::time::Duration;

use event_store::Vault;
use moka::future::Cache;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl,
    PkceCodeChallenge, RedirectUrl, Scope,
};

use super::http::Http;
use super::{Profile, failed, nonce, verifier};
use crate::config::OidcProvider;
use crate::problem::{Problem, codes};

/// How long its description and keys are believed.
const KNOWN_FOR: Duration = Duration::from_secs(600);

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// A provider that describes itself.
pub struct OpenIdProvider {
    configured: OidcProvider,
    back: String,
    http: Http,
    metadata: Cache<(), Arc<CoreProviderMetadata>>,
}

impl OpenIdProvider {
    /// The provider that is configured, who sends people back to `back`.
    pub fn new(configured: OidcProvider, back: String, http: Http) -> Self {
        let metadata = Cache::builder().time_to_live(KNOWN_FOR).max_capacity(1).build();
        Self { configured, back, http, metadata }
    }

    /// Its own name.
    pub fn issuer(&self) -> &str {
        &self.configured.issuer
    }

    /// Where a browser logs in, for the flow of this state.
    ///
    /// # Errors
    /// A 503 when the provider does not answer.
    pub async fn authorization_url(&self, vault: &Vault, state: &str) -> Result<String, Problem> {
        let client = self.client().await?;
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier(vault, state));
        let (csrf, nonce) = (CsrfToken::new(state.to_owned()), nonce(vault, state));
        let request = client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, || csrf, || nonce);
        let scopes = ["email", "profile"].map(|scope| Scope::new(scope.to_owned()));
        Ok(request.add_scopes(scopes).set_pkce_challenge(challenge).url().0.to_string())
    }

    /// Who it is, by the code that the provider gave the browser in the flow of this state.
    ///
    /// # Errors
    /// A 400 when the code or what it is exchanged for is not good, a 503 when the provider does not answer.
    pub async fn profile(&self, vault: &Vault, state: &str, code: &str) -> Result<Profile, Problem> {
        let client = self.client().await?;
        let failed = |error: &dyn std::fmt::Display| failed(&self.configured.name, error);
        let exchange = client.exchange_code(AuthorizationCode::new(code.to_owned())).map_err(|error| failed(&error))?;
        let exchange = exchange.set_pkce_verifier(verifier(vault, state));
        let tokens = exchange.request_async(&self.http).await.map_err(|error| failed(&error))?;
        let id_token = tokens.extra_fields().id_token().ok_or_else(|| failed(&"there is no ID token"))?;
        let claims =
            id_token.claims(&client.id_token_verifier(), &nonce(vault, state)).map_err(|error| failed(&error))?;
        let verified = claims.email_verified() == Some(true);
        let name = claims.name().and_then(|name| name.get(None));
        Ok(Profile {
            subject: format!("{} {}", self.issuer(), claims.subject().as_str()),
            email: claims.email().filter(|_| verified).map(|email| email.to_string()),
            name: name.map(|name| name.to_string()),
        })
    }

    async fn client(&self) -> Result<Client, Problem> {
        let discover = async {
            let issuer = IssuerUrl::new(self.configured.issuer.clone()).map_err(|error| error.to_string())?;
            let metadata = CoreProviderMetadata::discover_async(issuer, &self.http).await;
            metadata.map(Arc::new).map_err(|error| error.to_string())
        };
        let metadata = self.metadata.try_get_with((), discover).await.map_err(|error| {
            tracing::warn!(provider = self.configured.name, %error, "a provider cannot be used");
            Problem::new(&codes::PROVIDER_UNAVAILABLE).with_retry_after(10)
        })?;
        let back = RedirectUrl::new(self.back.clone()).map_err(|_| Problem::new(&codes::INTERNAL))?;
        let id = ClientId::new(self.configured.client_id.clone());
        let secret = ClientSecret::new(self.configured.client_secret.expose().to_owned());
        Ok(CoreClient::from_provider_metadata((*metadata).clone(), id, Some(secret)).set_redirect_uri(back))
    }
}
