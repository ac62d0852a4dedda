//! The API's own description, and everything that it describes.

use std::collections::BTreeSet;

use reqwest::header::CONTENT_TYPE;
use uuid::Uuid;

use super::*;

/// One operation of the description.
#[derive(Clone, Debug)]
pub struct Operation {
    pub method: Method,
    pub path: String,
    pub public: bool,
    /// Whether it takes a JSON body.
    pub body: bool,
    pub parameters: Vec<String>,
}

impl Operation {
    /// Its address, with these for what it names.
    pub fn at(&self, id: &str) -> String {
        let parts = self.path.split('/').map(|part| {
            let suffix = part.split_once('}').map_or("", |(_, suffix)| suffix);
            if part.starts_with('{') { format!("{id}{suffix}") } else { part.to_owned() }
        });
        parts.collect::<Vec<_>>().join("/")
    }

    pub fn has_id(&self) -> bool {
        self.path.contains('{')
    }

    /// Whether it ends the session of the one who tries it.
    pub fn ends_the_session(&self) -> bool {
        self.path == "/api/auth/logout" || (self.method == Method::DELETE && self.path == "/api/auth/browser-session")
    }
}

pub async fn document() -> Value {
    let answer = nobody().await.get("/api/openapi.json").await.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.body
}

pub async fn operations() -> Vec<Operation> {
    let document = document().await;
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let resolved = parameters.iter().map(|parameter| match parameter["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                None => parameter,
            });
            let query = resolved.filter(|parameter| parameter["in"] == "query");
            operations.push(Operation {
                method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                path: path.clone(),
                public: operation.get("security").is_some(),
                body: !operation["requestBody"]["content"]["application/json"].is_null(),
                parameters: query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect(),
            });
        }
    }
    assert!(operations.len() > 25);
    operations
}

/// Somebody with every role, so that nothing is refused before it is looked at.
pub async fn everyone() -> Client {
    let roles = ["applicant", "pro", "auditor", "analyst", "moderator", "organizer", "admin"];
    admin().await.register_with_roles("Everyone", &roles).await
}

/// Neither a failure of ours, nor silence; and when it is an error, a problem with all its members.
pub fn sound(answer: &Answer, what: &str) {
    assert!((200..500).contains(&answer.status) || answer.status == 504, "{what}: {answer:?}");
    if answer.status >= 400 {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}: {answer:?}");
        assert_eq!(answer.body["status"], answer.status, "{what}");
        let code = answer.body["code"].as_str().unwrap_or_default();
        assert!(code.contains('.') && code == code.to_lowercase(), "{what}: {code}");
        for member in ["type", "title", "detail", "instance", "requestId"] {
            assert!(answer.body[member].is_string(), "{what}: {:#}", answer.body);
        }
        let text = answer.body.to_string();
        for inner in ["sqlx", "postgres", "panicked", "serde", ".rs:", "select ", "SQLSTATE"] {
            assert!(!text.contains(inner), "{what}: {text}");
        }
    }
}

pub async fn send(client: &Client, method: &Method, path: &str, media_type: &str, body: Vec<u8>) -> Answer {
    let request = client.request(method.clone(), path).timeout(SOON).header("prefer", "wait=1");
    let request = if media_type.is_empty() { request } else { request.header(CONTENT_TYPE, media_type) };
    let request = if body.is_empty() { request } else { request.body(body) };
    client.try_send(request).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

#[tokio::test]
async fn the_description_is_complete() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{method} {path}");
            assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let name = part.split('}').next().unwrap();
                let text = serde_json::to_string(&operation["parameters"]).unwrap();
                let named =
                    text.contains(&format!("\"name\":\"{name}\"")) || (name == "id" && text.contains("parameters/Id"));
                assert!(named, "{method} {path} does not describe {name}");
            }
            let secured = operation.get("security").is_none();
            assert!(!secured || responses.contains_key("401"), "{method} {path}");
        }
    }
    let text = document.to_string();
    for code in [
        "dossier.invalid_transition",
        "version.mismatch",
        "idempotency.key_reused",
        "projection.lagging",
        "field.unknown",
        "store.outcome_unknown",
        "account.address_taken",
    ] {
        assert!(text.contains(code), "{code}");
    }
}

/// The routes of the contract that this stage has; whatever else of the contract is served must be described as well.
const FIRST_STAGE: [(&str, &str); 35] = [
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/logout"),
    ("GET", "/api/users/me"),
    ("PUT", "/api/users/me"),
    ("GET", "/api/users/{id}"),
    ("GET", "/api/dossiers"),
    ("POST", "/api/dossiers"),
    ("GET", "/api/dossiers/{id}"),
    ("PUT", "/api/dossiers/{id}"),
    ("DELETE", "/api/dossiers/{id}"),
    ("POST", "/api/dossiers/{id}/submit"),
    ("POST", "/api/dossiers/{id}/start-review"),
    ("POST", "/api/dossiers/{id}/request-changes"),
    ("POST", "/api/dossiers/{id}/cancel-change-request"),
    ("POST", "/api/dossiers/{id}/accept"),
    ("POST", "/api/dossiers/{id}/refuse"),
    ("POST", "/api/dossiers/{id}/close"),
    ("POST", "/api/dossiers/{id}/reopen"),
    ("POST", "/api/dossiers/{id}/withdraw"),
    ("POST", "/api/dossiers/{id}/assign"),
    ("POST", "/api/dossiers/{id}/archive"),
    ("GET", "/api/dossiers/{id}/history"),
    ("GET", "/api/dossiers/{id}/diff"),
    ("GET", "/api/audit/events"),
    ("GET", "/api/admin/analytics"),
    ("GET", "/api/admin/users"),
    ("PUT", "/api/admin/users/{id}/status"),
    ("PUT", "/api/admin/users/{id}/roles"),
    ("GET", "/api/admin/projections"),
    ("POST", "/api/admin/projections/{name}/rebuild"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
];

/// The rest of the contract.
const LATER: [(&str, &str); 44] = [
    ("POST", "/api/auth/forgot-password"),
    ("POST", "/api/auth/reset-password"),
    ("GET", "/api/auth/verify-email"),
    ("POST", "/api/auth/totp"),
    ("GET", "/api/auth/sessions"),
    ("GET", "/api/auth/jwks.json"),
    ("POST", "/api/users/me/export"),
    ("DELETE", "/api/users/me"),
    ("POST", "/api/dossiers/{id}/guests"),
    ("POST", "/api/dossiers/{id}/documents"),
    ("GET", "/api/dossiers/{id}/documents"),
    ("GET", "/api/documents/{id}/content"),
    ("PUT", "/api/documents/{id}/status"),
    ("GET", "/api/dossiers/{id}/messages"),
    ("POST", "/api/dossiers/{id}/messages"),
    ("PUT", "/api/messages/{id}/read"),
    ("GET", "/api/posts"),
    ("POST", "/api/posts"),
    ("GET", "/api/posts/{id}"),
    ("PUT", "/api/posts/{id}"),
    ("DELETE", "/api/posts/{id}"),
    ("GET", "/api/posts/{id}/comments"),
    ("POST", "/api/posts/{id}/comments"),
    ("PUT", "/api/comments/{id}"),
    ("DELETE", "/api/comments/{id}"),
    ("POST", "/api/posts/{id}/like"),
    ("DELETE", "/api/posts/{id}/like"),
    ("POST", "/api/posts/{id}/reports"),
    ("GET", "/api/moderation/queue"),
    ("GET", "/api/events"),
    ("GET", "/api/events/{id}"),
    ("POST", "/api/events/{id}/register"),
    ("DELETE", "/api/events/{id}/register"),
    ("GET", "/api/events/{id}/attendees"),
    ("POST", "/api/events/{id}/check-in"),
    ("POST", "/api/admin/events"),
    ("PUT", "/api/admin/events/{id}"),
    ("POST", "/api/admin/events/{id}/publish"),
    ("POST", "/api/admin/events/{id}/cancel"),
    ("GET", "/api/organizations"),
    ("GET", "/api/audit/head"),
    ("GET", "/api/analytics/{readModel}"),
    ("GET", "/api/analytics/changes"),
    ("POST", "/api/graphql"),
];

#[tokio::test]
async fn what_is_served_is_described_and_what_is_described_is_served() {
    let described: BTreeSet<(String, String)> =
        operations().await.into_iter().map(|operation| (operation.method.to_string(), operation.path)).collect();
    let everyone = everyone().await;
    let plain = |path: &str| {
        path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
    };
    let known: BTreeSet<(String, String)> =
        described.iter().map(|(method, path)| (method.clone(), plain(path))).collect();
    for (method, path) in FIRST_STAGE {
        assert!(known.contains(&(method.to_owned(), plain(path))), "{method} {path} is not described");
    }
    for (method, path) in FIRST_STAGE.into_iter().chain(LATER) {
        if path == "/api/auth/logout" {
            continue;
        }
        let id = Uuid::now_v7().to_string();
        let address: Vec<&str> =
            path.split('/').map(|part| if part.starts_with('{') { id.as_str() } else { part }).collect();
        let answer =
            send(&everyone, &Method::from_bytes(method.as_bytes()).unwrap(), &address.join("/"), "", vec![]).await;
        let served = answer.status != 405 && answer.body["code"] != "route.not_found";
        let described = known.contains(&(method.to_owned(), plain(path)));
        assert_eq!(served, described, "{method} {path}: {} {:#}", answer.status, answer.body);
    }
}
