//! Problem details (RFC 9457): the one shape of every error.

pub mod codes;
mod fields;
mod language;

use std::fmt;

use axum::http::header::{ALLOW, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::FieldError;
use serde::Serialize;
use utoipa::ToSchema;

pub use codes::Code;
pub use language::Language;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error on its way to the client. The outermost layer writes it, since only there the request is known.
#[derive(Debug, Clone)]
pub struct Problem(Box<Content>);

#[derive(Debug, Clone)]
struct Content {
    code: &'static Code,
    status: u16,
    /// In English and in French.
    detail: Option<(String, String)>,
    errors: Vec<FieldError>,
    parameters: bool,
    current_state: Option<&'static str>,
    allowed_commands: Option<Vec<&'static str>>,
    current_version: Option<u64>,
    retry_after: Option<u32>,
    /// Whether the policy refused something that may exist.
    denied: bool,
}

impl Problem {
    /// A problem that its code says all about.
    pub fn new(code: &'static Code) -> Self {
        Self(Box::new(Content {
            code,
            status: code.status,
            detail: None,
            errors: Vec::new(),
            parameters: false,
            current_state: None,
            allowed_commands: None,
            current_version: None,
            retry_after: None,
            denied: matches!(code.name, "access.forbidden" | "auth.scope_missing"),
        }))
    }

    /// With a sentence about this very case, in both languages.
    pub fn with_detail(mut self, english: impl Into<String>, french: impl Into<String>) -> Self {
        self.0.detail = Some((english.into(), french.into()));
        self
    }

    /// With the fields of the body that cannot stand.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// With the query parameter that cannot stand.
    pub fn with_parameter(mut self, name: &str, detail: impl Into<String>) -> Self {
        self.0.errors = vec![FieldError::new(format!("/{name}"), self.0.code.name, detail)];
        self.0.parameters = true;
        self
    }

    /// With the state that stands against the command, and what that state allows.
    pub fn with_state(mut self, current: &'static str, allowed: Vec<&'static str>) -> Self {
        self.0.current_state = Some(current);
        self.0.allowed_commands = Some(allowed);
        self
    }

    /// With the version that the aggregate is at now.
    pub fn with_current_version(mut self, version: u64) -> Self {
        self.0.current_version = Some(version);
        self
    }

    /// With another status than its code usually has.
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = status;
        self
    }

    /// With the number of seconds after which to try again.
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Marked as the policy's refusal, whatever it looks like.
    pub fn with_denial(mut self) -> Self {
        self.0.denied = true;
        self
    }

    /// Whether the policy refused something that may exist.
    pub fn is_denial(&self) -> bool {
        self.0.denied
    }

    /// What kind of problem it is.
    pub fn code(&self) -> &'static Code {
        self.0.code
    }

    /// Whether it is certain that nothing was done.
    pub fn is_refusal(&self) -> bool {
        self.0.status < 500
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The problem that a bare status stands for, as the framework answers it.
    pub fn of_status(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            400 => &codes::REQUEST_MALFORMED,
            404 => &codes::ROUTE_NOT_FOUND,
            405 => &codes::METHOD_NOT_ALLOWED,
            413 => &codes::BODY_TOO_LARGE,
            415 => &codes::BODY_UNSUPPORTED_MEDIA_TYPE,
            503 => return Self::new(&codes::STORE_UNAVAILABLE).with_retry_after(1),
            _ => &codes::INTERNAL,
        };
        Self::new(code)
    }

    /// The response, in the client's language. `allow` is what a 405 says about its methods.
    pub fn render(&self, language: Language, instance: &str, request_id: &str, allow: Option<HeaderValue>) -> Response {
        let body = self.body(language, instance, request_id);
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status(), bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        if let Some(allow) = allow {
            headers.insert(ALLOW, allow);
        }
        if self.0.status == 401 {
            let challenge = match self.0.code.name {
                "auth.invalid_token" | "auth.session_ended" => r#"Bearer error="invalid_token""#,
                _ => "Bearer",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.0.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn body(&self, language: Language, instance: &str, request_id: &str) -> ProblemDetails {
        let Content { code, status, detail, errors, parameters, .. } = &*self.0;
        let title = match language {
            Language::English => code.english,
            Language::French => code.french,
        };
        let detail = detail.as_ref().map(|(english, french)| match language {
            Language::English => english.clone(),
            Language::French => french.clone(),
        });
        let error = |error: &FieldError| InvalidField {
            pointer: error.pointer.clone(),
            parameter: parameters.then(|| error.pointer.trim_start_matches('/').to_owned()),
            code: error.code.clone(),
            detail: fields::detail(language, error),
        };
        ProblemDetails {
            r#type: format!("/problems/{}", code.name),
            title: title.to_owned(),
            status: *status,
            detail: detail.unwrap_or_else(|| title.to_owned()),
            instance: instance.to_owned(),
            code: code.name.to_owned(),
            request_id: request_id.to_owned(),
            errors: errors.iter().map(error).collect(),
            current_state: self.0.current_state.map(str::to_owned),
            allowed_commands: (self.0.allowed_commands.as_ref())
                .map(|commands| commands.iter().map(|&command| command.to_owned()).collect()),
            current_version: self.0.current_version,
        }
    }
}

#[cfg(test)]
impl Problem {
    /// What a reader of English is told.
    pub(crate) fn body_for_tests(&self) -> ProblemDetails {
        self.body(Language::English, "/", "r")
    }
}

/// What an operator reads: the sentence in English, and the fields at fault.
impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body(Language::English, "", "");
        formatter.write_str(&body.detail)?;
        for field in &body.errors {
            write!(formatter, "; {} {}", field.pointer.trim_start_matches('/'), field.detail)?;
        }
        Ok(())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// An error, as RFC 9457 describes it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemDetails {
    /// `/problems/` and the code.
    r#type: String,
    /// What kind of problem it is, in French or English by `Accept-Language`.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What went wrong in this very case, in the same language.
    detail: String,
    /// The path of the request.
    instance: String,
    /// Stable, `<resource>.<condition>`: what a program should look at.
    code: String,
    /// The request's id, as in `X-Request-Id`.
    request_id: String,
    /// For 422: what cannot stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<InvalidField>,
    /// For an illegal transition: the state the aggregate is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_state: Option<String>,
    /// For an illegal transition: the commands that this state allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_commands: Option<Vec<String>>,
    /// For 412: the version now.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<u64>,
}

/// One field or parameter that cannot stand.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InvalidField {
    /// JSON pointer into the body; for a query parameter, a slash and its name.
    pointer: String,
    /// The query parameter's name, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// Stable.
    code: String,
    /// A sentence for a person.
    detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_speaks_the_language_of_its_reader() {
        let problem = Problem::new(&codes::FIELD_UNKNOWN).with_errors(vec![FieldError::new(
            "/role",
            "field.unknown",
            "is not known here",
        )]);
        let french = problem.body(Language::French, "/api/dossiers", "r1");
        assert_eq!(french.title, "Le corps a un champ inconnu ici");
        assert_eq!(french.errors[0].detail, "est inconnu ici");
        let english = problem.body(Language::English, "/api/dossiers", "r1");
        assert_eq!(english.errors[0].detail, "is not known here");
        assert_eq!(english.r#type, "/problems/field.unknown");
    }

    #[test]
    fn a_401_challenges() {
        let response = Problem::new(&codes::AUTH_REQUIRED).render(Language::English, "/", "r", None);
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
    }
}
