//! People who send commands through every fault, and remember what they were told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use domain::EventEnvelope;
use domain::dossier::Dossier;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::client::{Answer, Client};
use super::{Node, PATIENCE, whole_log};

/// Longer than any request may take.
const REQUEST: Duration = Duration::from_secs(35);

/// A command that was answered.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The title that it gave a dossier, and nobody else gave any.
    pub title: String,
    pub id: Uuid,
    pub version: u64,
    pub position: u64,
}

/// What people have done.
pub struct Done {
    pub sent: Vec<Sent>,
    /// How many reads were not answered: the process was away, or its read model was.
    pub unread: u64,
}

/// People at work. Each sends one command after the other, with a key, and insists on it until it is answered; then
/// they read what they wrote.
pub struct People {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Vec<Sent>>>,
}

#[derive(Default)]
struct Shared {
    urls: RwLock<Vec<String>>,
    stop: AtomicBool,
    answered: AtomicU64,
    unread: AtomicU64,
    turn: AtomicU64,
}

impl People {
    /// So many people register and begin to work, spread over the processes at `urls`.
    pub async fn begin(urls: &[String], number: usize) -> Self {
        let shared = Arc::new(Shared { urls: RwLock::new(urls.to_vec()), ..Shared::default() });
        let mut tasks = Vec::with_capacity(number);
        for _ in 0..number {
            let person = Client::new(&shared.url()).register("Ada").await;
            tasks.push(tokio::spawn(shared.clone().work(person)));
        }
        Self { shared, tasks }
    }

    /// The processes are elsewhere now.
    pub fn move_to(&self, urls: &[String]) {
        *self.shared.urls.write().unwrap() = urls.to_vec();
    }

    /// Waits until so many more commands were answered.
    pub async fn work_on(&self, commands: u64) {
        let started = Instant::now();
        let goal = self.shared.answered.load(Ordering::SeqCst) + commands;
        while self.shared.answered.load(Ordering::SeqCst) < goal {
            assert!(started.elapsed() < PATIENCE, "nobody is answered any more");
            assert!(!self.tasks.iter().any(JoinHandle::is_finished), "somebody gave up");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets everybody finish what they are at.
    pub async fn finish(self) -> Done {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut sent = Vec::new();
        for task in self.tasks {
            sent.extend(task.await.unwrap());
        }
        Done { sent, unread: self.shared.unread.load(Ordering::SeqCst) }
    }
}

impl Shared {
    /// The next process in turn.
    fn url(&self) -> String {
        let urls = self.urls.read().unwrap();
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) as usize;
        urls[turn % urls.len()].clone()
    }

    async fn work(self: Arc<Self>, person: Client) -> Vec<Sent> {
        let mut sent: Vec<Sent> = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            let title = format!("{}/{}", person.user_id, sent.len());
            let edited = (!sent.len().is_multiple_of(5)).then(|| sent.last().map(|last| last.id)).flatten();
            let answer = self.insist(&person, &title, edited).await;
            let command = Sent {
                id: answer.id(),
                version: answer.body["version"].as_u64().unwrap(),
                position: answer.position(),
                title,
            };
            self.answered.fetch_add(1, Ordering::SeqCst);
            self.read(&person, &command).await;
            sent.push(command);
        }
        sent
    }

    /// Sends a command with one key until it is answered.
    async fn insist(&self, person: &Client, title: &str, edited: Option<Uuid>) -> Answer {
        let started = Instant::now();
        loop {
            let person = person.at(&self.url());
            match person.try_send(command(&person, title, edited)).await {
                Ok(answer) if [200, 201].contains(&answer.status) => return answer,
                // The process is away, or says that it cannot tell.
                Err(_) => {}
                Ok(answer) => assert_eq!(answer.status, 503, "{:#}", answer.body),
            }
            assert!(started.elapsed() < PATIENCE, "a command is not answered");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads what was just written, from the process whose turn it is; whatever is answered is not stale.
    async fn read(&self, person: &Client, written: &Sent) {
        let person = person.at(&self.url());
        let request = person.request(Method::GET, &format!("/api/dossiers/{}", written.id));
        let request = request.header("Capitune-Min-Position", written.position).timeout(REQUEST);
        match person.try_send(request).await {
            Ok(answer) if answer.status == 200 => {
                assert_eq!(answer.body["title"], written.title, "a stale read of {written:?}: {:#}", answer.body);
                assert_eq!(answer.body["version"], written.version);
                assert!(answer.header("capitune-position").parse::<u64>().unwrap() >= written.position);
            }
            Ok(answer) if ![503, 504].contains(&answer.status) => panic!("{} {:#}", answer.status, answer.body),
            Ok(_) | Err(_) => {
                self.unread.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

fn command(person: &Client, title: &str, edited: Option<Uuid>) -> RequestBuilder {
    let request = match edited {
        Some(id) => person.request(Method::PUT, &format!("/api/dossiers/{id}")).json(&json!({ "title": title })),
        None => {
            let body = json!({ "title": title, "category": "housing", "description": "Two rooms" });
            person.request(Method::POST, "/api/dossiers").json(&body)
        }
    };
    request.header("Idempotency-Key", title).timeout(REQUEST)
}

/// Asserts that every command has had its effect once, where its answer says, and that nothing else was written.
pub async fn assert_applied_once(node: &Node, sent: &[Sent]) {
    let log = whole_log(&node.store).await;
    let mut titled: HashMap<String, Vec<&EventEnvelope>> = HashMap::new();
    for event in log.iter().filter(|event| event.is::<Dossier>()) {
        titled.entry(title_in(event)).or_default().push(event);
    }
    for command in sent {
        let events = titled.remove(&command.title).unwrap_or_default();
        let effects: Vec<_> = events.iter().map(|event| (event.aggregate_id, event.version, event.position)).collect();
        assert_eq!(effects, [(command.id, command.version, command.position)], "of {command:?}");
    }
    assert!(titled.is_empty(), "recorded, and sent by nobody: {:?}", titled.keys());
}

fn title_in(event: &EventEnvelope) -> String {
    let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
    let title = payload.pointer("/Created/title").or(payload.pointer("/Edited/title/to"));
    title.and_then(Value::as_str).unwrap_or_else(|| panic!("no title in {payload:#}")).to_owned()
}
