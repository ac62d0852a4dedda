//! The answers of commands, their headers and conditions.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

#[tokio::test]
async fn a_creation_says_where_which_version_and_which_position() {
    let ada = applicant().await;
    let created = ada.post("/api/dossiers", dossier("A request")).await.expect(201);
    assert_eq!(names(&created.body), ["id", "position", "version"]);
    assert_eq!(created.id().get_version_num(), 7);
    assert_eq!(created.body["version"], 1);
    assert_eq!(created.header("location"), format!("/api/dossiers/{}", created.id()));
    assert_eq!(created.header("etag"), "\"1\"");
    assert_eq!(created.header("capitune-position"), created.position().to_string());
    assert_eq!(created.header("content-type"), "application/json");
    assert_eq!(created.header("preference-applied"), "");
    assert_eq!(created.header("idempotent-replayed"), "");
    let read = get_with(&ada, created.header("location"), &[(MIN_POSITION, created.header("capitune-position"))]).await;
    assert_eq!(read.expect(200).body["id"], created.body["id"]);
}

const MIN_POSITION: &str = "capitune-min-position";

#[tokio::test]
async fn any_other_command_answers_200_without_location() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let edited = ada.put(&path, json!({ "title": "Another" })).await.expect(200);
    assert_eq!(names(&edited.body), ["id", "position", "version"]);
    assert_eq!((edited.header("etag"), edited.header("location")), ("\"2\"", ""));
    let submitted = ada.post(&format!("{path}/submit"), json!({})).await.expect(200);
    assert_eq!((submitted.header("etag"), submitted.body["version"].as_u64()), ("\"3\"", Some(3)));
    assert!(submitted.position() > edited.position());
    let profile = ada.put("/api/users/me", json!({ "name": "Ada King" })).await.expect(200);
    assert_eq!((profile.id(), profile.header("etag")), (ada.user_id, "\"2\""));
}

#[tokio::test]
async fn a_command_that_changes_nothing_answers_as_the_first_time() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    let first = ada.put(&path, json!({ "title": "Another" })).await.expect(200);
    ada.create_dossier("moves the log on").await;
    let again = ada.put(&path, json!({ "title": "Another" })).await.expect(200);
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("etag"), again.header("etag"));
    let history = ada.get(&format!("{path}/history")).await.expect(200);
    assert_eq!(items(&history).len(), 2);
}

#[tokio::test]
async fn a_resource_carries_its_version_and_utc_times() {
    let ada = applicant().await;
    let pro = person("pro").await;
    let path = dossier_in("accepted", &ada, &pro).await;
    let position = head().await;
    let read = ada.get(&format!("{path}?minPosition={position}")).await.expect(200);
    assert_eq!(read.header("etag"), format!("\"{}\"", read.body["version"]));
    assert!(read.header("capitune-position").parse::<u64>().unwrap() >= position);
    let expected = [
        "archived",
        "category",
        "createdAt",
        "decidedAt",
        "decision",
        "description",
        "documents",
        "fields",
        "id",
        "openChangeRequest",
        "organizationId",
        "ownerId",
        "reviewerId",
        "status",
        "submittedAt",
        "title",
        "updatedAt",
        "version",
    ];
    assert_eq!(names(&read.body), expected);
    for time in ["createdAt", "updatedAt", "submittedAt", "decidedAt"] {
        assert!(is_utc(&read.body[time]), "{time}: {}", read.body[time]);
    }
    assert_eq!(read.body["ownerId"], json!(ada.user_id));
    assert_eq!(read.body["reviewerId"], json!(pro.user_id));
    assert_eq!(read.body["documents"], json!([]));
    let me = ada.get("/api/users/me").await.expect(200);
    assert_eq!(me.header("etag"), format!("\"{}\"", me.body["version"]));
}

#[tokio::test]
async fn a_client_may_prefer_the_representation() {
    let ada = applicant().await;
    let prefer = [("prefer", "return=representation")];
    let created = post_with(&ada, "/api/dossiers", &prefer, dossier("A request")).await.expect(201);
    assert_eq!(created.header("preference-applied"), "return=representation");
    assert_eq!((&created.body["title"], &created.body["status"]), (&json!("A request"), &json!("draft")));
    assert_eq!(created.body["description"], "Two rooms");
    assert_eq!(created.header("location"), format!("/api/dossiers/{}", created.id()));
    assert_eq!(created.header("etag"), "\"1\"");
    assert!(created.header("capitune-position").parse::<u64>().is_ok());
    let path = created.header("location").to_owned();
    for title in ["one", "two", "three"] {
        let edited = put_with(&ada, &path, &prefer, json!({ "title": title })).await.expect(200);
        assert_eq!(edited.header("preference-applied"), "return=representation");
        assert_eq!(edited.body["title"], title);
    }
    let submitted = call(&ada, Method::POST, &format!("{path}/submit"), &prefer, None).await.expect(200);
    assert_eq!((&submitted.body["status"], &submitted.body["version"]), (&json!("submitted"), &json!(5)));
    let profile = put_with(&ada, "/api/users/me", &prefer, json!({ "name": "Countess" })).await.expect(200);
    assert_eq!((profile.body["name"].as_str(), profile.body["version"].as_u64()), (Some("Countess"), Some(2)));
}

#[tokio::test]
async fn a_representation_is_told_from_a_plain_answer_by_its_header() {
    let ada = applicant().await;
    for wait in ["return=representation, wait=0", "wait=0, return=representation"] {
        for _ in 0..10 {
            let created = post_with(&ada, "/api/dossiers", &[("prefer", wait)], dossier("x")).await.expect(201);
            let whole = created.header("preference-applied").contains("return=representation");
            assert_eq!(created.body.get("title").is_some(), whole, "{:#}", created.body);
            assert!(!created.header("location").is_empty() && created.body["version"] == 1);
        }
    }
}

#[tokio::test]
async fn other_preferences_are_not_said_to_be_applied() {
    let ada = applicant().await;
    for prefer in ["return=minimal", "handling=strict", "return=representations", "representation", ";;,=,"] {
        let created = post_with(&ada, "/api/dossiers", &[("prefer", prefer)], dossier("x")).await.expect(201);
        assert_eq!(created.header("preference-applied"), "", "{prefer}");
        assert_eq!(names(&created.body), ["id", "position", "version"], "{prefer}");
    }
    // What is gone has no representation left.
    let path = new_dossier(&ada).await;
    let gone = call(&ada, Method::DELETE, &path, &[("prefer", "return=representation")], None).await.expect(200);
    assert_eq!((names(&gone.body), gone.header("preference-applied")), (vec!["id", "position", "version"], ""));
}

#[tokio::test]
async fn if_match_lets_a_command_through_on_one_version_only() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    put_with(&ada, &path, &[("if-match", "\"1\"")], json!({ "title": "two" })).await.expect(200);
    // Strong comparison: a weak tag matches nothing; foreign tags are no versions of ours.
    for stale in ["\"1\"", "\"3\"", "W/\"2\"", "\"abc\"", "\"02\"", "\"\"", "\"18446744073709551616\"", "\"1\", \"9\""]
    {
        let refused = put_with(&ada, &path, &[("if-match", stale)], json!({ "title": stale })).await;
        let refused = refused.expect_problem(412, "version.mismatch");
        assert_eq!(refused.body["currentVersion"], 2, "{stale}");
    }
    for malformed in ["2", "\"2", "*, \"2\"", "w/\"2\"", "", "\"2\"\"3\"", "é"] {
        let refused = put_with(&ada, &path, &[("if-match", malformed)], json!({ "title": malformed })).await;
        assert_eq!(refused.status, 400, "{malformed}: {:#}", refused.body);
    }
    put_with(&ada, &path, &[("if-match", "*")], json!({ "title": "three" })).await.expect(200);
    put_with(&ada, &path, &[("if-match", "\"1\", \"3\"")], json!({ "title": "four" })).await.expect(200);
    put_with(&ada, &path, &[("if-match", "\"2\""), ("if-match", "\"4\"")], json!({ "title": "five" }))
        .await
        .expect(200);
    let read = ada.get(&format!("{path}?minPosition={}", head().await)).await.expect(200);
    assert_eq!((&read.body["title"], &read.body["version"]), (&json!("five"), &json!(5)));
}

#[tokio::test]
async fn if_match_guards_every_kind_of_command() {
    let (ada, pro) = (applicant().await, person("pro").await);
    let path = dossier_in("in_review", &ada, &pro).await;
    let stale = [("if-match", "\"1\"")];
    for (client, command) in [(&ada, "withdraw"), (&pro, "accept"), (&pro, "refuse"), (&pro, "request-changes")] {
        let (method, path, body) = order(client, &path, command);
        let refused = call(client, method, &path, &stale, body).await.expect_problem(412, "version.mismatch");
        assert_eq!(refused.body["currentVersion"], 3, "{command}");
    }
    let draft = new_dossier(&ada).await;
    let stale = [("if-match", "\"7\"")];
    call(&ada, Method::DELETE, &draft, &stale, None).await.expect_problem(412, "version.mismatch");
    put_with(&ada, "/api/users/me", &stale, json!({ "name": "x" })).await.expect_problem(412, "version.mismatch");
    // What does not exist yet has no version to match.
    for tag in ["*", "\"1\"", "\"0\""] {
        let refused = post_with(&ada, "/api/dossiers", &[("if-match", tag)], dossier("x")).await;
        assert_eq!(refused.status, 412, "{tag}: {:#}", refused.body);
    }
    // Somebody else's dossier does not tell its version.
    let hidden = put_with(&applicant().await, &draft, &stale, json!({ "title": "x" })).await;
    hidden.expect_problem(404, "dossier.not_found");
}

#[tokio::test]
async fn a_stale_if_match_is_never_decided_again() {
    let ada = applicant().await;
    let path = new_dossier(&ada).await;
    // Of many that insist on one version, one wins.
    let rivals = (0..12).map(|rival| {
        let (ada, path) = (ada.clone(), path.clone());
        async move { put_with(&ada, &path, &[("if-match", "\"1\"")], json!({ "title": format!("{rival}") })).await }
    });
    let answers = futures::future::join_all(rivals).await;
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(winners.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((answer.status, &answer.body["code"]), (412, &json!("version.mismatch")));
        assert_eq!(answer.body["currentVersion"], 2);
    }
    // Without it, a lost race is decided again: none of them fails.
    let rivals = (0..12).map(|rival| {
        let (ada, path) = (ada.clone(), path.clone());
        async move { ada.put(&path, json!({ "title": format!("again {rival}") })).await.expect(200).body }
    });
    let versions: HashSet<Value> =
        futures::future::join_all(rivals).await.into_iter().map(|body| body["version"].clone()).collect();
    assert_eq!(versions, (3..15).map(Value::from).collect());
}

#[tokio::test]
async fn unknown_fields_are_refused_by_name() {
    let (ada, pro) = (applicant().await, person("pro").await);
    let path = dossier_in("in_review", &ada, &pro).await;
    let draft = new_dossier(&ada).await;
    let unknown = |name: &str, mut body: Value| {
        body[name] = json!("x");
        body
    };
    for name in [
        "ownerId",
        "owner_id",
        "status",
        "version",
        "id",
        "organizationId",
        "createdAt",
        "reviewerId",
        "Title",
        "__proto__",
        "a/b~c",
    ] {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        for answer in [
            ada.post("/api/dossiers", unknown(name, dossier("x"))).await,
            ada.put(&draft, unknown(name, json!({ "title": "x" }))).await,
            ada.post(&format!("{draft}/submit"), unknown(name, json!({}))).await,
            call(&ada, Method::DELETE, &draft, &[], Some(unknown(name, json!({})))).await,
            pro.post(&format!("{path}/accept"), unknown(name, json!({}))).await,
            pro.post(&format!("{path}/refuse"), unknown(name, json!({ "motivation": "x" }))).await,
        ] {
            let answer = answer.expect_problem(422, "field.unknown");
            assert_eq!(answer.body["errors"][0]["pointer"], pointer);
            assert_eq!(answer.body["errors"][0]["code"], "field.unknown");
            assert!(answer.body["errors"][0]["detail"].is_string());
        }
    }
    let read = ada.get(&format!("{draft}?minPosition={}", head().await)).await.expect(200);
    assert_eq!((&read.body["version"], &read.body["ownerId"]), (&json!(1), &json!(ada.user_id)));
}

#[tokio::test]
async fn nobody_makes_themselves_more_than_they_are() {
    let nobody = nobody().await;
    let email = format!("{}@capitune.test", Uuid::now_v7().simple());
    for (name, value) in [
        ("roles", json!(["admin"])),
        ("role", json!("admin")),
        ("status", json!("active")),
        ("verified", json!(true)),
        ("id", json!(Uuid::now_v7())),
    ] {
        let mut body = json!({ "email": email, "password": "a password for tests", "name": "Mallory" });
        body[name] = value.clone();
        let refused = nobody.post("/api/auth/register", body).await.expect_problem(422, "field.unknown");
        assert_eq!(refused.body["errors"][0]["pointer"], format!("/{name}"));
        let ada = applicant().await;
        let mut body = json!({ "name": "Mallory" });
        body[name] = value;
        ada.put("/api/users/me", body).await.expect_problem(422, "field.unknown");
        assert_eq!(ada.get("/api/users/me").await.expect(200).body["roles"], json!(["applicant"]));
    }
}

#[tokio::test]
async fn every_answer_has_an_id_and_guards_its_reader() {
    let ada = applicant().await;
    for answer in [
        ada.get("/api/users/me").await,
        ada.get("/nowhere").await,
        ada.get("/health/ready").await,
        nobody().await.get("/api/users/me").await,
        ada.post("/api/dossiers", json!({})).await,
        ada.delete("/metrics").await,
    ] {
        assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{answer:?}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{answer:?}");
        assert!(answer.header("strict-transport-security").starts_with("max-age=31536000"), "{answer:?}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{answer:?}");
        for secret in ["server", "x-powered-by", "access-control-allow-origin", "set-cookie"] {
            assert_eq!(answer.header(secret), "", "{answer:?}");
        }
    }
}

#[tokio::test]
async fn no_foreign_origin_is_let_in() {
    let ada = applicant().await;
    for origin in ["null", "https://capitune.example.evil.test", "http://127.0.0.1.evil.test", "https://evil.test"] {
        let answer = get_with(&ada, "/api/users/me", &[("origin", origin)]).await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), "");
        let preflight = [("origin", origin), ("access-control-request-method", "PUT")];
        let answer = call(&ada, Method::OPTIONS, "/api/users/me", &preflight, None).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
}

#[tokio::test]
async fn the_request_id_goes_in_and_out() {
    let ada = applicant().await;
    let longest = "x".repeat(128);
    for id in ["abc-123", "0198d6c4-1f7d-7000-8000-000000000001", "!~{}", longest.as_str()] {
        let answer = get_with(&ada, "/api/users/me", &[("x-request-id", id)]).await.expect(200);
        assert_eq!(answer.header("x-request-id"), id);
    }
    let too_long = "x".repeat(129);
    for id in ["", "with space", too_long.as_str(), "é"] {
        let answer = get_with(&ada, "/api/users/me", &[("x-request-id", id)]).await.expect(200);
        let own = answer.header("x-request-id");
        assert!(own.parse::<Uuid>().is_ok(), "{id}: {own}");
    }
}
