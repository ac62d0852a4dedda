//! What a client sees while a server behind the API is away.

use std::time::Instant;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::support::{eventually, execute};

/// Shuts a database and breaks every connection to it.
pub async fn shut(database_url: &str) {
    let name = name_of(database_url);
    let server = &servers().await.database_url;
    execute(server, &format!("alter database {name} allow_connections false")).await;
    let broken = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
    execute(server, &broken).await;
}

/// Opens it again.
pub async fn open(database_url: &str) {
    let server = &servers().await.database_url;
    execute(server, &format!("alter database {} allow_connections true", name_of(database_url))).await;
}

/// The database's name.
pub fn name_of(database_url: &str) -> String {
    reqwest::Url::parse(database_url).unwrap().path().trim_start_matches('/').to_owned()
}

#[tokio::test]
async fn without_postgres_everything_is_refused_and_nothing_is_lost() {
    let url = database_url().await;
    let process = Process::api(&url, &[]).await;
    let ada = process.client().register("Ada").await;
    let path = format!("/api/dossiers/{}", ada.create_dossier("before").await.id());
    let key = Uuid::now_v7().to_string();
    let headers = [("idempotency-key", key.as_str()), ("accept-language", "en")];
    shut(&url).await;
    let started = Instant::now();
    let credentials = json!({ "email": "nobody@capitune.test", "password": "a wrong password" });
    let (history, forged) = (format!("{path}/history"), ada.with_token("x"));
    let away = tokio::join!(
        get_with(&ada, &path, &[]),
        get_with(&ada, "/api/dossiers", &[]),
        get_with(&ada, "/api/users/me", &[]),
        get_with(&ada, &history, &[]),
        post_with(&ada, "/api/dossiers", &headers, dossier("meanwhile")),
        put_with(&ada, &path, &[], json!({ "title": "meanwhile" })),
        post_with(&ada, "/api/auth/login", &[], credentials),
        get_with(&forged, "/api/users/me", &[]),
    );
    let (one, list, me, history, created, edited, login, forged) = away;
    for answer in [one, list, me, history, created, edited, login] {
        assert_eq!((answer.status, answer.header("content-type")), (503, "application/problem+json"), "{answer:?}");
        assert!(answer.body["code"].as_str().is_some_and(|code| code.starts_with("store.")), "{:#}", answer.body);
        assert!(!answer.header("retry-after").is_empty());
        let text = answer.body.to_string();
        assert!(!text.contains("postgres") && !text.contains("database") && !text.contains("pool"), "{text}");
    }
    // Who has no right to come in has none now either.
    assert!(matches!(forged.status, 401 | 503), "{forged:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let nobody = process.client();
    nobody.get("/health/live").await.expect(200);
    let ready = nobody.get("/health/ready").await.expect(503);
    assert_eq!(ready.body["postgres"], "unavailable", "{:#}", ready.body);
    nobody.get("/metrics").await.expect(200);
    open(&url).await;
    eventually("it is ready again", || async { nobody.get("/health/ready").await.status == 200 }).await;
    // The same key settles what became of the command.
    eventually("it takes commands again", || async {
        post_with(&ada, "/api/dossiers", &headers, dossier("meanwhile")).await.status == 201
    })
    .await;
    let again = post_with(&ada, "/api/dossiers", &headers, dossier("meanwhile")).await.expect(201);
    assert_eq!(again.header("idempotent-replayed"), "true");
    let query = format!("/api/dossiers?minPosition={}", again.position());
    eventually("the list is whole", || async {
        let list = get_with(&ada, &query, &[("prefer", "wait=5")]).await;
        list.status == 200 && items(&list).len() == 2
    })
    .await;
}

#[tokio::test]
async fn without_nats_only_freshness_suffers() {
    // Nobody listens there.
    let process = Process::start(&database_url().await, "nats://127.0.0.1:9", &[]).await;
    process.ready().await;
    let ready = process.client().get("/health/ready").await.expect(200);
    assert_eq!((&ready.body["nats"], &ready.body["postgres"]), (&json!("degraded"), &json!("ok")));
    let ada = process.client().register("Ada").await;
    let created = ada.create_dossier("x").await;
    let path = format!("/api/dossiers/{}?minPosition={}", created.id(), created.position());
    get_with(&ada, &path, &[("prefer", "wait=15")]).await.expect(200);
    ada.get(&format!("/api/dossiers/{}/history", created.id())).await.expect(200);
}
