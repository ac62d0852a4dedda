//! The one shape of every error.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn a_problem_has_all_its_members() {
    let ada = applicant().await;
    let missing = format!("/api/dossiers/{}", uuid::Uuid::now_v7());
    let answer = get_with(&ada, &format!("{missing}?minPosition=1"), &[("x-request-id", "my-request")]).await;
    let answer = answer.expect_problem(404, "dossier.not_found");
    assert_eq!(names(&answer.body), ["code", "detail", "instance", "requestId", "status", "title", "type"]);
    assert_eq!((&answer.body["status"], &answer.body["instance"]), (&json!(404), &json!(missing)));
    assert_eq!((&answer.body["requestId"], answer.header("x-request-id")), (&json!("my-request"), "my-request"));
    for member in ["type", "title", "detail"] {
        assert!(answer.body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}");
    }
    let own = ada.get(&missing).await;
    assert_eq!(own.body["requestId"].as_str(), Some(own.header("x-request-id")));
}

#[tokio::test]
async fn a_problem_speaks_french_or_english() {
    let ada = applicant().await;
    let languages = [
        (None, "en"),
        (Some("fr"), "fr"),
        (Some("fr-CA, en;q=0.5"), "fr"),
        (Some("en-GB"), "en"),
        (Some("en;q=0.3, fr;q=0.9"), "fr"),
        (Some("de"), "en"),
        (Some("de, fr;q=0.1"), "fr"),
        (Some(";;;q=,é"), "en"),
        (Some(""), "en"),
    ];
    for (accepted, language) in languages {
        let headers: Vec<(&str, &str)> = accepted.map(|accepted| ("accept-language", accepted)).into_iter().collect();
        let answer = post_with(&ada, "/api/dossiers", &headers, json!({ "title": "", "category": "x" })).await;
        assert_eq!(answer.status, 422, "{accepted:?}");
        assert_eq!(answer.header("content-language"), language, "{accepted:?}");
        let texts = format!("{} {}", answer.body["title"], answer.body["errors"][0]["detail"]);
        let french = texts.contains("champs") && texts.contains("doit");
        assert_eq!(french, language == "fr", "{accepted:?}: {texts}");
        // What a program reads is the same in every language.
        assert_eq!(answer.body["errors"][0]["pointer"], "/title");
        assert_eq!(answer.body["code"], "dossier.invalid");
    }
}

#[tokio::test]
async fn every_problem_is_told_in_both_languages() {
    let (ada, pro) = (applicant().await, person("pro").await);
    let path = dossier_in("in_review", &ada, &pro).await;
    let requests: Vec<(&Client, Method, String, Option<Value>)> = vec![
        (&ada, Method::PUT, path.clone(), Some(json!({ "title": "x" }))),
        (&ada, Method::PUT, path.clone(), Some(json!({ "title": 1 }))),
        (&ada, Method::PUT, path.clone(), Some(json!({ "role": 1 }))),
        (&ada, Method::POST, "/api/dossiers".to_owned(), Some(json!({}))),
        (&ada, Method::POST, format!("{path}/accept"), Some(json!({}))),
        (&pro, Method::POST, format!("{path}/refuse"), Some(json!({ "motivation": "" }))),
        (&ada, Method::GET, "/api/dossiers?limit=0".to_owned(), None),
        (&ada, Method::GET, "/api/dossiers?limits=1".to_owned(), None),
        (&ada, Method::GET, "/api/dossiers?cursor=x".to_owned(), None),
        (&ada, Method::GET, "/api/admin/users".to_owned(), None),
        (&ada, Method::GET, "/nowhere".to_owned(), None),
        (&ada, Method::PATCH, path.clone(), None),
        (&ada, Method::GET, format!("{path}?version=99"), None),
    ];
    for (client, method, path, body) in requests {
        let french = call(client, method.clone(), &path, &[("accept-language", "fr")], body.clone()).await;
        let english = call(client, method, &path, &[("accept-language", "en")], body).await;
        assert!(french.status >= 400 && french.status == english.status, "{path}: {french:?}");
        assert_eq!(french.body["code"], english.body["code"]);
        for member in ["title", "detail"] {
            assert_ne!(french.body[member], english.body[member], "{path} {member}: {:#}", english.body);
        }
        for index in 0..french.body["errors"].as_array().map_or(0, Vec::len) {
            let detail = |answer: &Answer| answer.body["errors"][index]["detail"].clone();
            assert_ne!(detail(&french), detail(&english), "{path}");
        }
    }
}

#[tokio::test]
async fn validation_names_every_field_at_fault() {
    let ada = applicant().await;
    let body = json!({
        "title": "", "category": "c".repeat(65), "description": "d".repeat(10_001),
        "fields": { "good": 1, "1bad": "x", "long": "t".repeat(2_001) }
    });
    let answer = ada.post("/api/dossiers", body).await;
    assert_eq!(answer.status, 422);
    let errors = answer.body["errors"].as_array().unwrap();
    let pointers: BTreeSet<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    let expected = ["/category", "/description", "/fields/1bad", "/fields/long", "/title"];
    assert_eq!(pointers.into_iter().collect::<Vec<_>>(), expected);
    for error in errors {
        assert_eq!(names(error), ["code", "detail", "pointer"]);
    }
    let answer = nobody().await.post("/api/auth/register", json!({ "email": "x", "password": "y", "name": "" })).await;
    let pointers: BTreeSet<&str> =
        answer.body["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers.into_iter().collect::<Vec<_>>(), ["/email", "/name", "/password"]);
    let answer = ada.post("/api/dossiers", json!({ "category": "x" })).await;
    assert_eq!((answer.status, &answer.body["errors"][0]["pointer"]), (422, &json!("/title")));
    let answer = ada.post("/api/dossiers", json!({ "title": "x", "category": ["x"] })).await;
    assert_eq!((answer.status, &answer.body["errors"][0]["pointer"]), (422, &json!("/category")));
    let answer = ada.post("/api/dossiers", json!({ "title": "x", "category": "x", "fields": { "a/b": {} } })).await;
    assert_eq!((answer.status, &answer.body["errors"][0]["pointer"]), (422, &json!("/fields/a~1b")));
}

#[tokio::test]
async fn what_is_hidden_looks_exactly_like_what_is_not_there() {
    let (ada, eve) = (applicant().await, applicant().await);
    let hidden = new_dossier(&ada).await;
    let nothing = format!("/api/dossiers/{}", uuid::Uuid::now_v7());
    let told = |answer: Answer, path: &str| {
        let mut headers: Vec<String> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
        headers.sort();
        let mut body = answer.body;
        assert_eq!(body["instance"].as_str().map(|instance| instance.starts_with(path)), Some(true));
        body["instance"] = Value::Null;
        body["requestId"] = Value::Null;
        (answer.status, headers, body)
    };
    for suffix in ["", "?version=1", "?asOf=2026-01-01T00:00:00Z", "/history", "/diff?from=0&to=1"] {
        let one = eve.get(&format!("{hidden}{suffix}")).await;
        let other = eve.get(&format!("{nothing}{suffix}")).await;
        assert_eq!(told(one, &hidden), told(other, &nothing), "{suffix}");
    }
    let commands = ["edit", "submit", "withdraw", "discard", "archive", "start-review", "accept", "refuse", "assign"];
    for command in commands {
        let one = obey(&eve, &hidden, command).await;
        let other = obey(&eve, &nothing, command).await;
        assert_eq!(told(one, &hidden), told(other, &nothing), "{command}");
    }
}

#[tokio::test]
async fn what_no_route_serves_is_a_problem_too() {
    let ada = applicant().await;
    for path in [
        "/",
        "/api",
        "/api/nowhere",
        "/api/dossiers/",
        "/.git/config",
        "/admin",
        "/debug",
        "/api//dossiers",
        "/favicon.ico",
    ] {
        ada.get(path).await.expect_problem(404, "route.not_found");
    }
    for (method, path) in [
        (Method::DELETE, "/api/dossiers"),
        (Method::PATCH, "/api/users/me"),
        (Method::POST, "/health/live"),
        (Method::TRACE, "/api/dossiers"),
        (Method::from_bytes(b"FOO").unwrap(), "/api/users/me"),
    ] {
        let answer = call(&ada, method.clone(), path, &[], None).await;
        let answer = answer.expect_problem(405, "method.not_allowed");
        assert!(!answer.header("allow").is_empty(), "{method} {path}");
    }
    // Nobody changes the method by a header or a parameter.
    let path = new_dossier(&ada).await;
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        get_with(&ada, &path, &[(name, "DELETE")]).await.expect(200);
    }
    ada.get(&path).await.expect(200);
    ada.get(&format!("{path}?_method=DELETE")).await.expect_problem(422, "parameter.unknown");
}
