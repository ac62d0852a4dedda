//! The process itself: its health, its figures, and its composure.

use std::time::Instant;

use futures::future::join_all;
use serde_json::json;

use super::raw::{Raw, exchange, statuses};
use super::*;

#[tokio::test]
async fn health_tells_of_each_dependency() {
    let nobody = nobody().await;
    assert_eq!(nobody.get("/health/live").await.expect(200).body["status"], "ok");
    let ready = nobody.get("/health/ready").await.expect(200);
    assert_eq!(nobody.get("/health").await.expect(200).body, ready.body);
    for dependency in ["status", "postgres", "schema", "durability", "nats"] {
        assert_eq!(ready.body[dependency], "ok", "{:#}", ready.body);
    }
}

#[tokio::test]
async fn metrics_count_what_was_done() {
    let ada = applicant().await;
    ada.create_dossier("x").await;
    let metrics = ada.get("/metrics").await.expect(200);
    assert!(metrics.header("content-type").starts_with("text/plain"));
    let text = metrics.body.as_str().unwrap();
    assert!(text.contains("capitune_http_requests_total{"), "{text}");
    assert!(text.lines().any(|line| line.contains("route=\"/api/dossiers\"") && line.contains("status=\"201\"")));
    assert!(text.contains("capitune_projection_lag{projection=\"dossier\"}"));
    // No id of anything becomes a label.
    assert!(!text.contains(&ada.user_id.to_string()));
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let value = line.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn the_browsable_description_brings_all_it_needs() {
    let nobody = nobody().await;
    let page = nobody.get("/docs/").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    let page = page.body.as_str().unwrap().to_owned();
    assert!(!page.contains("https://") && !page.contains("http://"), "{page}");
    let sources = page.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css"));
    let sources: Vec<&str> = sources.collect();
    assert!(sources.len() > 2, "{page}");
    for source in sources {
        nobody.get(&format!("/docs/{}", source.trim_start_matches("./"))).await.expect(200);
    }
    nobody.get("/docs").await.expect(200);
    for outside in ["/docs/..%2f..%2fCargo.toml", "/docs/%2e%2e/%2e%2e/etc/passwd", "/docs/nothing.js", "/docs/%00"] {
        let answer = nobody.get(outside).await;
        assert!((400..500).contains(&answer.status), "{outside}: {answer:?}");
    }
}

const GOOD: &str = "GET /health/live HTTP/1.1\r\nhost: HOST\r\n\r\n";

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let long = "x".repeat(9_000);
    let cases: Vec<(String, &[u16])> = vec![
        ("GET /health/live HTTP/1.1\r\n\r\n".into(), &[400]),
        ("GET /health/live HTTP/1.1\r\nhost: HOST\r\nhost: HOST\r\n\r\n".into(), &[400]),
        ("GET /health/live HTTP/1.1\r\nhost: HOST\r\nhost: evil.test\r\n\r\n".into(), &[400]),
        ("GET http://evil.test/health/live HTTP/1.1\r\nhost: HOST\r\n\r\n".into(), &[400, 421]),
        ("GET /health/live HTTP/9.9\r\nhost: HOST\r\n\r\n".into(), &[400, 505]),
        ("GET /health/live\r\nhost: HOST\r\n\r\n".into(), &[400]),
        ("GET /health/live HTTP/1.1\r\nhost: HOST\r\n folded: x\r\n\r\n".into(), &[400]),
        ("GET /health/live HTTP/1.1\r\nhost : HOST\r\n\r\n".into(), &[400]),
        ("GET /health/live HTTP/1.1\r\nhost: HOST\r\nx\0y: z\r\n\r\n".into(), &[400]),
        ("GET /health/live HTTP/1.1\r\nhost: HOST\r\nx: a\0b\r\n\r\n".into(), &[400]),
        ("GET /health/\0live HTTP/1.1\r\nhost: HOST\r\n\r\n".into(), &[400]),
        ("nonsense\r\n\r\n".into(), &[400]),
        ("\u{16}\u{3}\u{1}\0\u{5}\u{1}".to_owned() + "\r\n\r\n", &[400]),
        (format!("GET /{long} HTTP/1.1\r\nhost: HOST\r\n\r\n"), &[414]),
        (format!("GET /{} HTTP/1.1\r\nhost: HOST\r\n\r\n", "y".repeat(90_000)), &[414, 431]),
        (format!("GET /health/live HTTP/1.1\r\nhost: HOST\r\nx: {}\r\n\r\n", "y".repeat(20_000)), &[431]),
        (format!("GET /health/live HTTP/1.1\r\nhost: HOST\r\n{}\r\n", "x: y\r\n".repeat(200)), &[431]),
        ("CONNECT evil.test:443 HTTP/1.1\r\nhost: evil.test:443\r\n\r\n".into(), &[400, 404, 405, 421]),
        ("OPTIONS * HTTP/1.1\r\nhost: HOST\r\n\r\n".into(), &[400, 404, 405]),
    ];
    for (request, expected) in cases {
        let (received, _) = exchange(&request).await;
        let shown = request.chars().take(80).collect::<String>();
        let statuses = statuses(&received);
        assert!(statuses.first().is_some_and(|status| expected.contains(status)), "{shown:?}: {received:?}");
        assert!(!received.contains("hyper") && !received.contains("panicked"), "{received}");
    }
    let (received, _) = exchange(GOOD).await;
    assert_eq!(statuses(&received), [200]);
    let (received, _) = exchange("GET /health/live HTTP/1.0\r\n\r\n").await;
    assert_eq!(statuses(&received), [200]);
}

#[tokio::test]
async fn no_request_is_smuggled_in_another() {
    let smuggled = "GET /metrics HTTP/1.1\r\nhost: HOST\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST /api/auth/login HTTP/1.1\r\nhost: HOST\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
    };
    let chunked = format!("0\r\n\r\n{smuggled}");
    let length = chunked.len();
    for request in [
        post(&format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"), &chunked),
        post(&format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"), &chunked),
        post(&format!("content-length: 0\r\ncontent-length: {length}\r\n"), smuggled),
        post(&format!("content-length: 0, {length}\r\n"), smuggled),
        post("content-length: +0\r\n", smuggled),
        post("content-length: -1\r\n", smuggled),
        post("content-length: 0x0\r\n", smuggled),
        post("content-length: 99999999999999999999999\r\n", smuggled),
        post("transfer-encoding: xchunked\r\n", &chunked),
        post("transfer-encoding: chunked, identity\r\n", &chunked),
        post("transfer-encoding : chunked\r\n", &chunked),
        post("transfer-encoding:\u{b}chunked\r\n", &chunked),
        post("transfer-encoding: chunked\r\n", &format!("zz\r\n{smuggled}")),
        post("transfer-encoding: chunked\r\n", &format!("ffffffffffffffffff\r\n{smuggled}")),
        post("transfer-encoding: chunked\r\n", &format!("-1\r\n{smuggled}")),
    ] {
        let (received, _) = exchange(&request).await;
        let statuses = statuses(&received);
        assert!(!received.contains("capitune_http_requests_total"), "{request:?} smuggled: {received}");
        assert!(statuses.iter().all(|status| (400..500).contains(status)), "{request:?}: {received}");
    }
    // Pipelining is no crime.
    let (received, _) = exchange(format!("{GOOD}{GOOD}{GOOD}")).await;
    assert_eq!(statuses(&received), [200, 200, 200]);
}

#[tokio::test]
async fn who_asks_before_sending_a_body_is_told_at_once() {
    let ada = applicant().await;
    let ask = |token: &str, length: usize| {
        format!(
            "POST /api/dossiers HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer {token}\r\nexpect: 100-continue\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    for (token, length, expected) in [(ada.token(), 100 << 20, 413), ("x", 20, 401)] {
        let (received, _) = exchange(ask(token, length)).await;
        assert_eq!(statuses(&received), [expected], "{received}");
    }
    let (received, _) = exchange(ask(ada.token(), 2)).await;
    assert_eq!(statuses(&received), [100], "{received}");
}

#[tokio::test]
async fn slow_clients_keep_nobody_waiting() {
    let ada = applicant().await;
    let token = ada.token().to_owned();
    let post = format!(
        "POST /api/dossiers HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{\"title\":"
    );
    let slow = |start: String, patience: u64| async move {
        let mut raw = Raw::connect().await;
        let start = start.replace("HOST", &raw.host);
        raw.send(start).await;
        raw.receive(Duration::from_secs(patience)).await
    };
    let trickle = |token: String| async move {
        let mut raw = Raw::connect().await;
        let head = format!("GET /health/live HTTP/1.1\r\nhost: {}\r\nx-token: {token}\r\n", raw.host);
        for byte in head.bytes().take(50) {
            raw.send([byte]).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        raw.receive(Duration::from_secs(10)).await
    };
    // Half a head, half a body, nothing at all, and a byte now and then; many of each.
    let crowd = join_all((0..40).map(|number| match number % 3 {
        0 => slow("GET /health/live HTTP/1.1\r\nhost: HOST\r\nx: ".to_owned(), 28),
        1 => slow(post.clone(), 28),
        _ => slow(String::new(), 28),
    }));
    let meanwhile = async {
        for _ in 0..20 {
            let started = Instant::now();
            ada.create_dossier("not held up").await;
            assert!(started.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (crowd, trickled, ()) = tokio::join!(crowd, trickle(token), meanwhile);
    for (number, (received, hung_up)) in crowd.iter().enumerate() {
        assert!(hung_up, "{number} is still connected: {received:?}");
        if number % 3 == 1 {
            assert_eq!(statuses(received), [408], "{received}");
            assert!(received.contains("application/problem+json"));
        }
    }
    assert!(trickled.1, "{trickled:?}");
}

#[tokio::test]
async fn a_connection_may_idle_longer_than_a_head_may_take() {
    let mut raw = Raw::connect().await;
    let request = format!("GET /health/live HTTP/1.1\r\nhost: {}\r\n\r\n", raw.host);
    raw.send(&request).await;
    let (received, hung_up) = raw.receive(Duration::from_secs(25)).await;
    assert_eq!((statuses(&received), hung_up), (vec![200], false));
    raw.send(&request).await;
    raw.send(&request[..10]).await;
    let (received, hung_up) = raw.receive(Duration::from_secs(25)).await;
    // The rest of the second head had another 15 seconds, or 75 when it came in one piece with the first.
    assert_eq!((statuses(&received), hung_up), (vec![200], true));
}

#[tokio::test]
async fn hang_ups_in_mid_request_poison_nothing() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let token = ada.token();
    let body = |number: usize| format!("{{\"title\":\"hung up {number}\"}}");
    let request = |number: usize| {
        let body = body(number);
        format!(
            "PUT {path} HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for number in 0..150 {
        let mut raw = Raw::connect().await;
        let whole = request(number).replace("HOST", &raw.host);
        // Cut anywhere; every third is sent whole, and never read.
        let cut = if number % 3 == 0 { whole.len() } else { (number * 7919) % whole.len() };
        raw.send(&whole.as_bytes()[..cut]).await;
        if number % 5 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(raw);
        if number % 10 == 0 {
            ada.put(&path, json!({ "title": format!("in between {number}") })).await.expect(200);
        }
    }
    let rest = (0..20).map(|number| {
        let (ada, path) = (ada.clone(), path.clone());
        async move { ada.put(&path, json!({ "title": format!("after {number}") })).await.expect(200) }
    });
    join_all(rest).await;
    // What was done was done whole: every version is there, and the read model is its fold.
    let read = ada.get(&format!("{path}?minPosition={}", head().await)).await.expect(200);
    let version = read.body["version"].as_u64().unwrap();
    let past = ada.get(&format!("{path}?version={version}")).await.expect(200);
    assert_eq!(read.body, past.body);
    let history = ada.get(&format!("{path}/history?limit=100")).await.expect(200);
    let versions: Vec<u64> = items(&history).iter().map(|item| item["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_flood_of_log_ins_starves_nobody() {
    // A system of its own, since others log in as well.
    let process = Process::api(&database_url().await, &[]).await;
    let (ada, nobody) = (process.client().register("Ada").await, process.client());
    let body = |number| json!({ "email": format!("nobody{number}@capitune.test"), "password": "a wrong password" });
    let flood = join_all((0..150).map(|number| nobody.post("/api/auth/login", body(number))));
    let meanwhile = async {
        for _ in 0..10 {
            let started = Instant::now();
            ada.create_dossier("not starved").await;
            assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        }
    };
    let (flood, ()) = tokio::join!(flood, meanwhile);
    for answer in &flood {
        assert!(matches!(answer.status, 401 | 503), "{answer:?}");
        assert!(answer.status != 503 || !answer.header("retry-after").is_empty());
    }
    assert!(flood.iter().any(|answer| answer.status == 401));
    process.admin().await;
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let head = call(&ada, Method::HEAD, &path, &[], None).await.expect(200);
    assert_eq!((head.header("etag"), head.body.as_str()), ("\"1\"", Some("")));
    let nothing = call(&ada, Method::HEAD, "/api/nowhere", &[], None).await;
    assert_eq!((nothing.status, nothing.body.as_str()), (404, Some("")));
}
