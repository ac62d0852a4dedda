//! The system as its user meets it: one command, one directory, clear words.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::support::data_directory::{DataDirectory, run};
use crate::support::process::Process;
use crate::support::{database_url, eventually, servers};

/// The line of what it says that begins with these words, without them.
fn said(output: &str, words: &str) -> Option<String> {
    output.lines().find_map(|line| Some(line.trim().strip_prefix(words)?.trim().to_owned()))
}

async fn start(command: Command) -> Process {
    let process = Process::spawn(command).await;
    process.ready().await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_with_nothing_shows_the_first_admin_once_and_keeps_everything_until_the_next_start() {
    let directory = DataDirectory::new();
    let mut first = start(directory.command(&[])).await;
    let output = first.output();
    let email = said(&output, "first admin").expect("the first admin is shown");
    let password = said(&output, "password").unwrap().replace("(shown this once)", "");
    let admin = first.client().log_in(&email, password.trim()).await;
    admin.get("/api/admin/users").await.expect(200);
    let note = std::fs::read(directory.path().join("first-admin.json")).unwrap();
    let note: Value = serde_json::from_slice(&note).unwrap();
    assert_eq!(note, json!({ "email": email, "password": password.trim() }));
    let created = admin.create_dossier("A request").await;
    first.signal("INT");
    assert_eq!(first.end().await, Some(0), "{}", first.output());
    assert_eq!(directory.processes(), [0; 0], "left behind");

    let mut second = start(directory.command(&[])).await;
    assert_eq!(said(&second.output(), "first admin"), None);
    assert!(!second.output().contains(password.trim()));
    let admin = second.client().log_in(&email, password.trim()).await;
    let path = format!("/api/dossiers/{}?minPosition={}", created.id(), created.position());
    let read = admin.get(&path).await.expect(200);
    assert_eq!((&read.body["title"], &read.body["description"]), (&json!("A request"), &json!("Two rooms")));
    second.signal("TERM");
    assert_eq!(second.end().await, Some(0), "{}", second.output());
    assert_eq!(directory.processes(), [0; 0], "left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_called_off_is_no_failure() {
    // Who connects here is never answered.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://capitune@{}/capitune", silent.local_addr().unwrap());
    let mut waiting = Process::start(&url, "nats://127.0.0.1:9", &[]).await;
    let (_connection, _) = silent.accept().await.unwrap();
    waiting.signal("TERM");
    assert_eq!(waiting.end().await, Some(0), "{}", waiting.output());

    let directory = DataDirectory::new();
    let mut starting = Process::spawn(directory.command(&[])).await;
    eventually("its servers are being made", || async { !directory.processes().is_empty() }).await;
    starting.signal("INT");
    assert_eq!(starting.end().await, Some(0), "{}", starting.output());
    directory.is_left().await;
    let system = directory.start().await;
    system.client().register("Ada").await.create_dossier("A request").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_system_on_one_directory_is_refused_and_disturbs_nothing() {
    let directory = DataDirectory::new();
    let system = directory.start().await;
    let (code, said) = run(directory.command(&[])).await;
    assert_eq!(code, Some(1), "{said}");
    let owner = format!("is in use by process {}: stop it first", system.id());
    assert!(said.contains(&owner), "{said}");
    system.client().register("Ada").await.create_dossier("A request").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_and_further_processes_find_the_system_that_runs() {
    let directory = DataDirectory::new();
    let system = directory.start().await;
    let applicant = system.client().register("Ada").await;
    let created = applicant.create_dossier("A request").await;
    let id = created.id().to_string();

    let (code, table) = run(directory.command(&["history", &id])).await;
    assert_eq!(code, Some(0), "{table}");
    assert!(table.contains("DossierCreated") && table.contains("Two rooms"), "{table}");
    let (code, lines) = run(directory.command(&["history", &id, "--json"])).await;
    assert_eq!(code, Some(0), "{lines}");
    let event: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&event["version"], &event["type"]), (&json!(1), &json!("DossierCreated")));

    let (code, rebuilt) = run(directory.command(&["rebuild", "dossier"])).await;
    assert_eq!(code, Some(0), "{rebuilt}");
    assert!(rebuilt.contains("dossier was rebuilt up to position"), "{rebuilt}");
    let (code, migrated) = run(directory.command(&["migrate"])).await;
    assert_eq!((code, migrated.contains("up to date")), (Some(0), true), "{migrated}");

    let mut api = start(directory.command(&["api"])).await;
    assert_eq!(said(&api.output(), "first admin"), None);
    let there = applicant.at(&api.url());
    let path = format!("/api/dossiers/{id}");
    let edited = there.put(&path, json!({ "title": "Another title" })).await.expect(200);
    let read = applicant.get(&format!("{path}?minPosition={}", edited.position())).await.expect(200);
    assert_eq!(read.body["title"], "Another title");
    let mut worker = Process::spawn(directory.command(&["worker", "--projections", "dossier"])).await;
    let node = directory.node().await;
    let workers = "select count(*) from projection_workers where projection = 'dossier'";
    eventually("the worker is at work", || async { node.ask::<i64>(workers).await == 2 }).await;
    for process in [&mut api, &mut worker] {
        process.signal("TERM");
        assert_eq!(process.end().await, Some(0), "{}", process.output());
    }
    // Their end is not the system's.
    there.at(&system.url()).get(&path).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_say_when_no_system_runs_or_when_there_is_nothing_of_that_name() {
    let directory = DataDirectory::new();
    let id = Uuid::now_v7().to_string();
    for arguments in [&["history", &id][..], &["rebuild", "dossier"], &["api"], &["worker"], &["relay"]] {
        let (code, said) = run(directory.command(arguments)).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("no Capitune runs on the data directory"), "{said}");
    }
    let _system = start(directory.command(&[])).await;
    let (code, said) = run(directory.command(&["history", &id])).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("there is no dossier {id}")), "{said}");
    for arguments in [&["rebuild", "weather"][..], &["worker", "--projections", "weather"]] {
        let (code, said) = run(directory.command(arguments)).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("there is no projection `weather`; there are: "), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_refused_in_a_sentence_that_names_it() {
    let directory = DataDirectory::new();
    let settings = [
        ("CAPITUNE_LISTEN", "everywhere", "CAPITUNE_LISTEN is `everywhere`: accepted is an address and a port"),
        ("CAPITUNE_RATE_LIMIT_AUTH", "-1", "CAPITUNE_RATE_LIMIT_AUTH is `-1`: accepted is a whole number"),
        ("CAPITUNE_LISTN", "127.0.0.1:1", "there is no setting CAPITUNE_LISTN"),
        ("CAPITUNE_MASTER_KEY", "a secret", "CAPITUNE_MASTER_KEY is something else (not shown)"),
        ("DATABASE_URL", "postgres://localhost/capitune", "DATABASE_URL is set and NATS_URL is not"),
        ("NATS_URL", "nats://localhost", "NATS_URL is set and DATABASE_URL is not"),
        ("CAPITUNE_ADMIN_EMAIL", "ada@capitune.test", "CAPITUNE_ADMIN_EMAIL is set and CAPITUNE_ADMIN_PASSWORD is not"),
        ("CAPITUNE_CONFIG", "/nowhere/capitune.toml", "/nowhere/capitune.toml cannot be read"),
    ];
    for (name, value, expected) in settings {
        let mut command = directory.command(&[]);
        command.env(name, value);
        let (code, said) = run(command).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected) && !said.contains("a secret"), "{said}");
    }
    let mut command = directory.command(&[]);
    command.env("DATABASE_URL", "postgres://localhost/capitune").env("NATS_URL", "nats://localhost");
    let (code, said) = run(command).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("neither CAPITUNE_MASTER_KEY nor CAPITUNE_MASTER_KEY_FILE"), "{said}");
    assert!(!directory.path().exists(), "a data directory was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_setting_is_shown_with_where_it_comes_from_and_secrets_are_not() {
    let directory = DataDirectory::new();
    let mut command = directory.command(&["config"]);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32));
    let (code, shown) = run(command).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains(&format!("CAPITUNE_DATA_DIR = {}", directory.path().display())), "{shown}");
    assert!(shown.contains("CAPITUNE_REQUEST_TIMEOUT_SECONDS = 30"), "{shown}");
    assert!(shown.contains("CAPITUNE_MASTER_KEY") && !shown.contains("2a2a"), "{shown}");
    let (code, table) = run(directory.command(&["config", "--markdown"])).await;
    assert_eq!((code, table.starts_with("| setting |")), (Some(0), true), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_is_not_slowed_down_by_the_limits_that_hold_for_everybody_else() {
    let directory = DataDirectory::new();
    let limited = |arguments: &[&str]| {
        let mut command = directory.command(arguments);
        command.env("CAPITUNE_RATE_LIMIT_AUTH", "2").env("CAPITUNE_RATE_LIMIT_GENERAL", "10");
        command
    };
    let system = start(limited(&[])).await;
    let mut demo = limited(&["demo", "--dossiers", "12"]);
    demo.env("CAPITUNE_LISTEN", system.url().replace("http://", ""));
    let (code, said) = run(demo).await;
    assert_eq!(code, Some(0), "{said}");
    for _ in 0..10 {
        let body = json!({ "email": "nobody@capitune.test", "password": "not the password" });
        if system.client().post("/api/auth/login", body).await.status == 429 {
            return;
        }
    }
    panic!("everybody else is not limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_than_the_logs_is_refused() {
    let (url, nats_url) = (database_url().await, &servers().await.nats_url);
    Process::api(&url, &[]).await.kill();
    for role in [&[][..], &["api"], &["relay"], &["worker"]] {
        let mut command = Process::command(role);
        command.env("DATABASE_URL", &url).env("NATS_URL", nats_url).env("CAPITUNE_MASTER_KEY", "2b".repeat(32));
        let (code, said) = run(command).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("master key"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_refused_and_nothing_is_left_running() {
    let (directory, other) = (DataDirectory::new(), DataDirectory::new());
    let system = start(directory.command(&[])).await;
    let mut command = other.command(&[]);
    command.env("CAPITUNE_LISTEN", system.url().replace("http://", ""));
    let (code, said) = run(command).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be listened on"), "{said}");
    other.is_left().await;
    // Nobody has seen the password of an admin yet.
    shows_a_first_admin(&other).await;
}

async fn shows_a_first_admin(directory: &DataDirectory) {
    let system = start(directory.command(&[])).await;
    let output = system.output();
    let email = said(&output, "first admin").expect("the first admin is shown");
    let password = said(&output, "password").unwrap().replace("(shown this once)", "");
    system.client().log_in(&email, password.trim()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_first_admin_whose_password_could_not_be_kept() {
    let directory = DataDirectory::new();
    // What stands in the way of the file.
    let note = directory.path().join("first-admin.json");
    std::fs::create_dir_all(note.join("in the way")).unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
    let (code, said) = run(directory.command(&[])).await;
    assert_eq!(code, Some(1), "{said}");
    std::fs::remove_dir_all(&note).unwrap();
    shows_a_first_admin(&directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_another_system_come_in_by_the_passwords_that_they_have_there() {
    let directory = DataDirectory::new();
    let system = directory.start().await;
    let password = "the password of before";
    let hash = bcrypt::hash(password, 4).unwrap();
    let line = |email: &str, name: &str, hash: &str| {
        json!({ "email": email, "name": name, "passwordHash": hash, "locale": "en", "emailVerified": true }).to_string()
    };
    let file = directory.path().with_extension("ndjson");
    let good = [line("ada@before.test", "Ada", &hash), String::new(), line("eve@before.test", "Eve", &hash)];
    std::fs::write(&file, good.join("\n")).unwrap();
    let import = async || run(directory.command(&["import-accounts", file.to_str().unwrap()])).await;
    let (code, said) = import().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 accounts were imported; 0 addresses had one already."), "{said}");
    let client = system.client();
    let log_in = async |email: &str, password: &str| {
        client.post("/api/auth/login", json!({ "email": email, "password": password })).await
    };
    log_in("ada@before.test", "another password").await.expect_problem(401, "auth.invalid_credentials");
    let ada = log_in("Ada@before.test", password).await.expect(200);
    let user = &ada.body["user"];
    assert_eq!((&user["name"], &user["locale"], &user["emailVerified"]), (&json!("Ada"), &json!("en"), &json!(true)));
    // Her hash is ours from now on, and the password the same.
    let mut connection = PgConnection::connect(&directory.attached().database_url).await.unwrap();
    let ours =
        "select count(*) from credentials where password_hash like '$argon2id$v=19$m=19456,%' and account_id = $1";
    let id: Uuid = user["id"].as_str().unwrap().parse().unwrap();
    let ours: i64 = sqlx::query_scalar(ours).bind(id).fetch_one(&mut connection).await.unwrap();
    assert_eq!(ours, 1);
    log_in("ada@before.test", password).await.expect(200);
    // Again, with what cannot be accepted, none of which is repeated.
    let bad = [
        line("no address secret", "Secret", &hash),
        line("secret@before.test", "Secret", "secret"),
        "{\"email\":\"secret\"".to_owned(),
        json!({ "email": "secret@before.test", "name": "Secret", "admin": true }).to_string(),
        line("bob@before.test", "Bob", &hash),
    ];
    std::fs::write(&file, [good.as_slice(), &bad].concat().join("\n")).unwrap();
    let (code, said) = import().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1 accounts were imported; 2 addresses had one already."), "{said}");
    assert!(said.contains("4 lines were refused") && !said.to_lowercase().contains("secret"), "{said}");
    for number in 4..8 {
        assert!(said.contains(&format!("line {number}: ")), "{said}");
    }
    log_in("bob@before.test", password).await.expect(200);
    std::fs::remove_file(file).unwrap();
}
