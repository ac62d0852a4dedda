//! Tables for analysts, and reads while a read model is rebuilt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::fill;
use crate::load::{Connection, Request};
use crate::measure::{Figure, Pace, in_turns, median};
use crate::process::{ADMIN_EMAIL, ADMIN_PASSWORD, Process};
use crate::report::{Goal, Report, rate};
use crate::servers::{Servers, execute};
use crate::target::{Operation, Round, Target, register};

/// Rows of the table that is taken out.
const ROWS: usize = 1_000_000;
/// Events of the log that is rebuilt from.
const EVENTS: usize = 200_000;
const CONNECTIONS: usize = 8;
const MEDIA_TYPES: [&str; 3] = ["text/csv", "application/x-ndjson", "application/vnd.apache.parquet"];

/// The whole section.
pub async fn measure(report: &mut Report, servers: &Servers, pace: Pace) {
    report.section("Rebuilding beside readers, and tables for analysts");
    let (url, database, store) = servers.store("tables").await;
    report.progress("filling a log");
    fill::append(&database, &store, EVENTS / pace.scale).await;
    let ours = Process::capitune_with_admin(&url, servers).await;
    let admin = Admin::log_in(&ours).await;
    admin.caught_up().await;
    readers(report, &ours, &admin, pace).await;
    let rows = ROWS / pace.scale;
    execute(
        &url,
        &format!(
            "insert into analytics.dossiers (id, organization_id, category, status, since, archived, version, created_at,
                 submitted_at, decided_at, outcome, change_requests)
             select gen_random_uuid(), gen_random_uuid(), 'category ' || n % 20, 'accepted', now(), false, 5,
                 now() - make_interval(hours => n % 1000), now(), now(), 'accepted', n % 3
             from generate_series(1, {rows}) n"
        ),
    )
    .await;
    most_memory(report, &ours, "with rebuilds");
    for media_type in MEDIA_TYPES {
        let mut figures = Vec::new();
        for _ in 0..pace.rounds {
            figures.push(admin.take_out(media_type, rows).await);
        }
        report.value(&format!("a table as {media_type}: rows"), rate(median(&figures)), None);
    }
    most_memory(report, &ours, "with tables of a million rows as well");
    ours.stop().await;
}

fn most_memory(report: &mut Report, ours: &Process, until: &str) {
    if let Some((_, most)) = ours.memory() {
        let what = format!("memory of the whole system's process, at most, {until}");
        report.value(&what, format!("{:.0} MB", most as f64 / 1e6), None);
    }
}

/// One who reads all, and has read models rebuilt.
struct Admin {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Admin {
    async fn log_in(process: &Process) -> Self {
        let body = json!({ "email": ADMIN_EMAIL, "password": ADMIN_PASSWORD }).to_string();
        let target = "/api/auth/login".to_owned();
        let request = Request { method: "POST", target, token: Arc::from(""), body };
        let mut connection = Connection::open(process.address).await.unwrap();
        let token = connection.succeed(&request).await.json()["token"].as_str().unwrap().to_owned();
        Self { http: reqwest::Client::new(), base: format!("http://{}", process.address), token }
    }

    async fn dossiers(&self) -> Value {
        let path = format!("{}/api/admin/projections", self.base);
        let answer = self.http.get(path).bearer_auth(&self.token).send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["items"].as_array().unwrap().iter().find(|item| item["name"] == "dossier").unwrap().clone()
    }

    async fn caught_up(&self) {
        while self.dossiers().await["lag"] != 0 {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Rebuilds the dossiers once; how long that took.
    async fn rebuild(&self) -> Duration {
        let started = Instant::now();
        let path = format!("{}/api/admin/projections/dossier/rebuild", self.base);
        let asked = self.http.post(path).bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(asked.status(), 202);
        while self.dossiers().await["rebuild"]["status"] == "running" {
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.dossiers().await["rebuild"]["status"], "finished");
        started.elapsed()
    }

    async fn take_out(&self, media_type: &str, rows: usize) -> Figure {
        let started = Instant::now();
        let path = format!("{}/api/analytics/dossiers", self.base);
        let request = self.http.get(path).bearer_auth(&self.token).header("accept", media_type);
        let mut response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await.unwrap() {
            bytes += chunk.len();
        }
        assert!(bytes > rows);
        Figure::of(rows as u64, started.elapsed())
    }
}

/// Reads by id for as long as a rebuild takes, each of which must succeed, against the same while nothing is rebuilt.
async fn readers(report: &mut Report, ours: &Process, admin: &Admin, pace: Pace) {
    let registering = (0..CONNECTIONS).map(|number| register(ours.address, number));
    let tokens: Vec<Arc<str>> = stream::iter(registering).buffered(2).map(|(_, token)| token).collect().await;
    let target = Target::prepare(ours.address, "/api/dossiers", tokens.into_iter()).await;
    admin.caught_up().await;
    let alone = admin.rebuild().await;
    report.value(
        "a rebuild of the dossiers, from asking for it to its end",
        format!("{:.1} s", alone.as_secs_f64()),
        None,
    );
    let round = Round { connections: CONNECTIONS, time: alone, rounds: pace.rounds };
    for (operation, name) in [(Operation::ReadById, "reads by id"), (Operation::List, "lists of 20")] {
        let quiet = || target.run(operation, round);
        let beside = || {
            async {
                let reading = tokio::spawn(target.run(operation, round));
                admin.rebuild().await;
                reading.await.unwrap()
            }
            .boxed()
        };
        let [quiet, beside] = in_turns(round.rounds, [&quiet, &beside]).await;
        let what = format!("{name} during a rebuild, 8 connections, none of which failed");
        let goal: Option<Goal> = None;
        report.rates(&what, beside, "the same while nothing is rebuilt", quiet, goal);
        report.latencies("the same: p99", beside.p99, "the same while nothing is rebuilt", quiet.p99, None);
    }
}
