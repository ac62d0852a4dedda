//! GitHub, which speaks OAuth without OpenID Connect: who somebody is there, its own API tells.

use event_store::Vault;
use openidconnect::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use openidconnect::http::{Method, Request};
use openidconnect::url::Url;
use openidconnect::{AsyncHttpClient, PkceCodeChallenge};
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::http::{CallError, Http};
use super::{Profile, failed, verifier};
use crate::config::{GITHUB, OidcProvider};
use crate::problem::{Problem, codes};

const SCOPES: &str = "read:user user:email";

/// GitHub, or a GitHub Enterprise of somebody's own.
pub struct GitHub {
    configured: OidcProvider,
    back: String,
    http: Http,
}

/// What a code is exchanged for.
#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// Somebody, as `/user` has it.
#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
}

/// An address, as `/user/emails` has it.
#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

/// Why GitHub did not tell who somebody is.
#[derive(Debug, thiserror::Error)]
enum GitHubError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is not understood: {0}")]
    Answer(#[from] serde_json::Error),
    #[error("it cannot be asked: {0}")]
    Request(#[from] openidconnect::http::Error),
}

impl GitHub {
    /// GitHub as it is configured, which sends people back to `back`.
    pub fn new(configured: OidcProvider, back: String, http: Http) -> Self {
        Self { configured, back, http }
    }

    /// Where it is.
    pub fn issuer(&self) -> &str {
        &self.configured.issuer
    }

    /// Where a browser logs in, for the flow of this state.
    ///
    /// # Errors
    /// A 500 when it is configured to be nowhere.
    pub fn authorization_url(&self, vault: &Vault, state: &str) -> Result<String, Problem> {
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier(vault, state));
        let parameters = [
            ("client_id", self.configured.client_id.as_str()),
            ("redirect_uri", &self.back),
            ("response_type", "code"),
            ("scope", SCOPES),
            ("state", state),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let url = Url::parse_with_params(&format!("{}/login/oauth/authorize", self.issuer()), parameters);
        url.map(String::from).map_err(|_| Problem::new(&codes::INTERNAL))
    }

    /// Who it is, by the code that the browser was given in the flow of this state.
    ///
    /// # Errors
    /// A 400 when the code is not good or GitHub does not tell.
    pub async fn profile(&self, vault: &Vault, state: &str, code: &str) -> Result<Profile, Problem> {
        let profile = self.ask(vault, state, code).await;
        profile.map_err(|error| failed(&self.configured.name, &error))
    }

    async fn ask(&self, vault: &Vault, state: &str, code: &str) -> Result<Profile, GitHubError> {
        let Token { access_token } = self.exchange(vault, state, code).await?;
        let user: User = self.get("/user", &access_token).await?;
        let emails: Vec<Email> = self.get("/user/emails", &access_token).await?;
        let primary = emails.into_iter().find(|email| email.primary && email.verified);
        Ok(Profile {
            subject: format!("{} {}", self.issuer(), user.id),
            email: primary.map(|primary| primary.email),
            name: user.name.or(Some(user.login)),
        })
    }

    async fn exchange(&self, vault: &Vault, state: &str, code: &str) -> Result<Token, GitHubError> {
        let verifier = verifier(vault, state);
        let form = openidconnect::url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("client_id", &self.configured.client_id)
            .append_pair("client_secret", self.configured.client_secret.expose())
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.back)
            .append_pair("code_verifier", verifier.secret())
            .finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/login/oauth/access_token", self.issuer()))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, form.into_bytes()).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, token: &str) -> Result<T, GitHubError> {
        let api = match self.issuer() {
            GITHUB => "https://api.github.com".to_owned(),
            enterprise => format!("{enterprise}/api/v3"),
        };
        let request = Request::builder().uri(format!("{api}{path}")).header(AUTHORIZATION, format!("Bearer {token}"));
        self.send(request, Vec::new()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: openidconnect::http::request::Builder,
        body: Vec<u8>,
    ) -> Result<T, GitHubError> {
        // GitHub answers forms unless it is asked for JSON, and nobody without a name.
        let request = request.header(ACCEPT, "application/json").header(USER_AGENT, "capitune").body(body)?;
        let answer = self.http.call(request).await?;
        match answer.status() {
            StatusCode::OK => Ok(serde_json::from_slice(answer.body())?),
            status => Err(GitHubError::Status(status)),
        }
    }
}
