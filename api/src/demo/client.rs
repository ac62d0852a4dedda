//! A client of the API, as any program would have one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use event_store::EventStore;
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::DemoError;
use crate::rate_limit::{PASS, pass};

/// How often a request that came too early is made again.
const ATTEMPTS: u32 = 8;

/// A client of the API.
pub struct Client {
    http: reqwest::Client,
    base: String,
    /// What lifts the limits on rates, which a demonstration would wait for all day.
    store: Option<EventStore>,
}

/// Somebody who has signed in.
#[derive(Debug, Clone)]
pub struct Person {
    /// The account.
    pub id: String,
    /// The address to sign in with.
    pub email: String,
    /// The access token.
    pub token: String,
}

impl Client {
    /// A client of the API that listens at `address`.
    ///
    /// # Errors
    /// When there can be no client.
    pub fn new(mut address: SocketAddr) -> Result<Self, DemoError> {
        if address.ip().is_unspecified() {
            let local = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            address.set_ip(local);
        }
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { http, base: format!("http://{address}"), store: None })
    }

    /// The same for who holds the system's master key: without limits on rates.
    pub fn with_pass(self, store: EventStore) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Where the API is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the API answers.
    pub async fn is_there(&self) -> bool {
        let answer = self.http.get(format!("{}/health/live", self.base)).timeout(Duration::from_secs(2)).send();
        answer.await.is_ok_and(|answer| answer.status().is_success())
    }

    /// Signs in.
    ///
    /// # Errors
    /// [`DemoError`] when the password is wrong or the API cannot be reached.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<Person, DemoError> {
        let body = json!({ "email": email, "password": password });
        let answer = self.send(Method::POST, "/api/auth/login", None, None, Some(body)).await?;
        Ok(person(email, &answer))
    }

    /// Opens an account, or signs in when there is one.
    ///
    /// # Errors
    /// [`DemoError`] when neither works.
    pub async fn sign_up(&self, email: &str, password: &str, name: &str) -> Result<Person, DemoError> {
        let body = json!({ "email": email, "password": password, "name": name, "locale": "fr" });
        match self.send(Method::POST, "/api/auth/register", None, None, Some(body)).await {
            Ok(answer) => Ok(person(email, &answer)),
            Err(DemoError::Refused { status: 409, .. }) => self.sign_in(email, password).await,
            Err(error) => Err(error),
        }
    }

    /// Gives a command under a key, so that a second run changes nothing.
    ///
    /// # Errors
    /// [`DemoError`] when it is refused or the API cannot be reached.
    pub async fn command(
        &self,
        person: &Person,
        method: Method,
        path: &str,
        key: &str,
        body: Value,
    ) -> Result<Value, DemoError> {
        self.send(method, path, Some(person), Some(key), Some(body)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        person: Option<&Person>,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Result<Value, DemoError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
            if let Some(store) = &self.store {
                request = request.header(&PASS, pass(store.vault()));
            }
            if let Some(person) = person {
                request = request.bearer_auth(&person.token);
            }
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            if let Some(body) = &body {
                request = request.json(body);
            }
            let answer = request.send().await?;
            let status = answer.status();
            let later = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            if later && attempt < ATTEMPTS {
                let seconds = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                sleep(Duration::from_secs(seconds.unwrap_or(1))).await;
                continue;
            }
            let content: Value = answer.json().await.unwrap_or_default();
            if status.is_success() {
                return Ok(content);
            }
            let code = content["code"].as_str().unwrap_or_default().to_owned();
            return Err(DemoError::Refused { request: format!("{method} {path}"), status: status.as_u16(), code });
        }
    }
}

fn person(email: &str, answer: &Value) -> Person {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Person { id: text(&answer["user"]["id"]), email: email.to_owned(), token: text(&answer["token"]) }
}
