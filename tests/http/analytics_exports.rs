//! Tables as files: made in the background, whole or not at all, by whichever process is there.

use std::time::Duration;

use ring::digest::{SHA256, digest};

use super::*;
use crate::support::eventually;
use crate::support::s3::ObjectStore;

async fn system(url: &str, exports: &str, arguments: &[&str]) -> Process {
    let mut command = Process::command(arguments);
    let store = ObjectStore::shared().await;
    command.env("DATABASE_URL", url).env("NATS_URL", &crate::support::servers().await.nats_url);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32)).env("CAPITUNE_UNSAFE_DURABILITY", "true");
    command.env("CAPITUNE_EXPORTS", exports).envs(store.settings());
    let process = Process::spawn(command).await;
    process.ready().await;
    process
}

async fn add_dossiers(url: &str, number: u32) {
    execute(
        url,
        &format!(
            "insert into analytics.dossiers (id, organization_id, category, status, since, archived, version, created_at,
                 change_requests)
             select gen_random_uuid(), gen_random_uuid(), 'housing', 'draft', now(), false, 1, now(), n
             from generate_series(1, {number}) n"
        ),
    )
    .await;
}

async fn finished(analyst: &Client, path: &str) -> Value {
    let manifest = async || analyst.get(path).await.expect(200).body;
    eventually("the export is made", async || manifest().await["status"] != "running").await;
    manifest().await
}

async fn file(analyst: &Client, path: &str) -> Vec<u8> {
    let response = analyst.request(Method::GET, &format!("{path}/file")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_there_when_it_is_whole_and_is_its_owners_alone() {
    let url = database_url().await;
    let process = system(&url, &ObjectStore::shared().await.url(), &[]).await;
    let admin = process.admin().await;
    let analyst = admin.register_with_roles("Anna", &["analyst"]).await;
    add_dossiers(&url, 10_000).await;
    for (format, media_type) in [
        ("parquet", "application/vnd.apache.parquet"),
        ("csv", "text/csv"),
        ("ndjson", "application/x-ndjson"),
        ("json", "application/json"),
    ] {
        let asked = analyst
            .post("/api/analytics/exports", json!({ "readModel": "dossiers", "format": format }))
            .await
            .expect(202);
        let path = asked.header("location").to_owned();
        let manifest = finished(&analyst, &path).await;
        assert_eq!((&manifest["status"], &manifest["rows"]), (&json!("finished"), &json!(10_000)), "{manifest}");
        let bytes = file(&analyst, &path).await;
        assert_eq!(
            (manifest["bytes"].as_u64().unwrap(), &manifest["sha256"]),
            (bytes.len() as u64, &json!(sha256(&bytes)))
        );
        // The same as without the way round.
        let direct = analyst.request(Method::GET, "/api/analytics/dossiers").header("Accept", media_type);
        assert_eq!(direct.send().await.unwrap().bytes().await.unwrap().as_ref(), bytes, "{format}");
        let grace = admin.register_with_roles("Grace", &["analyst"]).await;
        for path in [path.clone(), format!("{path}/file")] {
            grace.get(&path).await.expect_problem(404, "export.not_found");
        }
    }
    let list = analyst.get("/api/analytics/exports").await.expect(200);
    let formats: Vec<&str> = items(&list).iter().map(|item| item["format"].as_str().unwrap()).collect();
    assert_eq!(formats, ["json", "ndjson", "csv", "parquet"]);
    for (body, code) in [
        (json!({ "readModel": "owners", "format": "csv" }), "export.invalid"),
        (json!({ "readModel": "dossiers", "format": "xls" }), "body.invalid"),
    ] {
        let refused = analyst.post("/api/analytics/exports", body).await;
        assert_eq!(refused.status, 422, "{code}: {:#}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_makes_one_export_and_few_are_made_at_once() {
    let url = database_url().await;
    let directory = tempfile::tempdir().unwrap();
    let process = system(&url, &format!("file://{}", directory.path().display()), &[]).await;
    let analyst = process.admin().await;
    let ask = |key: &'static str| {
        let body = json!({ "readModel": "dossiers", "format": "csv" });
        let request = analyst.request(Method::POST, "/api/analytics/exports").json(&body);
        analyst.send(request.header("Idempotency-Key", key))
    };
    let (one, two) = tokio::join!(ask("a"), ask("a"));
    assert_eq!(one.expect(202).id(), two.expect(202).id());
    let again = ask("a").await.expect(202);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(items(&analyst.get("/api/analytics/exports").await.expect(200)).len(), 1);
    finished(&analyst, again.header("location")).await;
    execute(&url, "update analytics_exports set status = 'running', updated_at = now() + interval '1 hour'").await;
    execute(
        &url,
        "insert into analytics_exports (id, owner_id, organization_id, read_model, format, first_day, last_day, updated_at)
         select gen_random_uuid(), owner_id, organization_id, read_model, format, first_day, last_day, updated_at
         from analytics_exports, generate_series(1, 2)",
    )
    .await;
    ask("b").await.expect_problem(429, "export.too_many");
    let running = again.header("location");
    analyst.get(&format!("{running}/file")).await.expect_problem(409, "export.not_finished");
    // Once there is room the same key does what it was meant for.
    execute(&url, "update analytics_exports set status = 'failed'").await;
    ask("b").await.expect(202);
    // What is past its time is gone, file and all, and what a process that died has left half made.
    let path = ask("b").await.expect(202).header("location").to_owned();
    finished(&analyst, &path).await;
    let own = directory.path().join(path.rsplit('/').next().unwrap());
    std::fs::write(own.join("1-dossiers.csv#1"), "half").unwrap();
    let files = || walk(directory.path());
    assert!(files() > 0);
    execute(&url, "update analytics_exports set created_at = 'epoch'").await;
    eventually("they are done away with", async || files() == 0).await;
    analyst.get(&path).await.expect_problem(404, "export.not_found");
}

/// How many files there are below.
fn walk(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_cannot_be_kept_now_is_made_once_it_can() {
    let url = database_url().await;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("exports");
    let process = system(&url, &format!("file://{}", place.display()), &[]).await;
    let analyst = process.admin().await;
    let body = json!({ "readModel": "dossiers", "format": "csv" });
    let first = analyst.post("/api/analytics/exports", body.clone()).await.expect(202);
    finished(&analyst, first.header("location")).await;
    // Nothing can be made below what is no directory.
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::write(&place, "").unwrap();
    let path = analyst.post("/api/analytics/exports", body).await.expect(202).header("location").to_owned();
    eventually("it was tried", async || process.output().contains("not made in one go")).await;
    assert_eq!(analyst.get(&path).await.expect(200).body["status"], "running");
    std::fs::remove_file(&place).unwrap();
    execute(&url, "update analytics_exports set updated_at = 'epoch'").await;
    let manifest = finished(&analyst, &path).await;
    assert_eq!((&manifest["status"], &manifest["rows"]), (&json!("finished"), &json!(0)), "{manifest}");
    assert_eq!(manifest["sha256"], sha256(&file(&analyst, &path).await));
    // What never can be is given up.
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::write(&place, "").unwrap();
    execute(&url, "update analytics_exports set status = 'running', attempt = 3, updated_at = 'epoch'").await;
    assert_eq!(finished(&analyst, &path).await["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_whose_process_is_killed_is_made_by_another() {
    let url = database_url().await;
    let directory = tempfile::tempdir().unwrap();
    let exports = format!("file://{}", directory.path().display());
    let first = system(&url, &exports, &[]).await;
    let analyst = first.admin().await;
    add_dossiers(&url, 120_000).await;
    let body = json!({ "readModel": "dossiers", "format": "ndjson" });
    let path = analyst.post("/api/analytics/exports", body).await.expect(202).header("location").to_owned();
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.kill();
    let second = system(&url, &exports, &[]).await;
    let analyst = analyst.at(&second.url());
    let left = analyst.get(&path).await.expect(200).body;
    assert_eq!(left["status"], "running", "it was killed too late");
    analyst.get(&format!("{path}/file")).await.expect_problem(409, "export.not_finished");
    let manifest = finished(&analyst, &path).await;
    assert_eq!((&manifest["status"], &manifest["rows"]), (&json!("finished"), &json!(120_000)), "{manifest}");
    let bytes = file(&analyst, &path).await;
    assert_eq!(manifest["sha256"], sha256(&bytes));
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 120_000);
}
