//! A client of the HTTP API, as plain as can be.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

/// How often a client tries to sign in while the server has no time for it.
const MOST_TRIES: usize = 20;

/// Sends requests as one person, or as nobody.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    /// Who is signed in.
    pub user_id: Uuid,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    /// A header's text, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The id in the answer of a command.
    pub fn id(&self) -> Uuid {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {self:?}")).parse().unwrap()
    }

    /// The position in the answer of a command.
    pub fn position(&self) -> u64 {
        self.body["position"].as_u64().unwrap_or_else(|| panic!("no position in {self:?}"))
    }

    /// Expects this status.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    /// Expects a problem with this status and code.
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{:#}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        self
    }
}

impl Client {
    pub fn new(base: &str) -> Self {
        api::install_tls();
        // Shorter than the server's patience with an idle connection, which it closes just when a request is sent.
        let http = reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(60)).build().unwrap();
        Self { http, base: base.to_owned(), token: None, user_id: Uuid::nil() }
    }

    /// Nobody, whose requests come from this address of the loopback network.
    pub fn from(&self, address: &str) -> Self {
        let http = reqwest::Client::builder().local_address(address.parse::<std::net::IpAddr>().unwrap());
        Self { http: http.build().unwrap(), token: None, ..self.clone() }
    }

    /// The same person at another process.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// The access token.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// With another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Registers somebody new and is them.
    pub async fn register(&self, name: &str) -> Self {
        let email = format!("{}@capitune.test", Uuid::now_v7().simple());
        let body = json!({ "email": email, "password": "a password for tests", "name": name });
        self.sign_in("/api/auth/register", body, 201).await
    }

    /// Signs in.
    pub async fn log_in(&self, email: &str, password: &str) -> Self {
        let body = json!({ "email": email, "password": password });
        self.sign_in("/api/auth/login", body, 200).await
    }

    /// Tries again, when it is told to, while too many passwords are being hashed, as on a machine that is busy with tests.
    async fn sign_in(&self, path: &str, body: Value, status: u16) -> Self {
        let mut answer = self.post(path, body.clone()).await;
        for _ in 0..MOST_TRIES {
            if answer.body["code"] != "auth.busy" {
                break;
            }
            tokio::time::sleep(Duration::from_secs(answer.header("retry-after").parse().unwrap())).await;
            answer = self.post(path, body.clone()).await;
        }
        self.signed_in(answer.expect(status))
    }

    fn signed_in(&self, answer: Answer) -> Self {
        let token = Some(answer.body["token"].as_str().unwrap().to_owned());
        let user_id = answer.body["user"]["id"].as_str().unwrap().parse().unwrap();
        Self { token, user_id, ..self.clone() }
    }

    /// Registers somebody and, as an admin, gives them these roles.
    pub async fn register_with_roles(&self, name: &str, roles: &[&str]) -> Self {
        let person = Self { token: None, ..self.clone() }.register(name).await;
        let roles = json!({ "roles": roles });
        self.put(&format!("/api/admin/users/{}/roles", person.user_id), roles).await.expect(200);
        person
    }

    /// A request to be completed by the caller.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// Sends a request to a process that may be gone.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // A stream never ends; its test reads it itself.
        let endless = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let text = if endless { String::new() } else { response.text().await? };
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, headers, body })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Creates a dossier and gives the answer.
    pub async fn create_dossier(&self, title: &str) -> Answer {
        let body = json!({ "title": title, "category": "housing", "description": "Two rooms" });
        self.post("/api/dossiers", body).await.expect(201)
    }
}
