//! What a client written from the HTTP contract alone relies on. All tests share one running process; each brings
//! people of its own.

mod access;
mod accesses;
mod admin;
mod analytics;
mod analytics_exports;
mod api_tokens;
mod audit;
mod auth;
mod avatars;
mod bad_input;
mod break_glass;
mod browser_session;
mod case_file;
mod conventions;
mod cors;
mod dossiers;
mod evidence;
mod export;
mod graphql;
mod history;
mod hostile;
mod idempotency;
mod limits;
mod lists;
mod live_events;
mod lock_out;
mod matrix;
mod oidc;
mod openapi;
mod operations;
mod organizations;
mod outages;
mod overload;
mod past;
mod posts;
mod privacy;
mod problems;
mod raw;
mod read_your_writes;
mod schemas;
mod second_factor;
mod sessions;
mod stream;
mod tokens;

use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::client::{Answer, Client};
use crate::support::process::Process;
use crate::support::{database_url, execute, kept_database_url, servers};

/// How long any one answer may take.
pub const SOON: Duration = Duration::from_secs(20);

/// The process that all tests of this folder share.
pub struct System {
    pub process: Process,
    pub database_url: String,
    admin: Client,
    // Its end tells the guard that this test process is gone.
    _guard: ChildStdin,
}

/// Starts the shared process once.
pub async fn system() -> &'static System {
    static SYSTEM: OnceCell<System> = OnceCell::const_new();
    SYSTEM
        .get_or_init(|| async {
            let database_url = kept_database_url().await;
            let process = Process::api(&database_url, &[]).await;
            let admin = process.admin().await;
            let guard = end_with_us(process.id());
            System { process, database_url, admin, _guard: guard }
        })
        .await
}

/// A whole system of its own, with settings of the test's own.
pub async fn system_with(database_url: &str, settings: &[(&str, &str)]) -> Process {
    let mut command: Command = Process::command(&[]);
    command.env("DATABASE_URL", database_url).env("NATS_URL", &servers().await.nats_url);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32)).env("CAPITUNE_UNSAFE_DURABILITY", "true");
    command.envs(settings.iter().copied());
    let process = Process::spawn(command).await;
    process.ready().await;
    process
}

/// A static is never dropped, so somebody else has to stop the process when we end: a shell that waits for the end of
/// its input.
fn end_with_us(pid: u32) -> ChildStdin {
    let mut guard = Command::new("sh");
    guard.args(["-c", &format!("read -r end; kill -KILL {pid}")]).stdin(Stdio::piped());
    guard.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap().stdin.take().unwrap()
}

/// Nobody in particular.
pub async fn nobody() -> Client {
    system().await.process.client()
}

/// The first admin.
pub async fn admin() -> Client {
    let system = system().await;
    // Connections belong to the runtime of one test.
    system.process.client().with_token(system.admin.token())
}

/// Somebody new, an applicant as every account is.
pub async fn applicant() -> Client {
    nobody().await.register("Ada Lovelace").await
}

/// The password of everybody whom a test registers.
pub const PASSWORD: &str = "a password for tests";

/// Somebody new whose address is known.
pub async fn account() -> (String, Client) {
    let email = format!("{}@capitune.test", uuid::Uuid::now_v7().simple());
    let body = json!({ "email": email, "password": PASSWORD, "name": "Ada Lovelace" });
    nobody().await.post("/api/auth/register", body).await.expect(201);
    let client = nobody().await.log_in(&email, PASSWORD).await;
    (email, client)
}

/// An attempt to log in.
pub async fn log_in(client: &Client, email: &str, password: &str, totp: Option<&str>) -> Answer {
    let mut body = json!({ "email": email, "password": password });
    if let Some(totp) = totp {
        body["totp"] = json!(totp);
    }
    client.post("/api/auth/login", body).await
}

/// Lets it be longer ago that somebody proved who they are.
pub async fn let_time_pass(person: &Client) {
    let statement = "update sessions set created_at = created_at - interval '11 minutes' where account_id = ";
    execute(&system().await.database_url, &format!("{statement}'{}'", person.user_id)).await;
}

/// Somebody new with one more role.
pub async fn person(role: &str) -> Client {
    admin().await.register_with_roles("Grace Hopper", &["applicant", role]).await
}

/// Sends a request with headers of the test's own.
pub async fn call(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Answer {
    let mut request = client.request(method, path).timeout(SOON);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    client.send(request).await
}

/// A GET with headers of the test's own.
pub async fn get_with(client: &Client, path: &str, headers: &[(&str, &str)]) -> Answer {
    call(client, Method::GET, path, headers, None).await
}

/// A POST with headers of the test's own.
pub async fn post_with(client: &Client, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
    call(client, Method::POST, path, headers, Some(body)).await
}

/// A PUT with headers of the test's own.
pub async fn put_with(client: &Client, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
    call(client, Method::PUT, path, headers, Some(body)).await
}

/// The body of a good creation.
pub fn dossier(title: &str) -> Value {
    json!({ "title": title, "category": "housing", "description": "Two rooms" })
}

/// A new dossier of `owner`, by its path; it can be read at once.
pub async fn new_dossier(owner: &Client) -> String {
    let created = owner.create_dossier("A request").await;
    let path = format!("/api/dossiers/{}", created.id());
    owner.get(&format!("{path}?minPosition={}", created.position())).await.expect(200);
    path
}

/// A new dossier of `owner`, led to a state; `pro` is its reviewer where it has one.
pub async fn dossier_in(state: &str, owner: &Client, pro: &Client) -> String {
    let path = new_dossier(owner).await;
    for command in way_to(state) {
        let client = if OWNERS.contains(command) { owner } else { pro };
        obey(client, &path, command).await.expect(200);
    }
    path
}

/// The commands that the owner gives; the others are a pro's.
const OWNERS: [&str; 5] = ["edit", "submit", "withdraw", "discard", "archive"];

fn way_to(state: &str) -> &'static [&'static str] {
    match state {
        "draft" => &[],
        "submitted" => &["submit"],
        "in_review" => &["submit", "start-review"],
        "changes_requested" => &["submit", "start-review", "request-changes"],
        "accepted" => &["submit", "start-review", "accept"],
        "refused" => &["submit", "start-review", "refuse"],
        "closed" => &["submit", "start-review", "close"],
        "withdrawn" => &["submit", "start-review", "withdraw"],
        "accepted, archived" => &["submit", "start-review", "accept", "archive"],
        "withdrawn, archived" => &["submit", "start-review", "withdraw", "archive"],
        "discarded" => &["discard"],
        other => panic!("no way to {other}"),
    }
}

/// Gives a command with content that is good. `assign` names its giver.
pub async fn obey(client: &Client, path: &str, command: &str) -> Answer {
    let (method, path, body) = order(client, path, command);
    call(client, method, &path, &[], body).await
}

fn order(client: &Client, path: &str, command: &str) -> (Method, String, Option<Value>) {
    let post = |body| (Method::POST, format!("{path}/{command}"), Some(body));
    match command {
        "edit" => (Method::PUT, path.to_owned(), Some(json!({ "title": format!("Title {}", uuid::Uuid::now_v7()) }))),
        "discard" => (Method::DELETE, path.to_owned(), None),
        "submit" => post(json!({ "note": "Nothing to change" })),
        "request-changes" => post(json!({ "reason": "incomplete", "message": "A page is missing" })),
        "refuse" | "close" => post(json!({ "motivation": "Not this year" })),
        "reopen" => post(json!({ "reason": "An appeal" })),
        "assign" => post(json!({ "pro": client.user_id })),
        _ => post(json!({})),
    }
}

/// The log's last position, as the admin hears of it.
pub async fn head() -> u64 {
    let answer = admin().await.get("/api/admin/projections").await.expect(200);
    answer.header("capitune-position").parse().unwrap()
}

/// The names of an object's members, sorted.
pub fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// The items of a page.
pub fn items(answer: &Answer) -> &[Value] {
    answer.body["items"].as_array().unwrap_or_else(|| panic!("no items in {answer:?}"))
}

/// Whether a text is a time in UTC.
pub fn is_utc(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(text).is_ok())
}
