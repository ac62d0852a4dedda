//! The change feed as it happens: nothing is missed, whoever breaks off, and nothing is told to who may not know it.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::future::join_all;
use reqwest::Response;
use serde_json::json;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::outages::{open, shut};
use super::*;
use crate::support::eventually;

/// A stream as a browser follows it.
struct Follower {
    response: Response,
    received: String,
}

/// One message of it.
struct Message {
    /// Everything up to it was told.
    id: u64,
    /// Null where nothing is told.
    change: Value,
    retry: bool,
}

async fn ask(client: &Client, query: &str, last: Option<u64>) -> Response {
    let request = client.request(Method::GET, &format!("/api/stream?{query}"));
    let request = match last {
        Some(last) => request.header("last-event-id", last),
        None => request,
    };
    request.send().await.unwrap()
}

impl Follower {
    async fn start(client: &Client, query: &str, last: Option<u64>) -> Self {
        let response = ask(client, query, last).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, received: String::new() }
    }

    /// The next message; nothing when the stream has ended.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((message, rest)) = self.received.split_once("\n\n") {
                let (message, rest) = (read(message), rest.to_owned());
                self.received = rest;
                return Some(message);
            }
            let chunk = timeout(SOON, self.response.chunk()).await.expect("nothing comes");
            let chunk = chunk.ok().flatten()?;
            self.received.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next change of this thing.
    async fn change_of(&mut self, id: Uuid) -> Message {
        self.change_among(id, |_| {}).await
    }

    /// The same, with a look at what comes before it.
    async fn change_among(&mut self, id: Uuid, look: impl Fn(&Value)) -> Message {
        let change = async {
            loop {
                let message = self.next().await.expect("the stream has ended");
                look(&message.change);
                if message.change["id"] == json!(id) {
                    return message;
                }
            }
        };
        timeout(SOON, change).await.expect("nothing is told of it")
    }

    /// Whatever still comes, until the end.
    async fn rest(mut self) -> Vec<Message> {
        let mut rest = Vec::new();
        let ended = async {
            while let Some(message) = self.next().await {
                rest.push(message);
            }
        };
        timeout(2 * SOON, ended).await.expect("the stream goes on");
        rest
    }
}

fn read(message: &str) -> Message {
    let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
    let change = field("data: ").map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
    Message { id: field("id: ").unwrap().parse().unwrap(), change, retry: field("retry: ").is_some() }
}

#[tokio::test]
async fn what_happens_is_told_as_it_happens() {
    let (ada, analyst) = (applicant().await, person("analyst").await);
    let before = ada.create_dossier("before").await;
    let mut follower = Follower::start(&analyst, "", None).await;
    let first = follower.next().await.unwrap();
    assert!(first.id >= before.position() && first.retry && first.change.is_null());
    let created = ada.create_dossier("now").await;
    let told = follower.change_of(created.id()).await;
    assert_eq!((told.id, &told.change["position"]), (created.position(), &json!(created.position())));
    assert_eq!((&told.change["kind"], &told.change["change"]), (&json!("dossier"), &json!("upsert")));
    let after = created.position() - 1;
    let feed = analyst.get(&format!("/api/analytics/changes?limit=1&after={after}")).await.expect(200);
    assert_eq!(items(&feed)[0], told.change);
    let discarded = ada.delete(&format!("/api/dossiers/{}", created.id())).await.expect(200);
    let gone = follower.change_of(created.id()).await;
    assert_eq!((gone.id, &gone.change["change"]), (discarded.position(), &json!("tombstone")));
    assert!(gone.change["data"].is_null());
}

#[tokio::test]
async fn topics_choose_and_registrations_are_nobodys_business() {
    let (ada, analyst, organizer) = (applicant().await, person("analyst").await, person("organizer").await);
    let mut follower = Follower::start(&analyst, "topics=liveEvents", None).await;
    let body = matrix::body("POST", "/api/admin/events", Uuid::nil()).unwrap();
    let live = organizer.post("/api/admin/events", body).await.expect(201);
    let draft = follower.change_of(live.id()).await;
    assert_eq!((draft.id, &draft.change["kind"]), (live.position(), &json!("liveEvent")));
    assert_eq!(draft.change["data"]["status"], "draft");
    assert_eq!(names(&draft.change["data"]), ["capacity", "organizationId", "startsAt", "status"]);
    let path = format!("/api/admin/events/{}", live.id());
    organizer.post(&format!("{path}/publish"), json!({})).await.expect(200);
    assert_eq!(follower.change_of(live.id()).await.change["data"]["status"], "scheduled");
    ada.post(&format!("/api/events/{}/register", live.id()), json!({})).await.expect(200);
    ada.create_dossier("another topic").await;
    let cancelled = organizer.post(&format!("{path}/cancel"), json!({ "reason": "Snow" })).await.expect(200);
    let of_the_topic = |change: &Value| assert!(change.is_null() || change["kind"] == "liveEvent", "{change:#}");
    let message = follower.change_among(live.id(), of_the_topic).await;
    assert_eq!((message.id, &message.change["data"]["status"]), (cancelled.position(), &json!("cancelled")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_off_and_comes_back_elsewhere_misses_nothing() {
    let url = database_url().await;
    let nodes = [Process::api(&url, &[]).await, Process::api(&url, &[]).await];
    let ada = nodes[0].client().register("Ada").await;
    let analyst = nodes[0].admin().await.register_with_roles("Anna", &["analyst"]).await;
    let work = tokio::spawn(async move {
        let mut made = Vec::new();
        for round in 0..30 {
            let created = ada.create_dossier("new").await;
            ada.post(&format!("/api/dossiers/{}/submit", created.id()), json!({})).await.expect(200);
            if round % 5 == 0 {
                sleep(Duration::from_millis(300)).await;
            }
            made.push(created.id());
        }
        let last = ada.create_dossier("the last").await;
        (made, last.id())
    });
    let mut things: BTreeMap<String, Value> = BTreeMap::new();
    let mut last = Some(0);
    let mut followed = 0;
    while things.len() < 31 {
        let node = analyst.at(&nodes[followed % 2].url());
        let mut follower = Follower::start(&node, "topics=dossiers", last).await;
        // Broken off in the middle of whatever comes.
        for _ in 0..=followed % 4 {
            let message = follower.next().await.unwrap();
            assert!(Some(message.id) >= last, "{:?} after {last:?}", message.id);
            last = Some(message.id);
            if !message.change.is_null() {
                things.insert(message.change["id"].as_str().unwrap().to_owned(), message.change);
            }
        }
        followed += 1;
    }
    let (made, latest) = work.await.unwrap();
    let mut follower = Follower::start(&analyst, "topics=dossiers", last).await;
    while made.iter().any(|id| things[&id.to_string()]["data"]["status"] != "submitted") {
        let message = follower.next().await.unwrap();
        if !message.change.is_null() {
            things.insert(message.change["id"].as_str().unwrap().to_owned(), message.change);
        }
    }
    assert_eq!(things[&latest.to_string()]["data"]["status"], "draft");
}

#[tokio::test]
async fn who_may_no_longer_know_is_told_nothing_more() {
    let (ada, demoted, signed_out) = (applicant().await, person("analyst").await, person("analyst").await);
    let mut followers = [Follower::start(&demoted, "", None).await, Follower::start(&signed_out, "", None).await];
    let known = ada.create_dossier("known").await.id();
    for follower in &mut followers {
        follower.change_of(known).await;
    }
    let roles = json!({ "roles": ["applicant"] });
    admin().await.put(&format!("/api/admin/users/{}/roles", demoted.user_id), roles).await.expect(200);
    signed_out.post("/api/auth/logout", json!({})).await.expect(204);
    // Who was known a second ago may be taken for known.
    sleep(Duration::from_millis(1_500)).await;
    let secret = ada.create_dossier("secret").await.id();
    for rest in join_all(followers.map(Follower::rest)).await {
        assert!(rest.iter().all(|message| message.change["id"] != json!(secret)));
    }
}

#[tokio::test]
async fn a_stream_outlives_that_postgres_is_away() {
    let url = database_url().await;
    let process = Process::api(&url, &[]).await;
    let ada = process.client().register("Ada").await;
    let analyst = process.admin().await.register_with_roles("Anna", &["analyst"]).await;
    let mut follower = Follower::start(&analyst, "", None).await;
    follower.next().await.unwrap();
    shut(&url).await;
    sleep(Duration::from_secs(3)).await;
    open(&url).await;
    let key = Uuid::now_v7().to_string();
    eventually("it takes commands again", || async {
        post_with(&ada, "/api/dossiers", &[("idempotency-key", &key)], dossier("after")).await.status == 201
    })
    .await;
    let created = post_with(&ada, "/api/dossiers", &[("idempotency-key", &key)], dossier("after")).await.expect(201);
    assert_eq!(follower.change_of(created.id()).await.id, created.position());
}

#[tokio::test]
async fn streams_are_few_and_do_not_hold_up_the_end() {
    let mut process = Process::api(&database_url().await, &[]).await;
    let analyst = process.admin().await.register_with_roles("Anna", &["analyst"]).await;
    let mut followers = join_all((0..64).map(|_| Follower::start(&analyst, "", None))).await;
    let busy = analyst.get("/api/stream").await.expect_problem(503, "stream.busy");
    assert_eq!(busy.header("retry-after"), "5");
    analyst.get("/api/analytics").await.expect(200);
    followers.truncate(60);
    eventually("places are given back", || async { analyst.get("/api/stream").await.status == 200 }).await;
    let started = Instant::now();
    process.signal("TERM");
    for rest in join_all(followers.into_iter().map(Follower::rest)).await {
        assert!(rest.iter().all(|message| message.change.is_null()));
    }
    assert_eq!(process.end().await, Some(0));
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused() {
    let analyst = person("analyst").await;
    for bad in ["topics=", "topics=posts", "topics=dossiers,", "topics=Dossiers", "after=-1", "after=x", "limit=3"] {
        let answer = analyst.get(&format!("/api/stream?{bad}")).await;
        assert_eq!(answer.status, 422, "{bad}: {answer:?}");
    }
    // A position that the log has not reached is none to go on from: it is of another log, or of one that was restored.
    let ahead = i64::MAX.to_string();
    analyst.get(&format!("/api/stream?after={ahead}")).await.expect_problem(422, "parameter.invalid");
    for bad in ["", "x", "-1", "1.5", &ahead] {
        let answer = get_with(&analyst, "/api/stream", &[("last-event-id", bad)]).await;
        answer.expect_problem(400, "header.invalid");
    }
    nobody().await.get("/api/stream").await.expect_problem(401, "auth.required");
    applicant().await.get("/api/stream").await.expect_problem(403, "access.forbidden");
}
