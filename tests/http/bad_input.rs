//! Bodies and headers that nobody should send: refused, each with a problem, and never with more than that.

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::json;

use super::*;

async fn send_bytes(client: &Client, method: Method, path: &str, media_type: &str, body: Vec<u8>) -> Answer {
    let request = client.request(method, path).timeout(SOON).body(body);
    let request = if media_type.is_empty() { request } else { request.header(CONTENT_TYPE, media_type) };
    client.send(request).await
}

async fn create_from(client: &Client, body: impl Into<Vec<u8>>) -> Answer {
    send_bytes(client, Method::POST, "/api/dossiers", "application/json", body.into()).await
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let ada = applicant().await;
    let deep_lists = format!("{{\"title\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"{]".to_vec(),
        b"nonsense".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\"".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\"}}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\"} {}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",}".to_vec(),
        b"{'title':'x','category':'x'}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",\"title\":\"y\"}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",\"\\u0074itle\":\"y\"}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":1,\"a\":2}}".to_vec(),
        b"{\"title\":\"\\ud800\",\"category\":\"x\"}".to_vec(),
        b"{\"title\":\"\\udc00\\ud800\",\"category\":\"x\"}".to_vec(),
        b"{\"title\":\"\xff\xfe\",\"category\":\"x\"}".to_vec(),
        b"{\"title\":\"\xed\xa0\x80\",\"category\":\"x\"}".to_vec(),
        b"{\"title\":\"\xc0\xaf\",\"category\":\"x\"}".to_vec(),
        b"\xef\xbb\xbf{\"title\":\"x\",\"category\":\"x\"}".to_vec(),
        b"\xff\xfe{\0}\0".to_vec(),
        b"{\"title\":\"a\nb\",\"category\":\"x\"}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":1e400}}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":-1e400}}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":NaN}}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":Infinity}}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":01}}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":+1}}".to_vec(),
        b"{\"title\":\"x\",\"category\":\"x\"}\0".to_vec(),
        b"\0".to_vec(),
        b" ".to_vec(),
        deep_lists.into_bytes(),
        deep_objects.into_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = create_from(&ada, body).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (400, &json!("body.malformed")),
            "{shown}: {:#}",
            answer.body
        );
    }
}

#[tokio::test]
async fn what_is_json_but_no_command_is_refused() {
    let ada = applicant().await;
    let bodies = [
        "null",
        "true",
        "1",
        "\"x\"",
        "[]",
        "{}",
        "[{\"title\":\"x\",\"category\":\"x\"}]",
        "{\"title\":null,\"category\":\"x\"}",
        "{\"title\":1,\"category\":\"x\"}",
        "{\"title\":[\"x\"],\"category\":\"x\"}",
        "{\"title\":{\"x\":1},\"category\":\"x\"}",
        "{\"title\":true,\"category\":\"x\"}",
        "{\"title\":\"\",\"category\":\"x\"}",
        "{\"title\":\"   \\u00a0\\t\",\"category\":\"x\"}",
        "{\"title\":\"a\\u0000b\",\"category\":\"x\"}",
        "{\"title\":\"x\",\"category\":\"\\u0000\"}",
        "{\"title\":\"x\",\"category\":\"x\",\"description\":\"\\u0000\"}",
        "{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":\"\\u0000\"}}",
        "{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":[\"b\",\"\\u0000\"]}}",
        "{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\\u0000\":1}}",
        "{\"title\":\"x\",\"category\":\"x\",\"fields\":\"x\"}",
        "{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":{}}}",
        "{\"title\":\"x\",\"category\":\"x\",\"__proto__\":{\"admin\":true}}",
        "{\"title\":\"x\",\"category\":\"x\",\"constructor\":{\"prototype\":{}}}",
        "{\"Title\":\"x\",\"category\":\"x\"}",
        "{\"\":\"x\",\"title\":\"x\",\"category\":\"x\"}",
    ];
    for body in bodies {
        let answer = create_from(&ada, body).await;
        assert_eq!(answer.status, 422, "{body}: {:#}", answer.body);
        assert!(answer.body["errors"][0]["pointer"].is_string(), "{body}: {:#}", answer.body);
    }
    let nul = create_from(&ada, "{\"title\":\"x\",\"category\":\"x\",\"fields\":{\"a\":[\"b\",\"\\u0000\"]}}").await;
    assert_eq!(nul.body["errors"][0]["pointer"], "/fields/a/1");
    for number in ["18446744073709551616", "-9223372036854775809", "1e308", "-0", "123456789012345678901234567890"] {
        let body = format!("{{\"title\":\"x\",\"category\":\"x\",\"fields\":{{\"a\":{number}}}}}");
        let answer = create_from(&ada, body).await;
        assert!(matches!(answer.status, 201 | 400 | 422), "{number}: {:#}", answer.body);
    }
}

#[tokio::test]
async fn a_body_must_be_declared_as_json() {
    let ada = applicant().await;
    let body = b"{\"title\":\"x\",\"category\":\"x\"}";
    for bad in [
        "",
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "text/json",
        "application/yaml",
        "application/json, text/plain",
        "application",
        "json",
        ";",
        "application/json+x",
        "application/vnd.api+json",
    ] {
        let answer = send_bytes(&ada, Method::POST, "/api/dossiers", bad, body.to_vec()).await;
        answer.expect_problem(415, "body.unsupported_media_type");
    }
    for good in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=\"UTF-8\""] {
        send_bytes(&ada, Method::POST, "/api/dossiers", good, body.to_vec()).await.expect(201);
    }
    for encoding in ["gzip", "br", "deflate", "zstd", "x"] {
        let request = ada.request(Method::POST, "/api/dossiers").json(&dossier("x")).header(CONTENT_ENCODING, encoding);
        let answer = ada.send(request).await;
        assert_eq!(answer.status, 415, "{encoding}: {:#}", answer.body);
    }
    let twice = ada.request(Method::POST, "/api/dossiers").header(CONTENT_TYPE, "text/plain").json(&dossier("x"));
    let twice = ada.send(twice.header(CONTENT_TYPE, "text/plain")).await;
    assert!(matches!(twice.status, 201 | 415));
}

#[tokio::test]
async fn a_body_has_an_end() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let huge = vec![b' '; 30 << 20];
    for (method, path) in
        [(Method::POST, "/api/dossiers"), (Method::PUT, path.as_str()), (Method::DELETE, path.as_str())]
    {
        let request = ada.request(method.clone(), path).timeout(SOON).header(CONTENT_TYPE, "application/json");
        match ada.try_send(request.body(huge.clone())).await {
            Ok(answer) => {
                assert_eq!((answer.status, &answer.body["code"]), (413, &json!("body.too_large")), "{method}")
            }
            // The server need not listen to all of it.
            Err(error) => assert!(error.is_request() && !error.is_timeout(), "{method}: {error:?}"),
        }
    }
    ada.get(&path).await.expect(200);
    // Also when it does not say how long it is.
    let mut raw = super::raw::Raw::connect().await;
    let head = format!(
        "POST /api/dossiers HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        raw.host,
        ada.token()
    );
    raw.send(head).await;
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..100 {
        raw.send(&chunk).await;
    }
    let (received, _) = raw.receive(Duration::from_secs(3)).await;
    assert!(received.is_empty() || received.starts_with("HTTP/1.1 413"), "{received}");
    ada.get(&path).await.expect(200);
}

#[tokio::test]
async fn who_still_talks_hears_a_refusal_all_the_same() {
    let (ada, nobody) = (applicant().await, nobody().await);
    let bodies = [vec![b' '; 1 << 20], vec![b'x'; 8 << 20]];
    for round in 0..10 {
        for body in &bodies {
            let path = format!("/api/dossiers?round={round}");
            for (client, path, status) in [
                (&ada, "/api/dossiers", 413),
                (&nobody, "/api/dossiers", 401),
                (&ada, path.as_str(), 422),
                (&ada, "/api/nowhere", 404),
                (&ada, "/health/live", 405),
            ] {
                let answer = send_bytes(client, Method::POST, path, "application/json", body.clone()).await;
                assert_eq!(answer.status, status, "{path}: {:#}", answer.body);
            }
        }
    }
    // Without a length, too.
    let stream = reqwest::Body::from(vec![b' '; 4 << 20]);
    let request = ada.request(Method::POST, "/api/dossiers").timeout(SOON).header("content-type", "application/json");
    assert_eq!(ada.send(request.body(stream)).await.status, 413);
}

#[tokio::test]
async fn a_parameter_must_be_known_and_sound() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    for query in
        ["role=admin", "Status=draft", "status%00=draft", "__proto__=1", "=", "=x", "status[]=draft", "ids=1,2"]
    {
        let answer = ada.get(&format!("/api/dossiers?{query}")).await;
        assert_eq!(answer.status, 422, "{query}: {:#}", answer.body);
        assert!(answer.body["code"].as_str().unwrap().starts_with("parameter."), "{:#}", answer.body);
    }
    for query in ["q=%00", "q=a%00b", "category=%00", "q=%ff%fe", "q=%ED%A0%80", "q=%", "q=%zz", "q=%u0000"] {
        let answer = ada.get(&format!("/api/dossiers?{query}")).await;
        assert!(matches!(answer.status, 200 | 400 | 422), "{query}: {:#}", answer.body);
    }
    for command in ["", "/submit", "/withdraw"] {
        let request = ada.request(
            if command.is_empty() { Method::PUT } else { Method::POST },
            &format!("{path}{command}?force=true"),
        );
        let answer = ada.send(request.json(&json!({}))).await;
        answer.expect_problem(422, "parameter.unknown");
    }
}

#[tokio::test]
async fn a_bad_id_names_nothing() {
    let ada = applicant().await;
    let good = ada.create_dossier("x").await.id();
    let long = "a".repeat(5_000);
    let simple = good.simple().to_string();
    let braced = format!("%7B{good}%7D");
    let urn = format!("urn:uuid:{good}");
    let off = format!("{good}0");
    let ids = [
        "x",
        "1",
        "-1",
        "null",
        "me",
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "'%20or%201=1--",
        "*",
        ">",
        "a.b",
        "%0d%0aset-cookie:x=1",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "%F0%9F%92%A9",
        "%ff",
        &long,
        &simple,
        &braced,
        &urn,
        &off,
    ];
    for id in ids {
        for suffix in ["", "/history", "/diff?from=0&to=1", "?version=1"] {
            let answer = ada.get(&format!("/api/dossiers/{id}{suffix}")).await;
            assert!(matches!(answer.status, 400 | 404 | 414), "{id}{suffix}: {:#}", answer.body);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{id}");
            assert_eq!(answer.header("set-cookie"), "");
        }
        let answer = ada.post(&format!("/api/dossiers/{id}/submit"), json!({})).await;
        assert!(matches!(answer.status, 400 | 404 | 414), "{id}: {:#}", answer.body);
        let answer = ada.get(&format!("/api/users/{id}")).await;
        assert!(matches!(answer.status, 200 | 400 | 404 | 414), "{id}: {:#}", answer.body);
    }
    // Capital letters are the same number.
    ada.get(&format!("/api/dossiers/{}?minPosition={}", good.to_string().to_uppercase(), head().await))
        .await
        .expect(200);
}

#[tokio::test]
async fn nothing_is_injected_into_headers() {
    let ada = applicant().await;
    let title = "x\r\nset-cookie: a=b\r\n\r\n<html>";
    let created =
        post_with(&ada, "/api/dossiers", &[("prefer", "return=representation")], dossier(title)).await.expect(201);
    assert_eq!((created.header("set-cookie"), &created.body["title"]), ("", &json!(title)));
    let answer = ada.get("/api/nowhere%0d%0aset-cookie:%20a=b").await.expect(404);
    assert_eq!(answer.header("set-cookie"), "");
    // Markup comes back as data.
    let answer = ada.get("/api/%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert_eq!((answer.status, answer.header("content-type")), (404, "application/problem+json"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn strange_preferences_are_no_failure() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let long = "a,".repeat(3_000);
    for name in [
        "accept",
        "accept-language",
        "accept-encoding",
        "accept-charset",
        "prefer",
        "user-agent",
        "traceparent",
        "tracestate",
        "cookie",
        "referer",
        "range",
        "if-none-match",
        "if-modified-since",
        "x-forwarded-for",
        "forwarded",
        "expect",
        "upgrade",
        "te",
    ] {
        for value in [
            "",
            "*",
            "*/*;q=abc",
            "text/xml",
            "é",
            ";;;,,,===",
            "fr;q=99999999999999999999",
            "100-continue",
            "bytes=0-1,5-",
            long.as_str(),
        ] {
            let answer = get_with(&ada, &path, &[(name, value)]).await;
            assert!(answer.status < 500, "{name}: {value}: {:#}", answer.body);
            assert!(
                matches!(answer.status, 200 | 304 | 400 | 406 | 417),
                "{name}: {value}: {} {:#}",
                answer.status,
                answer.body
            );
        }
    }
}
