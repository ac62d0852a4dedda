//! The OpenAPI document: what the routes say of themselves, and what all of them have in common.

mod links;

use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use crate::problem::{MEDIA_TYPE, ProblemDetails, codes};

/// What every part of the document hangs on.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Capitune",
        description = "Application files, their review and their history. Errors are problem details (RFC 9457), in \
                       French or English by `Accept-Language`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemDetails)),
    security(("bearer" = []))
)]
struct Base;

/// The document without its paths.
pub fn base() -> Document {
    let mut document = Base::openapi();
    let bearer = SecurityScheme::Http(Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build());
    document.components.get_or_insert_default().add_security_scheme("bearer", bearer);
    document
}

/// The document as JSON, with what every operation has in common.
pub fn complete(document: &Document) -> Vec<u8> {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    links::add(&mut document);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if let Some(operation) = operation.as_object_mut() {
                complete_operation(path, method, operation);
            }
        }
    }
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        components.insert("parameters".to_owned(), parameters());
        components.insert("responses".to_owned(), problems());
        components.insert("headers".to_owned(), headers());
        describe_codes(components);
    }
    serde_json::to_vec(&document).unwrap_or_default()
}

fn complete_operation(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let public = operation.contains_key("security");
    let command = method != "get" && !public && !path.starts_with("/api/auth/");
    let mut common = vec!["RequestId", "Traceparent", "AcceptLanguage"];
    let mut failures = vec![400, 408, 414, 421, 422, 431, 500, 503];
    if command {
        common.extend(["IfMatch", "IdempotencyKey", "Prefer"]);
        failures.extend([409, 412]);
    }
    if method != "get" {
        failures.extend([413, 415]);
    }
    if method == "get" && !public {
        common.extend(["MinPosition", "MinPositionHeader", "Prefer"]);
        failures.push(504);
    }
    if !public {
        failures.extend([401, 403]);
        if method != "get" && !command {
            failures.push(409);
        }
    } else if path.starts_with("/api/auth") {
        failures.extend([401, 403, 409]);
    }
    let counted = path.starts_with("/api/");
    if counted {
        failures.push(429);
    }
    if path.contains('{') {
        failures.push(404);
        add_id(path, operation);
    }
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.extend(common.iter().map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })));
    }
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
        for (_, success) in responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
            success["headers"] = success_headers(method, public, counted, path.contains("{id}"));
        }
        for status in failures {
            let problem = json!({ "$ref": format!("#/components/responses/Problem{status}") });
            responses.entry(status.to_string()).or_insert(problem);
        }
    }
}

/// The handlers take the id apart themselves, so nothing has declared it yet.
fn add_id(path: &str, operation: &mut Map<String, Value>) {
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if path.contains("{id}")
        && let Some(parameters) = parameters.as_array_mut()
    {
        parameters.push(json!({ "$ref": "#/components/parameters/Id" }));
    }
}

fn success_headers(method: &str, public: bool, counted: bool, one: bool) -> Value {
    let mut names = vec![("X-Request-Id", "RequestId")];
    if counted {
        names.extend([("RateLimit", "RateLimit"), ("RateLimit-Policy", "RateLimitPolicy")]);
    }
    if !public {
        names.push(("Capitune-Position", "Position"));
        if method == "get" {
            names.push(("Capitune-Held-From", "HeldFrom"));
        }
        if one || method != "get" {
            names.push(("ETag", "ETag"));
        }
        if method != "get" {
            names.extend([("Idempotent-Replayed", "Replayed"), ("Preference-Applied", "PreferenceApplied")]);
        }
        if method == "post" {
            names.push(("Location", "Location"));
        }
    }
    let reference =
        |(name, header): (&str, &str)| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{header}") }));
    names.into_iter().map(reference).collect::<Map<_, _>>().into()
}

fn parameters() -> Value {
    let header = |name: &str, description: &str| {
        json!({ "name": name, "in": "header", "required": false, "description": description,
                "schema": { "type": "string" } })
    };
    let position = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    json!({
        "Id": { "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } },
        "RequestId": header("X-Request-Id", "A name for this request: at most 128 visible ASCII characters."),
        "Traceparent": header("traceparent", "W3C trace context."),
        "AcceptLanguage": header("Accept-Language", "The language of problems: French or English."),
        "IfMatch": { "name": "If-Match", "in": "header", "required": false, "example": "\"7\"",
                     "description": "The only version, quoted, on which the command may be decided.",
                     "schema": { "type": "string", "minLength": 1, "pattern": "^(\\*|(W/)?\"[!#-~]*\"(, ?(W/)?\"[!#-~]*\")*)$" } },
        "IdempotencyKey": { "name": "Idempotency-Key", "in": "header", "required": false,
                            "description": "The same key and request are executed once and answered alike.",
                            "schema": { "type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": 255 } },
        "Prefer": header("Prefer", "`return=representation` answers a command with the resource; `wait=<seconds>` is \
                                    how long to wait for a read model, 5 by default, 30 at most."),
        "MinPositionHeader": { "name": "Capitune-Min-Position", "in": "header", "required": false, "schema": position,
                               "description": "Answer once the read model has reached this position." },
        "MinPosition": { "name": "minPosition", "in": "query", "required": false, "schema": position,
                         "description": "The same, as a parameter." },
    })
}

fn headers() -> Value {
    let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "RequestId": text("The request's name: the client's, or one of ours."),
        "Position": { "description": "For a command, the position of its last event; for a query, how far the read \
                                      model was.", "schema": { "type": "integer", "format": "int64" } },
        "HeldFrom": { "description": "From this position on, some of what is answered is held back: an event could \
                                      not be applied.", "schema": { "type": "integer", "format": "int64" } },
        "ETag": text("The version, quoted."),
        "Location": text("With 201: where the new resource is."),
        "RateLimit": text("How many requests are left (`r`), and in how many seconds they are renewed (`t`)."),
        "RateLimitPolicy": text("The limit's name, how many requests it allows (`q`) and in how many seconds (`w`)."),
        "Replayed": text("`true` when the answer is that of an earlier request with the same key."),
        "PreferenceApplied": text("`return=representation` when the body is the resource."),
    })
}

/// One response per status, which names the codes that go with it.
fn problems() -> Value {
    let mut responses = Map::new();
    for code in codes::ALL {
        let name = format!("Problem{}", code.status);
        let response = responses.entry(name).or_insert_with(|| {
            json!({ "description": "", "content": { MEDIA_TYPE: {
                "schema": { "$ref": "#/components/schemas/ProblemDetails" } } } })
        });
        let line = format!("`{}`: {}.", code.name, code.english);
        let before = response["description"].as_str().unwrap_or_default();
        response["description"] = json!([before, &line].join(if before.is_empty() { "" } else { "\n\n" }));
    }
    responses.into()
}

/// The codes as the values that `code` can have.
fn describe_codes(components: &mut Map<String, Value>) {
    let names: Vec<&str> = codes::ALL.iter().map(|code| code.name).collect();
    if let Some(code) =
        components.get_mut("schemas").and_then(|schemas| schemas.pointer_mut("/ProblemDetails/properties/code"))
    {
        code["examples"] = json!(names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        serde_json::from_slice(&crate::routes::description()).unwrap()
    }

    /// Every `$ref` in the document.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
        let ids: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        let distinct: std::collections::HashSet<&&str> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(document["openapi"], "3.1.0");
    }
}
