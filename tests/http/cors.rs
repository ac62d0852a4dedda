//! Pages of other origins: few may read the answers, and nothing that looks like one of them.

use std::collections::BTreeSet;

use super::*;

const PAGE: &str = "https://app.example";
const ORIGINS: (&str, &str) = ("CAPITUNE_CORS_ORIGINS", "https://app.example,http://localhost:5173");

/// What resembles an origin that is allowed, and what is no origin at all.
const OTHERS: [&str; 12] = [
    "https://app.example.evil.test",
    "https://evil-app.example",
    "https://sub.app.example",
    "https://app.example:444",
    "https://app.example:443",
    "https://app.example/",
    "http://app.example",
    "HTTPS://APP.EXAMPLE",
    "https://app.example, https://evil.test",
    "http://localhost",
    "null",
    "*",
];

async fn preflight(client: &Client, path: &str, origins: &[&str]) -> Answer {
    let mut headers: Vec<(&str, &str)> = origins.iter().map(|origin| ("origin", *origin)).collect();
    headers.push(("access-control-request-method", "POST"));
    headers.push(("access-control-request-headers", "authorization,content-type,idempotency-key"));
    call(client, Method::OPTIONS, path, &headers, None).await
}

fn names_in(list: &str) -> BTreeSet<String> {
    list.split(',').map(|name| name.trim().to_lowercase()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_may_ask_and_read_every_answer() {
    let process = system_with(&database_url().await, &[ORIGINS, ("CAPITUNE_RATE_LIMIT_AUTH", "3")]).await;
    let ada = process.client().register("Ada").await;
    for origin in [PAGE, "http://localhost:5173"] {
        let asked = preflight(&ada, "/api/dossiers", &[origin]).await.expect(204);
        assert_eq!(asked.header("access-control-allow-origin"), origin);
        assert_eq!(asked.header("access-control-allow-credentials"), "true");
        assert_eq!(asked.header("x-content-type-options"), "nosniff");
        assert!(names_in(asked.header("access-control-allow-methods")).contains("post"));
        let headers = names_in(asked.header("access-control-allow-headers"));
        for header in
            ["authorization", "content-type", "idempotency-key", "if-match", "prefer", "capitune-min-position"]
        {
            assert!(headers.contains(header), "{header}");
        }
    }
    let from = [("origin", PAGE), ("idempotency-key", "one")];
    let answers = [
        post_with(&ada, "/api/dossiers", &from, dossier("x")).await.expect(201),
        post_with(&ada, "/api/dossiers", &from, dossier("x")).await.expect(201),
        get_with(&ada, "/api/users/me", &from[..1]).await.expect(200),
        get_with(&ada.with_token("x"), "/api/users/me", &from[..1]).await.expect(401),
        get_with(&ada, "/api/nowhere", &from[..1]).await.expect(404),
        call(&ada, Method::PATCH, "/api/dossiers", &from[..1], None).await.expect(405),
        call(&ada, Method::OPTIONS, "/api/dossiers", &from[..1], None).await.expect(405),
        get_with(&ada, "/api/dossiers?limit=0", &from[..1]).await.expect(422),
        get_with(&ada, &format!("/{}", "x".repeat(9000)), &from[..1]).await.expect(414),
        get_with(&ada, "/health/live", &from[..1]).await.expect(200),
        limited_log_in(&process.client()).await,
    ];
    for answer in answers {
        assert_eq!(answer.header("access-control-allow-origin"), PAGE, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("vary"), "origin");
        let readable = names_in(answer.header("access-control-expose-headers"));
        for name in answer.headers.keys().map(|name| name.as_str()) {
            let of_the_browser = name.starts_with("access-control-") || OF_THE_BROWSER.contains(&name);
            assert!(of_the_browser || readable.contains(name), "{name} cannot be read");
        }
    }
}

/// What a page may always read, or what only its browser needs.
const OF_THE_BROWSER: [&str; 12] = [
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "content-security-policy",
    "cross-origin-resource-policy",
    "date",
    "referrer-policy",
    "strict-transport-security",
    "vary",
    "x-content-type-options",
    "x-frame-options",
];

async fn limited_log_in(client: &Client) -> Answer {
    loop {
        let body = json!({ "email": "nobody@capitune.test", "password": "not the password" });
        let answer = post_with(client, "/api/auth/login", &[("origin", PAGE)], body).await;
        if answer.status == 429 {
            return answer;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_not_ask_and_cannot_read() {
    let process = system_with(&database_url().await, &[ORIGINS]).await;
    let ada = process.client().register("Ada").await;
    for other in OTHERS {
        for path in ["/api/dossiers", "/api/nowhere", "/health/live"] {
            let refused = preflight(&ada, path, &[other]).await.expect_problem(403, "origin.not_allowed");
            unreadable(&refused, other);
        }
        unreadable(&get_with(&ada, "/api/users/me", &[("origin", other)]).await.expect(200), other);
        unreadable(&post_with(&ada, "/api/dossiers", &[("origin", other)], dossier("x")).await.expect(201), other);
    }
    for two in [[PAGE, "https://evil.test"], ["https://evil.test", PAGE], [PAGE, PAGE]] {
        unreadable(&preflight(&ada, "/api/dossiers", &two).await.expect(403), "two");
    }
    // A page of ours asks nothing before, and what is no page says no origin.
    unreadable(&ada.get("/api/users/me").await.expect(200), "none");
}

fn unreadable(answer: &Answer, origin: &str) {
    let told = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).count();
    assert_eq!((told, answer.header("vary")), (0, "origin"), "{origin}: {answer:?}");
}

#[tokio::test]
async fn without_a_list_no_page_may_ask() {
    let ada = applicant().await;
    for origin in [PAGE, "null"] {
        preflight(&ada, "/api/dossiers", &[origin]).await.expect_problem(403, "origin.not_allowed");
        let answer = get_with(&ada, "/api/users/me", &[("origin", origin)]).await.expect(200);
        assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("", ""));
    }
}
