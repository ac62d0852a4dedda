//! What is told agrees with what is described, to the last member.

use serde_json::{Map, json};
use uuid::Uuid;

use super::openapi::{document, everyone, operations, send};
use super::*;

/// What in `value` is not as `schema` says.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return faults(document, document.pointer(reference.trim_start_matches('#')).unwrap(), value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let fits = choices.iter().any(|choice| faults(document, choice, value, at).is_empty());
        return if fits { vec![] } else { vec![format!("{at}: {value} is none of the choices")] };
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return faults(document, &all_of(document, parts), value, at);
    }
    let mut found = Vec::new();
    if !schema["type"].is_null() && !is_of_type(&schema["type"], value) {
        return vec![format!("{at}: {value} is no {}", schema["type"])];
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        found.push(format!("{at}: {value} is not one of {}", schema["enum"]));
    }
    match (schema["format"].as_str(), value.as_str()) {
        (Some("uuid"), Some(text)) if text.parse::<Uuid>().is_err() => found.push(format!("{at}: {text} is no UUID")),
        (Some("date-time"), Some(_)) if !is_utc(value) => found.push(format!("{at}: {value} is no time in UTC")),
        _ => {}
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(faults(document, &schema["items"], item, &format!("{at}/{index}")));
    }
    if let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        found.extend(faults_of_members(document, schema, properties, members, at));
    }
    found
}

/// One schema that wants all that these want of an object.
fn all_of(document: &Value, parts: &[Value]) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        let part = part["$ref"].as_str().map_or(part, |to| document.pointer(to.trim_start_matches('#')).unwrap());
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn faults_of_members(
    document: &Value,
    schema: &Value,
    properties: &Map<String, Value>,
    members: &Map<String, Value>,
    at: &str,
) -> Vec<String> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut found: Vec<String> =
        required.filter(|name| !members.contains_key(*name)).map(|name| format!("{at}/{name} is missing")).collect();
    for (name, member) in members {
        match properties.get(name) {
            Some(property) => found.extend(faults(document, property, member, &format!("{at}/{name}"))),
            None => found.push(format!("{at}/{name} is not described")),
        }
    }
    found
}

fn is_of_type(names: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    match names {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        _ => false,
    }
}

/// A value as `schema` wants it; with or without what need not be there.
fn example(document: &Value, schema: &Value, whole: bool) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return example(document, document.pointer(reference.trim_start_matches('#')).unwrap(), whole);
    }
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let choice = choices.iter().find(|choice| choice["type"] != "null").unwrap();
        return example(document, choice, whole);
    }
    if let Some(values) = schema["enum"].as_array() {
        return values[0].clone();
    }
    let name = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match (name, schema["format"].as_str()) {
        ("string", Some("uuid")) => json!(Uuid::now_v7()),
        ("string", Some("date-time")) => json!("2999-01-01T00:00:00Z"),
        ("string", _) => json!("x"),
        ("integer" | "number", _) => json!(1),
        ("boolean", _) => json!(true),
        ("array", _) => json!([]),
        _ => {
            let required =
                |name: &String| schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
            let properties = schema["properties"].as_object().into_iter().flatten();
            let kept = properties.filter(|(name, _)| whole || required(name));
            kept.map(|(name, property)| (name.clone(), example(document, property, whole)))
                .collect::<Map<_, _>>()
                .into()
        }
    }
}

#[tokio::test]
async fn every_answer_is_as_it_is_described() {
    let document = document().await;
    let (ada, pro, everyone) = (applicant().await, person("pro").await, everyone().await);
    let (draft, path) = (new_dossier(&ada).await, dossier_in("changes_requested", &ada, &pro).await);
    let refused = dossier_in("refused", &ada, &pro).await;
    let post = ada.post("/api/posts", json!({ "body": "x" })).await.expect(201).id();
    ada.post(&format!("/api/posts/{post}/comments"), json!({ "body": "x" })).await.expect(201);
    let plan = json!({
        "title": "x", "timeZone": "Europe/Paris", "startsAt": "2999-01-01T00:00:00Z", "endsAt": "2999-01-02T00:00:00Z"
    });
    let event = everyone.post("/api/admin/events", plan).await.expect(201).id();
    everyone.post(&format!("/api/admin/events/{event}/publish"), json!({})).await.expect(200);
    ada.post(&format!("/api/events/{event}/register"), json!({})).await.expect(200);
    let position = head().await;
    let questions = [
        ("/api/dossiers/{id}", draft),
        ("/api/dossiers/{id}", refused.clone()),
        ("/api/dossiers/{id}", path.clone()),
        ("/api/dossiers", "/api/dossiers".to_owned()),
        ("/api/dossiers/{id}/history", format!("{refused}/history")),
        ("/api/dossiers/{id}/diff", format!("{path}/diff?from=1&to=3")),
        ("/api/users/me", "/api/users/me".to_owned()),
        ("/api/users/{id}", format!("/api/users/{}", ada.user_id)),
        ("/api/audit/events", "/api/audit/events".to_owned()),
        ("/api/admin/users", "/api/admin/users".to_owned()),
        ("/api/admin/projections", "/api/admin/projections".to_owned()),
        ("/api/admin/projections/{name}/failures", "/api/admin/projections/dossier/failures".to_owned()),
        ("/api/admin/analytics", "/api/admin/analytics".to_owned()),
        ("/api/analytics", "/api/analytics".to_owned()),
        ("/api/analytics/exports", "/api/analytics/exports".to_owned()),
        ("/api/analytics/changes", "/api/analytics/changes".to_owned()),
        ("/api/analytics/{readModel}", "/api/analytics/timeInStatus".to_owned()),
        ("/api/posts", "/api/posts".to_owned()),
        ("/api/posts/{id}", format!("/api/posts/{post}")),
        ("/api/posts/{id}/comments", format!("/api/posts/{post}/comments")),
        ("/api/events", "/api/events".to_owned()),
        ("/api/events/{id}", format!("/api/events/{event}")),
        ("/api/events/{id}/attendees", format!("/api/events/{event}/attendees")),
        ("/health/live", "/health/live".to_owned()),
        ("/health", "/health".to_owned()),
        ("/health/ready", "/health/ready".to_owned()),
    ];
    for (route, path) in questions {
        // The owner sees a dossier whole.
        let reader = if route.starts_with("/api/dossiers/") { &ada } else { &everyone };
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = if route.starts_with("/api") { format!("{path}{separator}minPosition={position}") } else { path };
        let answer = reader.get(&path).await.expect(200);
        let schema = &document["paths"][route]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{route}: {}", document["paths"][route]["get"]);
        assert_eq!(faults(&document, schema, &answer.body, ""), Vec::<String>::new(), "{path}: {:#}", answer.body);
    }
}

#[tokio::test]
async fn every_command_and_every_problem_is_as_it_is_described() {
    let document = document().await;
    let ada = applicant().await;
    let commands = [
        ("/api/dossiers", "post", "201", ada.post("/api/dossiers", dossier("x")).await),
        ("/api/users/me", "put", "200", ada.put("/api/users/me", json!({ "name": "x" })).await),
    ];
    for (route, method, status, answer) in commands {
        let schema = &document["paths"][route][method]["responses"][status]["content"]["application/json"]["schema"];
        assert_eq!(faults(&document, schema, &answer.body, ""), Vec::<String>::new(), "{route}");
    }
    let body =
        json!({ "email": format!("{}@x.test", Uuid::now_v7()), "password": "a password for tests", "name": "x" });
    let account = nobody().await.post("/api/auth/register", body).await.expect(201);
    let schema = &document["paths"]["/api/auth/register"]["post"]["responses"]["201"]["content"]["application/json"];
    assert_eq!(faults(&document, &schema["schema"], &account.body, ""), Vec::<String>::new());
    let path = new_dossier(&ada).await;
    obey(&ada, &path, "submit").await.expect(200);
    let problem = &document["components"]["schemas"]["ProblemDetails"];
    let codes = document["components"]["responses"].to_string();
    for answer in [
        ada.get("/api/nowhere").await,
        ada.post("/api/dossiers", json!({ "x": 1 })).await,
        ada.get("/api/dossiers?limit=0").await,
        obey(&ada, &path, "edit").await,
        put_with(&ada, "/api/users/me", &[("if-match", "\"9\"")], json!({ "name": "y" })).await,
        nobody().await.get("/api/users/me").await,
    ] {
        assert_eq!(faults(&document, problem, &answer.body, ""), Vec::<String>::new());
        assert!(codes.contains(&format!("`{}`", answer.body["code"].as_str().unwrap())), "{:#}", answer.body);
    }
}

#[tokio::test]
async fn what_the_description_calls_a_body_is_accepted_as_one() {
    let document = document().await;
    let everyone = everyone().await;
    for operation in operations().await.iter().filter(|operation| operation.body) {
        let described = &document["paths"][&operation.path][operation.method.as_str().to_lowercase()];
        let schema = &described["requestBody"]["content"]["application/json"]["schema"];
        for whole in [false, true] {
            let body = example(&document, schema, whole);
            let path = operation.at(&Uuid::now_v7().to_string());
            let answer = send(&everyone, &operation.method, &path, "application/json", body.to_string().into()).await;
            let code = answer.body["code"].as_str().unwrap_or_default();
            let misread = code.starts_with("body.") || ["field.unknown", "field.required"].contains(&code);
            assert!(!misread && answer.status < 500, "{} {path} {body}: {:#}", operation.method, answer.body);
        }
        // And what it requires is required.
        if schema.to_string().contains("$ref") && example(&document, schema, false) != json!({}) {
            let path = operation.at(&Uuid::now_v7().to_string());
            let answer = send(&everyone, &operation.method, &path, "application/json", b"{}".to_vec()).await;
            assert_eq!(answer.body["code"], "field.required", "{} {path}", operation.method);
        }
    }
}
