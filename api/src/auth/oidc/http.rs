//! Calling providers: in time, without following them elsewhere, and reading no more than is sensible.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;

use super::OidcError;

/// How long a provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// No answer of a provider is longer, in bytes.
const LARGEST: usize = 256 * 1024;

/// A provider's answer is too long, or did not come.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It is too long.
    #[error("the provider's answer is too long")]
    TooLong,
    /// It did not come.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// It is no answer.
    #[error(transparent)]
    Malformed(#[from] openidconnect::http::Error),
}

/// Calls providers. Cheap to clone.
#[derive(Clone)]
pub struct Http(reqwest::Client);

impl Http {
    /// A client that trusts the roots that browsers trust.
    ///
    /// # Errors
    /// [`OidcError`] when none can be made.
    pub fn new() -> Result<Self, OidcError> {
        // A redirect could lead anywhere.
        let client = reqwest::Client::builder().redirect(Policy::none()).timeout(PATIENCE);
        Ok(Self(client.tls_backend_preconfigured(tls()?).build()?))
    }
}

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

/// By ring, and the roots that browsers trust.
fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
