//! Mail: once to each recipient, whatever the server does.

mod invitations;
mod links;

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

/// The first message to an address with this subject, once it is there: messages that are due together are sent in no
/// order.
async fn message_about(smtp: &SmtpServer, email: &str, subject: &str) -> String {
    let subject = format!("Subject: {subject}");
    let found = || smtp.accepted_for(email).into_iter().find(|message| message.contains(&subject));
    eventually("the message arrives", async || found().is_some()).await;
    found().unwrap()
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
async fn whatever_the_server_does_a_message_arrives_or_is_given_up() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    for (fault, class) in [("4xx", "deferred"), ("break", "connection"), ("530", "credentials")] {
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
async fn a_sender_whose_time_is_up_undoes_nothing() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let one = system(&url, &smtp, &[]).await;
    let email = address();
    smtp.fail(&["held"]);
    register(&one, &email, "Ada", "en").await.expect(201);
    eventually("the server holds the message", async || smtp.has_failed()).await;
    hurry(&url).await;
    let other = system(&url, &smtp, &[]).await;
    messages(&smtp, &email, 1).await;
    let sent = "select not exists (select from mail_deliveries where status = 'due')";
    eventually("it is noted", async || ask::<bool>(&url, sent).await).await;
    other.kill();
    smtp.release();
    // Once the first sender sends again, it has met the failure of what it was at.
    for _ in 0..2 {
        let next = address();
        register(&one, &next, "Grace", "en").await.expect(201);
        messages(&smtp, &next, 1).await;
        hurry(&url).await;
    }
    assert_eq!(smtp.accepted_for(&email).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_leaves_what_a_server_holds_to_the_next() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let mut process = system(&url, &smtp, &[]).await;
    let email = address();
    smtp.fail(&["held"]);
    register(&process, &email, "Ada", "en").await.expect(201);
    eventually("the server holds the message", async || smtp.has_failed()).await;
    process.signal("TERM");
    assert_eq!(process.end().await, Some(0));
    // Not even its failure was waited for.
    let left = "select status = 'due' and last_error is null from mail_deliveries where status <> 'needless'";
    assert!(ask::<bool>(&url, left).await);
    smtp.release();
    hurry(&url).await;
    let _next = system(&url, &smtp, &[]).await;
    messages(&smtp, &email, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_links_that_wait_the_last_is_sent_and_none_too_late() {
    let (url, mut smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let (before, after) = (address(), address());
    smtp.stop();
    let ada = register(&process, &before, "Ada", "en").await.expect(201);
    let ada = process.client().with_token(ada.body["token"].as_str().unwrap());
    let body = json!({ "email": after, "password": PASSWORD });
    ada.put("/api/users/me/email", body).await.expect(200);
    ada.post("/api/auth/forgot-password", json!({ "email": after })).await.expect(202);
    let failed = "select bool_or(template = 'reset_password') and not bool_or(status = 'due' and last_error is null)
                  from mail_deliveries";
    eventually("all were tried", async || ask::<Option<bool>>(&url, failed).await == Some(true)).await;
    let late =
        "update mail.outbox set recorded_at = recorded_at - interval '2 hours' where template = 'reset_password'";
    execute(&url, late).await;
    smtp.restart().await;
    hurry(&url).await;
    let due = "select count(*) from mail_deliveries where status = 'due'";
    eventually("none waits", async || ask::<i64>(&url, due).await == 0).await;
    let (told, asked) = (smtp.accepted_for(&before), smtp.accepted_for(&after));
    assert!(told.len() == 1 && told[0].contains("Your address was changed"), "{told:?}");
    assert!(asked.len() == 1 && asked[0].contains("Confirm your address"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_flooded_by_the_account_of_somebody_else() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let addresses = [address(), address()];
    let eve = register(&process, &addresses[0], "Eve", "en").await.expect(201);
    let eve = process.client().with_token(eve.body["token"].as_str().unwrap());
    let due = "select not exists (select from mail_deliveries where status = 'due')";
    for number in 1..8 {
        let head =
            eve.put("/api/users/me/email", json!({ "email": addresses[number % 2], "password": PASSWORD })).await;
        let position = head.expect(200).position();
        let taken = format!("select exists (select from mail_deliveries where position = {position})");
        eventually("it is looked at", async || ask::<bool>(&url, &taken).await && ask::<bool>(&url, due).await).await;
    }
    let accepted = smtp.accepted();
    let sent = |subject: &str| accepted.iter().filter(|message| message.contains(subject)).count();
    assert_eq!((sent("Subject: Confirm your address"), sent("Subject: Your address was changed")), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_or_an_address_is_no_header_and_no_markup() {
    let (url, smtp) = (database_url().await, SmtpServer::start().await);
    let process = system(&url, &smtp, &[]).await;
    let client = process.client();
    for name in ["A\r\nBcc: script@evil.example", "<script>alert(1)</script>", "=?utf-8?q?script?=", "x\u{202e}script"]
    {
        let email = address();
        register(&process, &email, name, "en").await.expect(201);
        // Nobody is told by us what somebody else calls themselves.
        let first = messages(&smtp, &email, 1).await.remove(0);
        assert!(!first.contains("script") && first.contains("Hello,"), "{first}");
        client.get(&path_of(&first)).await.expect(200);
        client.post("/api/auth/forgot-password", json!({ "email": email })).await.expect(202);
        let message = message_about(&smtp, &email, "Choose a new password").await;
        let (headers, body) = message.split_once("\n\n").or_else(|| message.split_once("\r\n\r\n")).unwrap();
        assert!(!headers.contains("script") && headers.contains("Auto-Submitted: auto-generated"), "{message}");
        assert!(!body.split("text/html").nth(1).unwrap().contains("<script>"), "{message}");
    }
    for email in ["a@b.org\r\nBcc: eve@evil.example", "a@b.org, eve@evil.example", "a@b.org>\r\nRCPT TO:<eve@evil"] {
        register(&process, email, "Ada", "en").await.expect(422);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_a_developer_reads_the_mail_and_nobody_else() {
    let directory = DataDirectory::new();
    let system = directory.start().await;
    let email = address();
    let registered = register(&system, &email, "Ada", "en").await.expect(201);
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
    assert!(shown.body.as_str().unwrap().contains("To confirm that this address is yours"));
    for path in ["/dev/mailbox/..%2f..%2fetc%2fpasswd", "/dev/mailbox/nothing"] {
        client.get(path).await.expect_problem(404, "route.not_found");
    }
    // A name of another host leads nowhere, wherever it is resolved to.
    let rebound = crate::http::get_with(&client, "/dev/mailbox", &[("host", "evil.example")]).await;
    rebound.expect_problem(404, "route.not_found");
    let proxied = crate::http::get_with(&client, "/dev/mailbox", &[("x-forwarded-for", "127.0.0.1")]).await;
    proxied.expect_problem(404, "route.not_found");
    let link = link_in(text);
    client.get(link.strip_prefix("http://127.0.0.1:3001").unwrap()).await.expect(200);
    let ada = client.with_token(registered.body["token"].as_str().unwrap());
    ada.delete("/api/users/me").await.expect(200);
    assert!(list().await.is_empty());
}
