//! More than can be done at once: the excess is turned away, and everything else goes on.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;

use super::limits::begin_of_a_window;
use super::raw::{Raw, statuses};
use super::*;
use crate::support::eventually;

const MAX_REQUESTS: &str = "CAPITUNE_MAX_REQUESTS";

fn left(answer: &Answer) -> u32 {
    let line = answer.header("ratelimit");
    line.split(";r=").nth(1).and_then(|rest| rest.split(';').next()?.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// A creation on a connection of its own, up to its body, which is in progress as soon as the server asks for that.
async fn begin(process: &Process, token: &str, length: usize) -> Raw {
    let mut raw = Raw::to(&process.url()).await;
    let head = format!(
        "POST /api/dossiers HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n",
        raw.host
    );
    raw.send(head).await;
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_at_once_is_turned_away_before_any_work_is_done() {
    let settings = [(MAX_REQUESTS, "4"), ("CAPITUNE_RATE_LIMIT_GENERAL", "10000")];
    let process = system_with(&database_url().await, &settings).await;
    let (ada, nobody) = (process.client().register("Ada").await, process.client());
    begin_of_a_window().await;
    let before = left(&ada.get("/api/users/me").await.expect(200));
    let (body, mut slow) = (dossier("slow").to_string(), Vec::new());
    for _ in 0..4 {
        let mut raw = begin(&process, ada.token(), body.len()).await;
        assert_eq!(raw.status().await, 100);
        slow.push(raw);
    }
    // Whoever it is, and whatever they want.
    for client in [&ada, &nobody, &ada.with_token("x")] {
        for path in ["/api/users/me", "/api/nowhere", "/api/openapi.json", "/docs/"] {
            let answer = client.get(path).await.expect_problem(503, "server.overloaded");
            assert_eq!((answer.header("retry-after"), answer.header("ratelimit")), ("1", ""));
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
        }
    }
    let mut raw = begin(&process, ada.token(), body.len()).await;
    assert_eq!(raw.status().await, 503, "an answer does not wait for the body");
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        let answers = join_all((0..10).map(|_| nobody.get(path))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{path}");
    }
    for raw in &mut slow {
        raw.send(&body).await;
        assert_eq!(raw.status().await, 201);
    }
    let after = left(&ada.get("/api/users/me").await.expect(200));
    assert_eq!(before - after, 5, "only what was served is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_wait_leave_room_for_all_others() {
    let process = system_with(&database_url().await, &[(MAX_REQUESTS, "6")]).await;
    let ada = process.client().register("Ada").await;
    let wait = [("prefer", "wait=6")];
    let waiting = |number: usize| {
        let (ada, path) = (ada.clone(), format!("/api/dossiers?minPosition={}", 1_000_000 + number));
        async move {
            loop {
                let answer = get_with(&ada, &path, &wait).await;
                if answer.status != 503 {
                    return answer;
                }
            }
        }
    };
    let polls: Vec<_> = (0..3).map(|number| tokio::spawn(waiting(number))).collect();
    eventually("their places are taken", || async {
        get_with(&ada, "/api/users/me", &[("prefer", "wait=0")]).await.status == 503
    })
    .await;
    ada.get("/api/dossiers?minPosition=1").await.expect_problem(503, "server.overloaded");
    for _ in 0..5 {
        ada.get("/api/dossiers").await.expect(200);
        ada.create_dossier("meanwhile").await;
    }
    for poll in polls {
        poll.await.unwrap().expect_problem(504, "projection.lagging");
    }
    ada.get("/api/dossiers?minPosition=1").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_multiple_of_what_can_be_done_everything_gets_done_in_the_end() {
    const CLIENTS: usize = 40;
    const EACH: usize = 8;
    let process = system_with(&database_url().await, &[(MAX_REQUESTS, "4")]).await;
    let ada = process.client().register("Ada").await;
    let turned_away = AtomicU32::new(0);
    let client = |number: usize| {
        let (ada, turned_away) = (&ada, &turned_away);
        async move {
            let mut done = 0;
            while done < EACH {
                let answer = ada.post("/api/dossiers", dossier(&format!("{number} {done}"))).await;
                match answer.status {
                    201 => done += 1,
                    _ => {
                        answer.expect_problem(503, "server.overloaded");
                        turned_away.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        }
    };
    join_all((0..CLIENTS).map(client)).await;
    assert!(turned_away.into_inner() > 0);
    // What was turned away was not done, and what was acknowledged was done once.
    let (mut titles, mut cursor) = (Vec::new(), String::new());
    let position = ada.create_dossier("last").await.position();
    loop {
        let page = ada.get(&format!("/api/dossiers?limit=100&minPosition={position}{cursor}")).await.expect(200);
        titles.extend(items(&page).iter().map(|item| item["title"].as_str().unwrap().to_owned()));
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(titles.len(), CLIENTS * EACH + 1);
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), CLIENTS * EACH + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_do_nothing_leave_files_for_the_work() {
    let binary = Process::command(&["api"]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 400; exec \"$0\" \"$@\""]).arg(binary.get_program()).args(binary.get_args());
    command.envs(binary.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("DATABASE_URL", database_url().await).env("NATS_URL", &servers().await.nats_url);
    command.env("CAPITUNE_MASTER_KEY", "2a".repeat(32)).env("CAPITUNE_UNSAFE_DURABILITY", "true");
    let process = Process::spawn(command).await;
    process.ready().await;
    let url = process.url();
    let mut early = Raw::to(&url).await;
    let crowd = join_all((0..600).map(|_| Raw::to(&url))).await;
    // On a connection from before, and with connections to the database.
    let ready = format!("GET /health/ready HTTP/1.1\r\nhost: {}\r\n\r\n", early.host);
    let me = ready.replace("/health/ready", "/api/users/me");
    early.send(ready.repeat(5) + &me).await;
    let (received, _) = early.receive(Duration::from_secs(5)).await;
    assert_eq!(statuses(&received), [200, 200, 200, 200, 200, 401], "{received}");
    drop(crowd);
    eventually("there is room again", || async {
        let nobody = process.client();
        let request = nobody.request(Method::GET, "/health/live");
        nobody.try_send(request).await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    assert!(!process.output().contains("could not be accepted"), "{}", process.output());
}

#[tokio::test]
async fn who_takes_nothing_of_what_they_asked_for_is_closed() {
    const ASKED: usize = 400;
    let mut raw = Raw::connect().await;
    let request = format!("GET /api/openapi.json HTTP/1.1\r\nhost: {}\r\n\r\n", raw.host);
    raw.send(request.repeat(ASKED)).await;
    tokio::time::sleep(Duration::from_secs(65)).await;
    nobody().await.get("/api/openapi.json").await.expect(200);
    let (received, hung_up) = raw.receive(Duration::from_secs(5)).await;
    assert!(hung_up && statuses(&received).len() < ASKED, "{} answers", statuses(&received).len());
}
