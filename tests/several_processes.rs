//! Several processes of each role are one system.

use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::models::{assert_models_are_as_made_anew, assert_models_are_the_fold};
use crate::support::people::{People, assert_applied_once};
use crate::support::process::Process;
use crate::support::{Node, database_url, servers, whole_log};

/// Two processes of each role on one database and one nats-server.
struct Fleet {
    url: String,
    apis: [Process; 2],
    workers: [Process; 2],
    _relays: [Process; 2],
}

impl Fleet {
    async fn start() -> Self {
        let (url, nats_url) = (database_url().await, &servers().await.nats_url);
        let start = async |role| Process::start(&url, nats_url, &[role]).await;
        let apis = [start("api").await, start("api").await];
        let workers = [start("worker").await, start("worker").await];
        let relays = [start("relay").await, start("relay").await];
        for api in &apis {
            api.ready().await;
        }
        Self { url, apis, workers, _relays: relays }
    }

    fn urls(&self) -> [String; 2] {
        [self.apis[0].url(), self.apis[1].url()]
    }

    /// So many new people, by turns at both processes.
    async fn people(&self, number: usize) -> Vec<Client> {
        let people = (0..number).map(|number| {
            let nobody = self.apis[number % 2].client();
            async move { nobody.register("Ada").await }
        });
        stream::iter(people).buffer_unordered(16).collect().await
    }

    /// Sends the same request twenty times at once, by turns to both processes.
    async fn send_at_once(&self, person: &Client, method: Method, path: &str, key: &str, body: Value) -> Vec<Answer> {
        let urls = self.urls();
        let requests = (0..20).map(|number| {
            let person = person.at(&urls[number % 2]);
            let request = person.request(method.clone(), path).header("Idempotency-Key", key).json(&body);
            async move { person.send(request).await }
        });
        join_all(requests).await
    }
}

/// Asserts that all were answered the same, and all but one as a repetition.
fn assert_one_answer(answers: &[Answer], status: u16) {
    for answer in answers {
        assert_eq!((answer.status, &answer.body), (status, &answers[0].body), "{answer:#?}");
        assert_eq!(answer.header("etag"), answers[0].header("etag"));
        assert_eq!(answer.header("capitune-position"), answers[0].header("capitune-position"));
        assert_eq!(answer.header("location"), answers[0].header("location"));
    }
    let replayed = answers.iter().filter(|answer| answer.header("idempotent-replayed") == "true").count();
    assert_eq!(replayed, answers.len() - 1, "only the first is no repetition");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_effect_one_answer_when_twenty_identical_requests_arrive_at_both_at_once() {
    let fleet = Fleet::start().await;
    let person = fleet.apis[0].client().register("Ada").await;
    let node = Node::start(&fleet.url).await;
    for round in 0..5 {
        let before = whole_log(&node.store).await.len();
        let body = json!({ "title": format!("Request {round}"), "category": "housing", "description": "Two rooms" });
        let key = format!("create-{round}");
        let created = fleet.send_at_once(&person, Method::POST, "/api/dossiers", &key, body).await;
        assert_one_answer(&created, 201);
        let path = format!("/api/dossiers/{}", created[0].id());
        let body = json!({ "title": format!("Another title {round}") });
        let edited = fleet.send_at_once(&person, Method::PUT, &path, &format!("edit-{round}"), body.clone()).await;
        assert_one_answer(&edited, 200);
        // Nothing changes any more, and that is remembered too.
        let unchanged = fleet.send_at_once(&person, Method::PUT, &path, &format!("again-{round}"), body).await;
        assert_one_answer(&unchanged, 200);
        let submit = format!("{path}/submit");
        let submitted = fleet.send_at_once(&person, Method::POST, &submit, &format!("submit-{round}"), json!({})).await;
        assert_one_answer(&submitted, 200);
        assert_eq!(whole_log(&node.store).await.len(), before + 3);
    }
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_on_one_is_read_on_the_other_and_never_stale() {
    let fleet = Fleet::start().await;
    // By turns: a command at one, the read that follows it at the other.
    let people = People::begin(&fleet.urls(), 8).await;
    people.work_on(600).await;
    let done = people.finish().await;
    assert_eq!(done.unread, 0, "reads went unanswered");
    let node = Node::start(&fleet.url).await;
    assert_applied_once(&node, &done.sent).await;
    assert_models_are_the_fold(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_would_be_stale_waits_and_then_says_that_the_projection_lags() {
    let fleet = Fleet::start().await;
    let person = fleet.apis[0].client().register("Ada").await;
    let other = person.at(&fleet.apis[1].url());
    let created = person.create_dossier("A request").await;
    let path = format!("/api/dossiers/{}", created.id());
    let read = async |position: u64, wait: u64, path: &str| {
        let request = other.request(Method::GET, path).header("Capitune-Min-Position", position);
        other.send(request.header("Prefer", format!("wait={wait}"))).await
    };
    read(created.position(), 30, &path).await.expect(200);
    for worker in &fleet.workers {
        worker.signal("STOP");
    }
    let edited = person.put(&path, json!({ "title": "Another title" })).await.expect(200).position();
    for path in [&path, "/api/dossiers"] {
        let lagging = read(edited, 1, path).await.expect_problem(504, "projection.lagging");
        assert!(!lagging.header("retry-after").is_empty());
    }
    // Beyond the head there is nothing to wait for, yet.
    let waiting = tokio::spawn({
        let (other, path) = (other.clone(), path.clone());
        async move {
            let request = other.request(Method::GET, &path).header("Capitune-Min-Position", edited + 1);
            other.send(request.header("Prefer", "wait=30")).await
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    for worker in &fleet.workers {
        worker.signal("CONT");
    }
    let seen = read(edited, 30, &path).await.expect(200);
    assert_eq!(seen.body["title"], "Another title");
    let last = person.put(&path, json!({ "title": "The last title" })).await.expect(200);
    assert_eq!(last.position(), edited + 1);
    let seen = waiting.await.unwrap().expect(200);
    assert_eq!((&seen.body["title"], &seen.body["version"]), (&json!("The last title"), &json!(3)));
}

/// The users in the log's events of this type about a live event, in order.
async fn registered(node: &Node, event_type: &str) -> Vec<String> {
    let log = whole_log(&node.store).await;
    let events = log.iter().filter(|event| event.event_type == event_type);
    let users = events.flat_map(|event| {
        let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
        let data = payload.as_object().unwrap().values().next().unwrap();
        match &data["users"] {
            Value::Array(users) => users.clone(),
            _ => vec![data["user"].clone()],
        }
    });
    users.map(|user| user.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_seats_are_fifty_seats_when_a_hundred_and_twenty_people_register_at_both_at_once() {
    let fleet = Fleet::start().await;
    let admin = fleet.apis[0].admin().await;
    let people = fleet.people(120).await;
    let details = json!({
        "title": "A talk", "timeZone": "Europe/Paris", "capacity": 50,
        "startsAt": "2050-01-01T18:00:00Z", "endsAt": "2050-01-01T20:00:00Z",
    });
    let id = admin.post("/api/admin/events", details).await.expect(201).id();
    admin.post(&format!("/api/admin/events/{id}/publish"), json!({})).await.expect(200);
    let path = format!("/api/events/{id}/register");
    let register = |person: &Client| {
        let request = person.request(Method::POST, &path).header("Idempotency-Key", "register");
        let person = person.clone();
        async move { person.send(request).await.expect(200) }
    };
    let answers = join_all(people.iter().map(register)).await;
    let again = join_all(people.iter().map(register)).await;
    for (first, again) in answers.iter().zip(&again) {
        assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, "true"));
    }
    let node = Node::start(&fleet.url).await;
    let waiting = registered(&node, "RegistrationWaitlisted").await;
    assert_eq!((registered(&node, "RegistrationConfirmed").await.len(), waiting.len()), (50, 70));

    let see = async |person: &Client, position: u64| {
        person.get(&format!("/api/events/{id}?minPosition={position}")).await.expect(200).body
    };
    let last = answers.iter().map(Answer::position).max().unwrap();
    let mut confirmed = Vec::new();
    for person in &people {
        let seen = see(person, last).await;
        assert_eq!((&seen["confirmed"], &seen["waiting"]), (&json!(50), &json!(70)));
        let waits = waiting.contains(&person.user_id.to_string());
        assert_eq!(seen["registration"], if waits { "waitlisted" } else { "confirmed" });
        confirmed.extend((!waits).then_some(person));
    }
    // Five seats are given back at once: the five who have waited longest get them.
    let leave = confirmed.iter().take(5).map(|person| person.delete(&path));
    let left = join_all(leave).await;
    let last = left.into_iter().map(|answer| answer.expect(200).position()).max().unwrap();
    assert_eq!(registered(&node, "RegistrationsPromoted").await, waiting[..5]);
    let seen = see(&admin, last).await;
    assert_eq!((&seen["confirmed"], &seen["waiting"]), (&json!(50), &json!(65)));
    assert_models_are_as_made_anew(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_people_who_like_a_post_twice_at_both_are_five_hundred_likes() {
    let fleet = Fleet::start().await;
    let people = fleet.people(500).await;
    let published = people[0].post("/api/posts", json!({ "body": "Good morning" })).await.expect(201);
    let path = format!("/api/posts/{}", published.id());
    let urls = fleet.urls();
    let likes = (0..1000).map(|number| {
        let person = people[number / 2].at(&urls[number % 2]);
        let like = format!("{path}/like");
        async move { person.post(&like, json!({})).await.expect(200).position() }
    });
    let positions: Vec<u64> = stream::iter(likes).buffer_unordered(64).collect().await;
    let last = positions.into_iter().max().unwrap();
    let seen = people[1].get(&format!("{path}?minPosition={last}")).await.expect(200);
    assert_eq!((&seen.body["likes"], &seen.body["liked"]), (&json!(500), &json!(true)));
    let node = Node::start(&fleet.url).await;
    let liked = whole_log(&node.store).await.iter().filter(|event| event.event_type == "PostLiked").count();
    assert_eq!(liked, 500);
    assert_models_are_as_made_anew(&node).await;
}
