//! Sessions by cookie: out of the reach of scripts, and of other sites.

use super::*;

struct Browser {
    cookie: String,
    csrf: String,
}

async fn begin(headers: &[(&str, &str)], email: &str) -> (Answer, Browser) {
    let body = json!({ "email": email, "password": PASSWORD });
    let answer = post_with(&nobody().await, "/api/auth/browser-session", headers, body).await.expect(200);
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let csrf = answer.body["csrfToken"].as_str().unwrap().to_owned();
    (answer, Browser { cookie, csrf })
}

impl Browser {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let headers = [&[("cookie", self.cookie.as_str())], headers].concat();
        call(&nobody().await, method, path, &headers, body).await
    }

    async fn create(&self, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, "/api/dossiers", headers, Some(dossier("From a browser"))).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_acts_and_signs_out() {
    let (email, ada) = account().await;
    let (answer, browser) = begin(&[("sec-fetch-site", "same-origin")], &email).await;
    let cookie = answer.header("set-cookie");
    for attribute in ["__Host-capitune=", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain"));
    assert_eq!((&answer.body["token"], &answer.body["refreshToken"]), (&Value::Null, &Value::Null));
    let current = browser.send(Method::GET, "/api/auth/browser-session", &[], None).await.expect(200);
    assert_eq!(current.body["user"]["id"], ada.user_id.to_string());
    assert_eq!(current.body["csrfToken"], browser.csrf.as_str());
    browser.create(&[("x-csrf-token", &browser.csrf)]).await.expect(201);
    let path = "/api/auth/browser-session";
    let ended = browser.send(Method::DELETE, path, &[("x-csrf-token", &browser.csrf)], None).await.expect(204);
    assert!(ended.header("set-cookie").contains("Max-Age=0"));
    browser.send(Method::GET, "/api/users/me", &[], None).await.expect_problem(401, "auth.session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_site_acts_in_somebodys_name() {
    let (email, ada) = account().await;
    let (_, browser) = begin(&[], &email).await;
    let token = ("x-csrf-token", browser.csrf.as_str());
    let (_, other) = begin(&[], &email).await;
    for headers in [
        &[][..],
        &[("x-csrf-token", "")],
        &[("x-csrf-token", "guess")],
        &[("x-csrf-token", &other.csrf)],
        &[token, token],
        &[token, ("origin", "https://evil.example")],
        &[token, ("origin", "null")],
        &[token, ("sec-fetch-site", "cross-site")],
        &[token, ("sec-fetch-site", "same-site")],
    ] {
        browser.create(headers).await.expect_problem(403, "auth.csrf_failed");
    }
    for (method, path) in [(Method::PUT, "/api/users/me"), (Method::DELETE, "/api/users/me")] {
        browser.send(method, path, &[], Some(json!({}))).await.expect_problem(403, "auth.csrf_failed");
    }
    // Not by a form either, and nothing changes by reading.
    let body = || Some(dossier("By a form"));
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let headers = [token, ("content-type", media_type), ("cookie", &browser.cookie)];
        let request = nobody().await;
        let mut request = request.request(Method::POST, "/api/dossiers").body(body().unwrap().to_string());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        assert_eq!(nobody().await.send(request).await.status, 415, "{media_type}");
    }
    assert!(items(&ada.get("/api/dossiers").await.expect(200)).is_empty());
    // Nor is somebody signed in as somebody else behind their back.
    let body = json!({ "email": email, "password": PASSWORD });
    let headers = [("origin", "https://evil.example")];
    let answer = post_with(&nobody().await, "/api/auth/browser-session", &headers, body).await;
    answer.expect_problem(403, "auth.csrf_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_ours_whole_and_alone_or_nothing() {
    let (email, ada) = account().await;
    let (_, browser) = begin(&[], &email).await;
    let me = async |cookie: String| get_with(&nobody().await, "/api/users/me", &[("cookie", &cookie)]).await;
    me(format!("theme=dark; {}; lang=fr", browser.cookie)).await.expect(200);
    let value = browser.cookie.split_once('=').unwrap().1;
    for cookie in [
        format!("{}; {}", browser.cookie, browser.cookie),
        format!("{}A", browser.cookie),
        browser.cookie[..browser.cookie.len() - 1].to_owned(),
        format!("capitune={value}"),
        format!("__Host-capitune={}", ada.token()),
        "__Host-capitune=".to_owned(),
    ] {
        me(cookie).await.expect_problem(401, "auth.required");
    }
    // A cookie is no token, and a token comes first.
    ada.with_token(value).get("/api/users/me").await.expect_problem(401, "auth.invalid_token");
    get_with(&ada.with_token("x"), "/api/users/me", &[("cookie", &browser.cookie)])
        .await
        .expect_problem(401, "auth.invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_takes_the_place_of_the_session_before() {
    let (email, ada) = account().await;
    let (_, first) = begin(&[], &email).await;
    let (_, second) = begin(&[("cookie", &first.cookie)], &email).await;
    first.send(Method::GET, "/api/users/me", &[], None).await.expect_problem(401, "auth.session_ended");
    second.send(Method::GET, "/api/users/me", &[], None).await.expect(200);
    ada.post("/api/auth/logout?everywhere=true", json!({})).await.expect(204);
    second.send(Method::GET, "/api/users/me", &[], None).await.expect_problem(401, "auth.session_ended");
}
