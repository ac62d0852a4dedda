//! Everything that the description describes, met with hostility.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use uuid::Uuid;

use super::openapi::{everyone, operations, send, sound};
use super::*;

#[tokio::test]
async fn every_operation_knows_who_calls() {
    let nobody = nobody().await;
    let ada = applicant().await;
    let expired = format!("{}x", ada.token());
    for operation in operations().await.iter().filter(|operation| !operation.public) {
        let path = operation.at(&Uuid::now_v7().to_string());
        let what = format!("{} {path}", operation.method);
        for (client, code) in [
            (nobody.clone(), "auth.required"),
            (nobody.with_token("x"), "auth.invalid_token"),
            (nobody.with_token(&expired), "auth.invalid_token"),
            (nobody.with_token("a.b.c"), "auth.invalid_token"),
        ] {
            // Nothing else of the request matters before.
            for (media_type, body) in [("", vec![]), ("application/json", b"{".to_vec())] {
                let answer = send(&client, &operation.method, &path, media_type, body).await;
                sound(&answer, &what);
                assert_eq!((answer.status, answer.body["code"].as_str()), (401, Some(code)), "{what}");
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}");
            }
        }
        let answer = send(&nobody, &operation.method, &operation.at("not-an-id"), "", vec![]).await;
        assert_eq!(answer.status, 401, "{what}");
        let answer = send(&nobody, &operation.method, &format!("{path}?unknown=1"), "", vec![]).await;
        assert_eq!(answer.status, 401, "{what}");
    }
}

/// Bodies that no operation should accept, and none should fall over.
fn hostile_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let json = "application/json";
    let mut bodies: Vec<(&'static str, Vec<u8>)> = [
        "{",
        "nonsense",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{\"unknown\":1}",
        "{\"a\":1,\"a\":2}",
        "{}{}",
        "{\"\\u0000\":1}",
        "{\"a\":1e400}",
        "{\"a\":18446744073709551616}",
        "{\"a\":\"\\ud800\"}",
        "\u{feff}{}",
    ]
    .into_iter()
    .map(|body| (json, body.as_bytes().to_vec()))
    .collect();
    bodies.push((json, b"\xff\xfe".to_vec()));
    bodies.push((json, vec![0; 100]));
    bodies.push((json, format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes()));
    bodies.push((json, format!("{{\"a\":\"{}\"}}", "x".repeat(200_000)).into_bytes()));
    // Every name that any operation knows, each with a value of the wrong kind.
    let names = [
        "title",
        "category",
        "description",
        "fields",
        "note",
        "reason",
        "message",
        "motivation",
        "pro",
        "email",
        "password",
        "name",
        "locale",
        "refreshToken",
        "roles",
        "status",
        "body",
        "parent",
        "capacity",
        "startsAt",
    ];
    for value in
        ["1", "null", "[]", "{}", "\"\\u0000\"", "true", "-9223372036854775809", "\"'; drop table events; --\""]
    {
        for name in names.iter().filter(|_| matches!(value, "1" | "{}" | "\"\\u0000\"")) {
            bodies.push((json, format!("{{\"{name}\":{value}}}").into_bytes()));
        }
        let all: Vec<String> = names.iter().map(|name| format!("\"{name}\":{value}")).collect();
        bodies.push((json, format!("{{{}}}", all.join(",")).into_bytes()));
    }
    bodies.push(("text/plain", b"{}".to_vec()));
    bodies.push((
        "application/xml",
        b"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY y SYSTEM \"file:///etc/passwd\">]><x>&y;</x>".to_vec(),
    ));
    bodies.push(("", b"{}".to_vec()));
    bodies
}

#[tokio::test]
async fn every_operation_withstands_hostile_bodies() {
    let everyone = everyone().await;
    let operations = operations().await;
    let with_body =
        operations.iter().filter(|operation| operation.method != Method::GET && !operation.ends_the_session());
    let mut requests = Vec::new();
    for operation in with_body {
        for (media_type, body) in hostile_bodies() {
            requests.push((operation.clone(), media_type, body));
        }
    }
    let everyone = &everyone;
    stream::iter(requests)
        .for_each_concurrent(8, |(operation, media_type, body)| async move {
            let path = operation.at(&Uuid::now_v7().to_string());
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let what = format!("{} {path} {media_type} {shown}", operation.method);
            let answer = send(everyone, &operation.method, &path, media_type, body).await;
            sound(&answer, &what);
            if operation.body && media_type != "application/json" {
                assert_eq!(answer.status, 415, "{what}: {:#}", answer.body);
            }
            if operation.body && (shown.starts_with("{\"unknown") || shown == "[]") {
                assert_eq!(answer.status, 422, "{what}: {:#}", answer.body);
            }
            if operation.body && shown == "{" {
                assert_eq!(answer.status, 400, "{what}: {:#}", answer.body);
            }
        })
        .await;
    // Nobody was shut out or let in by any of it.
    everyone.get("/api/users/me").await.expect(200);
}

#[tokio::test]
async fn every_operation_withstands_hostile_addresses() {
    let everyone = everyone().await;
    let operations = operations().await;
    let ids = [
        "x",
        "0",
        "-1",
        "%00",
        "%ff",
        "..",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "'%20or%20'1'='1",
        "*",
        ">",
        "%0d%0ax:%20y",
        "00000000-0000-0000-0000-000000000000",
        "18446744073709551616",
        "%F0%9F%92%A9",
        "{id}",
        "null",
    ];
    let values = [
        "",
        "x",
        "-1",
        "0",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "%00",
        "%ff",
        "'",
        "'%20or%201=1--",
        "..%2f..%2f",
        "a%0d%0ab",
        "*",
        "%25",
        "[]",
        "{}",
        "null",
        "true",
        "2026-01-01",
        "9999-12-31",
        "262142-12-31",
        "-262143-01-01",
        "0000-00-00",
        "9999-12-31T23:59:59Z",
        "%2B262143-01-01T00:00:00Z",
        "-262143-01-01T00:00:00Z",
        "%F0%9F%92%A9",
    ];
    let mut requests = Vec::new();
    for operation in operations.iter().filter(|operation| !operation.ends_the_session()) {
        if operation.has_id() {
            requests.extend(ids.iter().map(|id| (operation.method.clone(), operation.at(id))));
        }
        let path = operation.at(&Uuid::now_v7().to_string());
        for query in ["unknown=1", "a=1&a=1", "%00=1", "limit", "&&&", "=", "minPosition=x", "minPosition=-1"] {
            requests.push((operation.method.clone(), format!("{path}?{query}")));
        }
        for name in &operation.parameters {
            requests.extend(values.iter().map(|value| (operation.method.clone(), format!("{path}?{name}={value}"))));
            requests.push((operation.method.clone(), format!("{path}?{name}={}", "x".repeat(7_000))));
            requests.push((operation.method.clone(), format!("{path}?{name}=1&{name}=2")));
        }
    }
    let everyone = &everyone;
    stream::iter(requests)
        .for_each_concurrent(8, |(method, path)| async move {
            let answer = send(everyone, &method, &path, "", vec![]).await;
            let what = format!("{method} {}", path.chars().take(150).collect::<String>());
            sound(&answer, &what);
            let public = path.starts_with("/health") || path.starts_with("/metrics");
            // A provider may send browsers back with more than we know of.
            let theirs = path.contains("/callback?");
            if path.contains("?unknown=1") && !public && !theirs {
                assert_eq!(answer.status, 422, "{what}: {:#}", answer.body);
            }
        })
        .await;
}

#[tokio::test]
async fn every_operation_withstands_strange_headers_and_methods() {
    let everyone = everyone().await;
    let operations = operations().await;
    let paths: BTreeSet<String> =
        operations.iter().map(|operation| operation.at("0198d6c4-1f7d-7000-8000-000000000001")).collect();
    for path in &paths {
        for method in ["PATCH", "TRACE", "OPTIONS", "FOO", "get"] {
            let answer = send(&everyone, &Method::from_bytes(method.as_bytes()).unwrap(), path, "", vec![]).await;
            sound(&answer, &format!("{method} {path}"));
            assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
            assert!(!answer.header("allow").is_empty(), "{method} {path}");
        }
    }
    let long = "x,".repeat(2_000);
    let headers = [
        ("accept", "*/*;q=abc"),
        ("accept", "text/xml"),
        ("accept", ""),
        ("accept", long.as_str()),
        ("accept-language", "é;q=2"),
        ("accept-encoding", "gzip;q=nonsense"),
        ("if-match", "nonsense"),
        ("if-match", "*"),
        ("if-match", "W/\"1\""),
        ("idempotency-key", ""),
        ("idempotency-key", long.as_str()),
        ("prefer", ";;;=,wait=1,return"),
        ("prefer", "wait=-1, wait=0"),
        ("capitune-min-position", "-1"),
        ("capitune-min-position", "18446744073709551616"),
        ("traceparent", "é"),
        ("x-request-id", "a b"),
        ("range", "bytes=5-1"),
        ("expect", "100-continue"),
        ("content-length", "0"),
        ("cookie", "a=b; session=x"),
        ("last-event-id", "x"),
    ];
    let mut requests = Vec::new();
    for operation in operations.iter().filter(|operation| !operation.ends_the_session()) {
        requests.extend(headers.map(|header| (operation.clone(), header)));
    }
    let everyone = &everyone;
    stream::iter(requests)
        .for_each_concurrent(8, |(operation, (name, value))| async move {
            let path = operation.at("0198d6c4-1f7d-7000-8000-000000000001");
            let request = everyone.request(operation.method.clone(), &path).timeout(SOON).header(name, value);
            let request = if name == "prefer" { request } else { request.header("prefer", "wait=0") };
            let answer = everyone.send(request).await;
            sound(&answer, &format!("{} {path} {name}: {value}", operation.method));
        })
        .await;
}
