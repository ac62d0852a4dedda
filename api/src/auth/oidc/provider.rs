//! One provider: what it says of itself, and who it says somebody is.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_store::Vault;
use futures::future::BoxFuture;
use moka::future::Cache;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
};
use reqwest::redirect::Policy;

use super::OidcError;
use crate::config::OidcProvider;
use crate::problem::{Problem, codes};

/// How long a provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long its description and keys are believed.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// No answer of a provider is longer, in bytes.
const LARGEST: usize = 256 * 1024;

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// A provider.
pub struct Provider {
    configured: OidcProvider,
    back: String,
    http: Http,
    metadata: Cache<(), Arc<CoreProviderMetadata>>,
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

/// A provider's answer is too long, or did not come.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the provider's answer is too long")]
    TooLong,
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Malformed(#[from] openidconnect::http::Error),
}

impl Provider {
    /// The provider that is configured, who sends people back to `back`.
    ///
    /// # Errors
    /// [`OidcError`] when no client can be made to call it with.
    pub fn new(configured: OidcProvider, back: String) -> Result<Self, OidcError> {
        // A redirect could lead anywhere.
        let http = reqwest::Client::builder().redirect(Policy::none()).timeout(PATIENCE);
        let http = http.tls_backend_preconfigured(tls()?).build()?;
        let metadata = Cache::builder().time_to_live(KNOWN_FOR).max_capacity(1).build();
        Ok(Self { configured, back, http: Http(http), metadata })
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
        let failed = |error: &dyn std::fmt::Display| {
            tracing::info!(provider = self.configured.name, %error, "a log-in at a provider failed");
            Problem::new(&codes::OIDC_FAILED)
        };
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

/// Calls a provider: in time, without following it elsewhere, and reading no more than is sensible.
struct Http(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = CallError;
    type Future = BoxFuture<'c, Result<HttpResponse, CallError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let mut response = self.0.execute(request.try_into()?).await?;
            let mut answer = openidconnect::http::Response::builder().status(response.status());
            for (name, value) in response.headers() {
                answer = answer.header(name, value);
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > LARGEST {
                    return Err(CallError::TooLong);
                }
            }
            Ok(answer.body(body)?)
        })
    }
}

fn verifier(vault: &Vault, state: &str) -> PkceCodeVerifier {
    PkceCodeVerifier::new(URL_SAFE_NO_PAD.encode(vault.keyed_hash("oidc verifier", state.as_bytes())))
}

fn nonce(vault: &Vault, state: &str) -> Nonce {
    Nonce::new(URL_SAFE_NO_PAD.encode(vault.keyed_hash("oidc nonce", state.as_bytes())))
}

/// By ring, and the roots that browsers trust.
fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
