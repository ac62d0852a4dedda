//! Who asks to be forgotten is forgotten: on every disk, on every node, and for ever.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::data_directory::DataDirectory;
use crate::support::models::assert_models_are_the_fold;
use crate::support::process::Process;
use crate::support::{Node, database_url, eventually, execute};

const PASSWORD: &str = "correct horse battery staple";

/// Somebody with a name, an address and a browser that nobody else has, who has written it wherever text is taken.
struct Marked {
    mark: String,
    client: Client,
    id: Uuid,
    dossier: String,
    post: String,
}

async fn marked(system: &Client, pro: &Client) -> Marked {
    let mark = Uuid::now_v7().simple().to_string();
    let body = json!({ "email": format!("{mark}@capitune.test"), "password": PASSWORD, "name": format!("N{mark}") });
    let registered = system.post("/api/auth/register", body).await.expect(201);
    let client = system.with_token(registered.body["token"].as_str().unwrap());
    let id = registered.body["user"]["id"].as_str().unwrap().parse().unwrap();
    let body = json!({ "title": "A request", "category": "housing", "description": format!("D{mark}"),
                       "fields": { "street": format!("F{mark}") } });
    let dossier = client.post("/api/dossiers", body).await.expect(201).header("location").to_owned();
    client.put(&dossier, json!({ "fields": { "list": [mark, 1] } })).await.expect(200);
    client.post(&format!("{dossier}/submit"), json!({ "note": format!("S{mark}") })).await.expect(200);
    let message = json!({ "reason": "incomplete", "message": format!("to N{mark}") });
    pro.post(&format!("{dossier}/request-changes"), message).await.expect(200);
    let body = json!({ "body": format!("P{mark}") });
    let post = client.post("/api/posts", body).await.expect(201).header("location").to_owned();
    client.post(&format!("{post}/comments"), json!({ "body": format!("C{mark}") })).await.expect(201);
    let token = json!({ "name": format!("T{mark}"), "scopes": ["dossiers:read"] });
    client.post("/api/auth/tokens", token).await.expect(201);
    client.post("/api/auth/totp", json!({})).await.expect(200);
    let organization = client.post("/api/organizations", json!({ "name": "Les Amis" })).await.expect(201);
    let invited = json!({ "email": format!("I{mark}@capitune.test") });
    client.post(&format!("{}/members", organization.header("location")), invited).await.expect(200);
    client.get("/api/admin/users").await.expect(403);
    let last = client.put("/api/users/me", json!({ "name": format!("R{mark}") })).await.expect(200);
    for path in [&dossier, &post, &format!("/api/users/{id}")] {
        let path = format!("{path}?minPosition={}", last.position());
        assert!(client.get(&path).await.expect(200).body.to_string().contains(&mark), "{path}");
    }
    Marked { mark, client, id, dossier, post }
}

/// What a dump of the database says.
fn dump(url: &str) -> Vec<u8> {
    let dump = std::process::Command::new("pg_dump").arg(url).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    assert!(memchr::memmem::find(&dump.stdout, b"DossierCreated").is_some());
    dump.stdout
}

/// The files below `directory` that hold `mark`, as it is or in hexadecimal.
fn files_with(directory: &Path, mark: &str) -> Vec<String> {
    let hexadecimal: String = mark.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                // Postgres removes files while we look.
                let bytes = std::fs::read(&path).unwrap_or_default();
                looked_at += 1;
                if [mark, &hexadecimal].iter().any(|mark| memchr::memmem::find(&bytes, mark.as_bytes()).is_some()) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    assert!(looked_at > 500, "a whole cluster has more files than {looked_at}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_holds_what_is_personal_before_or_after_an_erasure() {
    let directory = DataDirectory::new();
    let system = directory.start().await;
    let pro = system.admin().await.register_with_roles("Grace", &["applicant", "pro"]).await;
    let Marked { mark, client, dossier, .. } = marked(&system.client(), &pro).await;
    let url = directory.attached().database_url;
    execute(&url, "checkpoint").await;
    assert_eq!(files_with(directory.path(), &mark), [""; 0]);
    assert!(memchr::memmem::find(&dump(&url), mark.as_bytes()).is_none());
    // The search finds what is there: a title is in clear.
    let title = Uuid::now_v7().simple().to_string();
    client.put(&dossier, json!({ "title": title })).await.expect(200);
    execute(&url, "checkpoint").await;
    assert!(!files_with(directory.path(), &title).is_empty());
    client.delete("/api/users/me").await.expect(200);
    execute(&url, "checkpoint").await;
    assert_eq!(files_with(directory.path(), &mark), [""; 0]);
    assert!(memchr::memmem::find(&dump(&url), mark.as_bytes()).is_none());
    assert!(!system.output().contains(&mark));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_every_node_nothing_of_an_erased_person_is_shown_and_nothing_more_is_recorded() {
    let url = database_url().await;
    let (one, other) = (Process::api(&url, &[]).await, Process::api(&url, &[]).await);
    let pro = one.admin().await.register_with_roles("Grace", &["applicant", "pro"]).await;
    let auditor = one.admin().await.register_with_roles("Alan", &["applicant", "auditor"]).await;
    let Marked { mark, client, id, dossier, post } = marked(&one.client(), &pro).await;
    let history = format!("{dossier}/history");
    let auditor = auditor.at(&other.url());
    assert!(auditor.get(&history).await.expect(200).body.to_string().contains(&mark));
    let theirs = client.at(&other.url());
    theirs.get("/api/users/me").await.expect(200);

    let erased = client.delete("/api/users/me").await.expect(200);
    client.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    eventually("the other node ends the session", || async { theirs.get("/api/users/me").await.status == 401 }).await;
    for path in [&dossier, &history, &post, &format!("{post}/comments"), &format!("/api/users/{id}")] {
        let at = format!("{path}?minPosition={}", erased.position());
        let path = if path.ends_with("history") { path } else { &at };
        eventually("the other node shows nothing", || async {
            let answer = auditor.get(path).await;
            answer.status == 200 && !answer.body.to_string().contains(&mark)
        })
        .await;
    }
    let shown = auditor.get(&dossier).await.expect(200);
    assert_eq!((&shown.body["title"], &shown.body["description"]), (&json!("A request"), &Value::Null));
    let log = auditor.get(&history).await.expect(200);
    assert_eq!(log.body["items"][0]["type"], "DossierCreated");

    let admin = other.admin().await;
    let users = admin.get(&format!("/api/admin/users?minPosition={}", erased.position())).await.expect(200);
    let user = users.body["items"].as_array().unwrap().iter().find(|user| user["id"] == json!(id)).unwrap();
    assert_eq!((&user["status"], &user["email"], &user["name"]), (&json!("erased"), &Value::Null, &Value::Null));
    let body = json!({ "status": "active", "reason": "come back" });
    admin.put(&format!("/api/admin/users/{id}/status"), body).await.expect_problem(404, "account.not_found");
    // What would have to be sealed for them is refused.
    let message = json!({ "motivation": "no" });
    pro.post(&format!("{dossier}/refuse"), message).await.expect(409);

    // The address is nobody's any more.
    let email = format!("{mark}@capitune.test");
    let body = json!({ "email": email, "password": PASSWORD });
    one.client().post("/api/auth/login", body).await.expect_problem(401, "auth.invalid_credentials");
    let body = json!({ "email": email, "password": PASSWORD, "name": "Somebody else" });
    let newcomer = one.client().post("/api/auth/register", body).await.expect(201);
    assert_ne!(newcomer.body["user"]["id"], json!(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_interrupted_is_finished_by_the_next_process() {
    let url = database_url().await;
    let first = Process::api(&url, &[]).await;
    let pro = first.admin().await.register_with_roles("Grace", &["applicant", "pro"]).await;
    let Marked { mark, client, id, .. } = marked(&first.client(), &pro).await;
    first.kill();
    // As if it had ended right after the wish was written down.
    let wish = format!("insert into erasures (person_id, requested_at) values ('{id}', now() - interval '2 minutes')");
    execute(&url, &wish).await;
    let second = Process::api(&url, &[]).await;
    let client = client.at(&second.url());
    eventually("it is finished", || async { client.get("/api/users/me").await.status == 401 }).await;
    eventually("the name is gone", || async {
        let card = pro.at(&second.url()).get(&format!("/api/users/{id}")).await;
        card.status == 200 && !card.body.to_string().contains(&mark)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_takes_a_fresh_log_in_and_admins_stay() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let admin = system.admin().await;
    admin.delete("/api/users/me").await.expect_problem(409, "account.own_rights");
    admin.get("/api/users/me").await.expect(200);
    let ada = system.client().register("Ada").await;
    let created = ada.create_dossier("A request").await;
    let path = format!("/api/dossiers/{}?minPosition={}", created.id(), created.position());
    execute(&url, "update sessions set created_at = created_at - interval '11 minutes'").await;
    ada.delete("/api/users/me").await.expect_problem(403, "auth.step_up_required");
    ada.get(&path).await.expect(200);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let wishes: i64 = sqlx::query_scalar("select count(*) from erasures").fetch_one(&mut connection).await.unwrap();
    assert_eq!(wishes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_admins_erase_together_and_one_alone_does_not() {
    let url = database_url().await;
    let system = Process::api(&url, &[]).await;
    let first = system.admin().await;
    let second = first.register_with_roles("Grace", &["applicant", "admin"]).await;
    let pro = first.register_with_roles("Alan", &["applicant", "pro"]).await;
    let Marked { mark, client, id, .. } = marked(&system.client(), &pro).await;
    let path = format!("/api/admin/users/{id}/erasure");
    let approve = format!("{path}/approve");
    let reason = json!({ "reason": "A court order" });
    client.post(&path, reason.clone()).await.expect_problem(403, "access.forbidden");
    pro.post(&approve, json!({})).await.expect_problem(403, "access.forbidden");
    first.get(&path).await.expect_problem(404, "erasure.not_requested");
    second.post(&approve, json!({})).await.expect_problem(409, "erasure.not_requested");
    first.post(&path, json!({ "reason": "" })).await.expect(422);
    first.post(&path, reason.clone()).await.expect(200);
    assert_eq!(second.get(&path).await.expect(200).body["requestedBy"], json!(first.user_id));
    first.post(&approve, json!({})).await.expect_problem(403, "erasure.second_approval_required");
    second.delete(&path).await.expect(200);
    second.post(&approve, json!({})).await.expect_problem(409, "erasure.not_requested");
    client.get("/api/users/me").await.expect(200);
    // Nothing is left behind that would finish what was refused.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let wishes: i64 = sqlx::query_scalar("select count(*) from erasures").fetch_one(&mut connection).await.unwrap();
    assert_eq!(wishes, 0);
    second.post(&path, reason).await.expect(200);
    first.post(&approve, json!({})).await.expect(200);
    client.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    let card = pro.get(&format!("/api/users/{id}")).await.expect(200);
    assert!(!card.body.to_string().contains(&mark));
    first.post(&path, json!({ "reason": "Again" })).await.expect_problem(404, "account.not_found");
    let admins = format!("/api/admin/users/{}/erasure", second.user_id);
    first.post(&admins, json!({ "reason": "A coup" })).await.expect_problem(409, "account.own_rights");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_by_two_admins_that_was_interrupted_is_finished_in_their_name() {
    let url = database_url().await;
    let first = Process::api(&url, &[]).await;
    let admin = first.admin().await;
    let second = admin.register_with_roles("Grace", &["applicant", "admin"]).await;
    let auditor = admin.register_with_roles("Alan", &["applicant", "auditor"]).await;
    let ada = first.client().register("Ada").await;
    let path = format!("/api/admin/users/{}/erasure", ada.user_id);
    admin.post(&path, json!({ "reason": "A court order" })).await.expect(200);
    first.kill();
    let wish = format!(
        "insert into erasures (person_id, approved_by, requested_at)
         values ('{}', '{}', now() - interval '2 minutes')",
        ada.user_id, second.user_id
    );
    execute(&url, &wish).await;
    let process = Process::api(&url, &[]).await;
    let ada = ada.at(&process.url());
    eventually("it is finished", || async { ada.get("/api/users/me").await.status == 401 }).await;
    let events = auditor.at(&process.url()).get("/api/audit/events?type=AccountErased").await.expect(200);
    assert_eq!(events.body["items"][0]["metadata"]["actorId"], json!(second.user_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_while_rows_lag_and_are_made_anew_is_in_none_of_them() {
    let url = database_url().await;
    let worker = Process::worker(&url).await;
    let system = Process::api(&url, &["api"]).await;
    let pro = system.admin().await.register_with_roles("Grace", &["applicant", "pro"]).await;
    let Marked { mark, client, post, .. } = marked(&system.client(), &pro).await;
    let kept = Uuid::now_v7().simple().to_string();
    let comment = json!({ "body": kept });
    pro.post(&format!("{post}/comments"), comment).await.expect(201);
    // What they write last is applied after they were forgotten.
    worker.signal("STOP");
    client.post("/api/posts", json!({ "body": format!("L{mark}") })).await.expect(201);
    client.put("/api/users/me", json!({ "name": format!("L{mark}") })).await.expect(200);
    let node = Node::start(&url).await;
    let rebuilding = tokio::spawn({
        let node = node.clone();
        async move {
            let (stop, quiet) = (CancellationToken::new(), |_, _| {});
            for name in ["post", "account", "dossier"] {
                projections::rebuild(name, &node.store, &node.database, &stop, &quiet).await.unwrap();
            }
        }
    });
    let erased = client.delete("/api/users/me").await.expect(200);
    client.delete("/api/users/me").await.expect(401);
    rebuilding.await.unwrap();
    worker.signal("CONT");
    assert_models_are_the_fold(&node).await;
    assert!(memchr::memmem::find(&dump(&url), mark.as_bytes()).is_none());
    let path = format!("{post}/comments?minPosition={}", erased.position());
    let comments = pro.get(&path).await.expect(200).body.to_string();
    assert!(comments.contains(&kept) && !comments.contains(&mark), "{comments}");
    assert!(![&system, &worker].iter().any(|process| process.output().contains(&mark)));
}
