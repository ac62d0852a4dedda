//! Mail: once to each recipient, whatever the server does; and what comes back by its links.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::support::client::{Answer, Client};
use crate::support::data_directory::DataDirectory;
use crate::support::process::Process;
use crate::support::smtp::{SmtpServer, link_in};
use crate::support::{database_url, eventually, execute, servers};

const PASSWORD: &str = "a password for tests";
const ANOTHER: &str = "quite another password";

/// A whole system whose mail goes to this server.
async fn system(url: &str, smtp: &SmtpServer, settings: &[(&str, &str)]) -> Process {
    let mut command = Process::command(&[]);
    command.env("DATABASE_URL", url).env("NATS_URL", &servers().await.nats_url);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32)).env("CAPITUNE_UNSAFE_DURABILITY", "true");
    command.env("CAPITUNE_SMTP_URL", smtp.url()).env("CAPITUNE_MAIL_FROM", "Capitune <mail@capitune.test>");
    command.envs(settings.iter().copied());
    let process = Process::spawn(command).await;
    process.ready().await;
    process
}

fn address() -> String {
    format!("{}@capitune.test", Uuid::now_v7().simple())
}

async fn register(process: &Process, email: &str, name: &str, locale: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD, "name": name, "locale": locale });
    process.client().post("/api/auth/register", body).await
}

async fn log_in(client: &Client, email: &str, password: &str) -> Answer {
    client.post("/api/auth/login", json!({ "email": email, "password": password })).await
}

/// The messages to an address, once there are `count` of them.
async fn messages(smtp: &SmtpServer, email: &str, count: usize) -> Vec<String> {
    eventually("mail arrives", async || smtp.accepted_for(email).len() >= count).await;
    smtp.accepted_for(email)
}

/// The path and query of the link in a message, which leads to wherever this instance is reached.
fn path_of(message: &str) -> String {
    let link = link_in(message);
    link.strip_prefix("http://127.0.0.1:3001").unwrap_or_else(|| panic!("{link}")).to_owned()
}

fn message_id(message: &str) -> String {
    message.lines().find(|line| line.starts_with("Message-ID:")).unwrap().to_owned()
}

/// Lets everything that waits be tried at once.
async fn hurry(url: &str) {
    execute(url, "update mail_deliveries set next_attempt_at = now() where status = 'due'").await;
}

async fn ask<T>(url: &str, query: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
}

async fn waits_after(url: &str, class: &str) {
    let query = format!("select exists (select from mail_deliveries where status = 'due' and last_error = '{class}')");
    eventually("the failure is noted", async || ask::<bool>(url, &query).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_is_proved_by_the_link_that_was_sent_to_it() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (ada, eve) = (address(), address());
    let registered = register(&process, &ada, "Ada", "en").await.expect(201);
    register(&process, &eve, "Ève", "fr").await.expect(201);
    assert_eq!(registered.body["user"]["emailVerified"], false);
    let french = &messages(&smtp, &eve, 1).await[0];
    assert!(french.contains("Confirmez votre adresse") && french.contains("text/html"));
    let english = messages(&smtp, &ada, 1).await[0].clone();
    assert!(english.contains("Subject: Confirm your address") && english.contains("From: Capitune <mail@capitune"));
    let client = process.client();
    let path = path_of(&english);
    // A flipped character, another's account, no token at all.
    let flipped = format!("{}{}", &path[..path.len() - 1], if path.ends_with('A') { 'B' } else { 'A' });
    for wrong in [flipped.as_str(), "/api/auth/verify-email?token=", "/api/auth/verify-email?token=nonsense"] {
        client.get(wrong).await.expect_problem(400, "link.invalid");
    }
    let verified = client.get(&path).await.expect(200);
    assert_eq!(verified.body["id"], registered.body["user"]["id"]);
    client.get(&path).await.expect(200);
    let page = crate::http::get_with(&client, &path, &[("accept", "text/html"), ("accept-language", "fr")]).await;
    assert!(page.expect(200).body.as_str().unwrap().contains("Votre adresse est confirmée"));
    let ada = client.with_token(registered.body["token"].as_str().unwrap());
    assert_eq!(ada.get("/api/users/me").await.expect(200).body["emailVerified"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_once() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (ada, client) = (address(), process.client());
    let registered = register(&process, &ada, "Ada", "en").await.expect(201);
    messages(&smtp, &ada, 1).await;
    let forgot = async |email: &str| client.post("/api/auth/forgot-password", json!({ "email": email })).await;
    let (known, unknown) = (forgot(&ada).await.expect(202), forgot(&address()).await.expect(202));
    assert_eq!(known.body, unknown.body);
    // Whoever keeps asking floods nobody.
    for _ in 0..5 {
        forgot(&ada).await.expect(202);
    }
    let message = messages(&smtp, &ada, 2).await[1].clone();
    let token = path_of(&message).split_once("token=").unwrap().1.to_owned();
    let reset = async |token: &str, password: &str| {
        client.post("/api/auth/reset-password", json!({ "token": token, "password": password })).await
    };
    reset(&token, "short").await.expect_problem(422, "account.invalid");
    reset(&token[1..], ANOTHER).await.expect_problem(400, "link.invalid");
    // A link that proves an address sets no password.
    let verify = path_of(&smtp.accepted_for(&ada)[0]).split_once("token=").unwrap().1.to_owned();
    reset(&verify, ANOTHER).await.expect_problem(400, "link.invalid");
    let (one, other) = tokio::join!(reset(&token, ANOTHER), reset(&token, "a third password"));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 400]);
    reset(&token, "a fourth password").await.expect_problem(400, "link.invalid");
    let session = client.with_token(registered.body["token"].as_str().unwrap());
    session.get("/api/users/me").await.expect_problem(401, "auth.session_ended");
    log_in(&client, &ada, PASSWORD).await.expect_problem(401, "auth.invalid_credentials");
    let password = if one.status == 204 { ANOTHER } else { "a third password" };
    let again = log_in(&client, &ada, password).await.expect(200);
    assert_eq!(again.body["user"]["emailVerified"], true);
    assert!(messages(&smtp, &ada, 3).await[2].contains("Your password was changed"));
    assert_eq!(smtp.accepted_for(&ada).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_is_taken_and_the_one_before_is_told() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (before, after, taken) = (address(), address(), address());
    register(&process, &taken, "Eve", "en").await.expect(201);
    let ada = register(&process, &before, "Ada", "en").await.expect(201);
    let ada = process.client().with_token(ada.body["token"].as_str().unwrap());
    let old_link = path_of(&messages(&smtp, &before, 1).await[0]);
    let change = async |email: &str, password: &str| {
        ada.put("/api/users/me/email", json!({ "email": email, "password": password })).await
    };
    change(&after, "not it").await.expect_problem(403, "auth.wrong_password");
    change("nonsense", PASSWORD).await.expect_problem(422, "account.invalid");
    change(&taken, PASSWORD).await.expect_problem(409, "account.address_taken");
    change(&after, PASSWORD).await.expect(200);
    let letters = after.to_uppercase();
    change(&letters, PASSWORD).await.expect(200);
    change(&after, PASSWORD).await.expect(200);
    assert!(messages(&smtp, &before, 2).await[1].contains("Your address was changed"));
    // The link to the address before proves nothing any more.
    process.client().get(&old_link).await.expect_problem(400, "link.invalid");
    let link = path_of(&messages(&smtp, &after, 1).await[0]);
    process.client().get(&link).await.expect(200);
    log_in(&ada, &before, PASSWORD).await.expect_problem(401, "auth.invalid_credentials");
    log_in(&ada, &after, PASSWORD).await.expect(200);
    // It is free for somebody else.
    register(&process, &before, "Grace", "en").await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_server_does_a_message_arrives_or_is_given_up() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    for (fault, class) in [("4xx", "deferred"), ("break", "connection")] {
        let email = address();
        smtp.fail(&[fault]);
        register(&process, &email, "Ada", "en").await.expect(201);
        waits_after(&url, class).await;
        assert!(smtp.has_failed() && smtp.accepted_for(&email).is_empty());
        hurry(&url).await;
        messages(&smtp, &email, 1).await;
    }
    // Accepted, but the answer was lost: it comes twice, under one id by which a mailbox shows it once.
    let email = address();
    smtp.fail(&["lost"]);
    register(&process, &email, "Ada", "en").await.expect(201);
    waits_after(&url, "connection").await;
    hurry(&url).await;
    let twice = messages(&smtp, &email, 2).await;
    assert_eq!(message_id(&twice[0]), message_id(&twice[1]));
    // Refused for good.
    let email = address();
    smtp.fail(&["5xx"]);
    register(&process, &email, "Ada", "en").await.expect(201);
    let failed = "select exists (select from mail_deliveries where status = 'failed' and last_error = 'refused')";
    eventually("it is given up", async || ask::<bool>(&url, failed).await).await;
    let due: i64 = ask(&url, "select count(*) from mail_deliveries where status = 'due'").await;
    assert_eq!((due, smtp.accepted_for(&email).len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_slow_or_away_holds_nobody_up() {
    let (url, mut smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (slow, other, late) = (address(), address(), address());
    smtp.fail(&["slow"]);
    register(&process, &slow, "Ada", "en").await.expect(201);
    eventually("the server takes its time", async || smtp.has_failed()).await;
    register(&process, &other, "Grace", "en").await.expect(201);
    waits_after(&url, "timeout").await;
    messages(&smtp, &other, 1).await;
    smtp.stop();
    register(&process, &late, "Alan", "en").await.expect(201);
    waits_after(&url, "connection").await;
    smtp.restart().await;
    hurry(&url).await;
    messages(&smtp, &late, 1).await;
    messages(&smtp, &slow, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_a_crash_and_a_rebuild_send_nothing_twice() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let (one, other) = (system(&url, &smtp, &[]).await, system(&url, &smtp, &[]).await);
    let addresses: Vec<String> = (0..30).map(|_| address()).collect();
    for (number, email) in addresses.iter().enumerate() {
        register(if number % 2 == 0 { &one } else { &other }, email, "Ada", "en").await.expect(201);
    }
    other.kill();
    // What the one that is gone had taken is tried again when its time is up.
    execute(&url, "update mail_deliveries set next_attempt_at = now() where status = 'due' and attempts > 0").await;
    for email in &addresses {
        messages(&smtp, email, 1).await;
    }
    let rebuild = one.admin().await.post("/api/admin/projections/mail/rebuild", json!({})).await;
    rebuild.expect(202);
    let admin = one.admin().await;
    eventually("the outbox is rebuilt", async || {
        let projections = admin.get("/api/admin/projections").await.expect(200);
        let mail = projections.body["items"].as_array().unwrap().iter().find(|item| item["name"] == "mail").cloned();
        mail.unwrap()["rebuild"]["status"] == "finished"
    })
    .await;
    let last = address();
    register(&one, &last, "Ada", "en").await.expect(201);
    messages(&smtp, &last, 1).await;
    let accepted = smtp.accepted();
    let ids: BTreeSet<String> = accepted.iter().map(|message| message_id(message)).collect();
    // A crash may come between the server's yes and its being noted; then the id is the same.
    assert_eq!(ids.len(), 31);
    assert!(accepted.len() <= 31 + 8, "{}", accepted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_or_an_address_is_no_header_and_no_markup() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    for (number, name) in ["A\r\nBcc: eve@evil.example", "<script>alert(1)</script>", "=?utf-8?q?x?=", "x\u{202e}y"]
        .into_iter()
        .enumerate()
    {
        let email = address();
        if register(&process, &email, name, "en").await.status == 422 {
            assert_eq!(number, 0, "{name}");
            continue;
        }
        let message = &messages(&smtp, &email, 1).await[0];
        let headers = message.split("\r\n\r\n").next().unwrap().replace("\n\n", "");
        assert!(!headers.contains("Bcc") && !headers.contains("script"), "{message}");
        assert!(!message.contains("<script>") || !message.split("text/html").nth(1).unwrap().contains("<script>"));
    }
    for email in ["a@b.org\r\nBcc: eve@evil.example", "a@b.org, eve@evil.example", "a@b.org>\r\nRCPT TO:<eve@evil"] {
        register(&process, email, "Ada", "en").await.expect(422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_addresses_must_be_verified_nothing_tells_which_are_taken() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[("CAPITUNE_REQUIRE_VERIFIED_EMAIL", "true")]).await;
    let (ada, client) = (address(), process.client());
    let told = |answer: Answer| {
        let names: BTreeSet<String> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
        (answer.status, names, answer.body)
    };
    let first = told(register(&process, &ada, "Ada", "en").await);
    assert_eq!((first.0, &first.2), (202, &Value::String(String::new())));
    let link = path_of(&messages(&smtp, &ada, 1).await[0]);
    log_in(&client, &ada, PASSWORD).await.expect_problem(403, "account.unverified");
    log_in(&client, &ada, "not it").await.expect_problem(401, "auth.invalid_credentials");
    assert_eq!(told(register(&process, &ada, "Somebody else", "fr").await), first);
    register(&process, &ada, "", "fr").await.expect(422);
    let message = &messages(&smtp, &ada, 2).await[1];
    assert!(message.contains("You have an account already"), "{message}");
    client.get(&link).await.expect(200);
    log_in(&client, &ada, PASSWORD).await.expect(200);
    let ask = async |email: &str| client.post("/api/auth/verify-email", json!({ "email": email })).await;
    assert_eq!(told(ask(&ada).await), told(ask(&address()).await));
    // The first admin is named by who runs the instance.
    process.admin().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_a_developer_reads_the_mail_and_nobody_else() {
    let directory = DataDirectory::new();
    let system = directory.start().await;
    let email = address();
    let registered = register(&system, &email, "Ada <b>Lovelace</b>", "en").await.expect(201);
    let client = system.client();
    let list = async || {
        let answer =
            crate::http::get_with(&client, "/dev/mailbox", &[("accept", "application/json")]).await.expect(200);
        let items = answer.body["items"].as_array().unwrap().clone();
        items.into_iter().filter(|message| message["to"] == email.as_str()).collect::<Vec<_>>()
    };
    eventually("the message is kept", async || list().await.len() == 1).await;
    let message = list().await.remove(0);
    let text = message["text"].as_str().unwrap();
    let page = client.get("/dev/mailbox").await.expect(200);
    assert!(page.body.as_str().unwrap().contains("Confirm your address"));
    let shown = client.get(&format!("/dev/mailbox/{}", message["id"].as_str().unwrap())).await.expect(200);
    assert!(shown.body.as_str().unwrap().contains("Ada &lt;b&gt;"));
    for path in ["/dev/mailbox/..%2f..%2fetc%2fpasswd", "/dev/mailbox/nothing"] {
        client.get(path).await.expect_problem(404, "route.not_found");
    }
    // A name of another host leads nowhere, wherever it is resolved to.
    let rebound = crate::http::get_with(&client, "/dev/mailbox", &[("host", "evil.example")]).await;
    rebound.expect_problem(404, "route.not_found");
    let link = link_in(text);
    client.get(link.strip_prefix("http://127.0.0.1:3001").unwrap()).await.expect(200);
    let ada = client.with_token(registered.body["token"].as_str().unwrap());
    ada.delete("/api/users/me").await.expect(200);
    assert!(list().await.is_empty());
}
