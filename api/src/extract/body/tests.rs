use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Example {
    title: String,
    count: Option<u8>,
    fields: Option<BTreeMap<String, Vec<String>>>,
}

fn read(media_type: &'static str, body: &[u8]) -> Result<Example, Problem> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
    strict_json(&headers, body)
}

fn refusal(body: &str) -> (&'static str, String) {
    let problem = read("application/json", body.as_bytes()).unwrap_err();
    let rendered = serde_json::to_value(problem.body_for_tests()).unwrap();
    let pointer = rendered["errors"][0]["pointer"].as_str().unwrap_or("-").to_owned();
    (problem.code().name, pointer)
}

#[test]
fn a_good_body_is_read() {
    let example = read("application/json; charset=UTF-8", br#"{"title":"a","count":3}"#).unwrap();
    assert_eq!(example, Example { title: "a".to_owned(), count: Some(3), fields: None });
}

#[test]
fn faults_are_named_with_their_place() {
    let cases = [
        (r#"{"title":"a","role":"admin"}"#, "field.unknown", "/role"),
        (r#"{"title":"a","a/b":1}"#, "field.unknown", "/a~1b"),
        (r#"{}"#, "field.required", "/title"),
        (r#"{"title":5}"#, "field.invalid", "/title"),
        (r#"{"title":null}"#, "field.invalid", "/title"),
        (r#"{"title":"a","count":256}"#, "field.invalid", "/count"),
        (r#"{"title":"a","count":-1}"#, "field.invalid", "/count"),
        (r#"{"title":"a","count":18446744073709551616}"#, "field.invalid", "/count"),
        (r#"{"title":"a","fields":{"x":["a",1]}}"#, "field.invalid", "/fields/x/1"),
        (r#"{"title":"a\u0000"}"#, "field.invalid", "/title"),
        (r#"{"title":"a","fields":{"x/y":["\u0000"]}}"#, "field.invalid", "/fields/x~1y/0"),
        (r#"["a",1]"#, "field.invalid", ""),
        (r#""a""#, "field.invalid", ""),
        ("null", "field.invalid", ""),
    ];
    for (body, code, pointer) in cases {
        assert_eq!(refusal(body), (code, pointer.to_owned()), "{body}");
    }
}

#[test]
fn what_is_not_json_is_malformed() {
    let deep = "[".repeat(100_000);
    let cases = [
        "{",
        "{\"title\":\"a\"} x",
        "\u{feff}{}",
        "{\"title\":\"a\",\"title\":\"b\"}",
        "{\"title\":1e400}",
        "{\"title\":\"\\ud800\"}",
        "{'title':'a'}",
        "nan",
        "{\"a\":{\"b\":1,\"b\":2}}",
        &deep,
    ];
    for body in cases {
        assert_eq!(refusal(body).0, "body.malformed", "{}", &body[..body.len().min(40)]);
    }
    assert_eq!(read("application/json", b"{\"title\":\"\xff\"}").unwrap_err().code().name, "body.malformed");
}

#[test]
fn only_json_is_json() {
    for media_type in ["text/plain", "application/json; charset=latin1", "application/jsonp", "", "application/xml"] {
        let code = read(media_type, b"{}").unwrap_err().code().name;
        assert_eq!(code, "body.unsupported_media_type", "{media_type}");
    }
}
