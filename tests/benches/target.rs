//! Servers under load, and what is asked of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::{Connection, Request, load};
use crate::measure::Figure;

/// Dossiers of each account that are edited and read.
const DOSSIERS: usize = 32;
/// How long read models may take to catch up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often, how long, and over how many connections.
#[derive(Clone, Copy)]
pub struct Round {
    /// Connections, each with an account of its own.
    pub connections: usize,
    /// How long one turn lasts.
    pub time: Duration,
    /// How often the contenders take turns.
    pub rounds: usize,
}

/// One server under load.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    collection: &'static str,
    accounts: Arc<[Account]>,
}

struct Account {
    token: Arc<str>,
    dossiers: Vec<Uuid>,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub enum Operation {
    /// `POST` of a new dossier.
    Create,
    /// `PUT` of another description.
    Edit,
    /// `GET` of one.
    ReadById,
    /// `GET` of the 20 newest.
    List,
}

const PASSWORD: &str = "correct horse battery staple";

fn email(number: usize) -> String {
    format!("bench-{number}@example.org")
}

/// People who log in one after the other, until this is dropped.
pub struct LogIns {
    tasks: JoinSet<()>,
    done: Arc<AtomicU64>,
}

impl LogIns {
    /// So many people at once, of those who are registered.
    pub fn begin(address: SocketAddr, at_once: usize) -> Self {
        let (mut tasks, done) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        for number in 0..at_once {
            let done = done.clone();
            let body = json!({ "email": email(number), "password": PASSWORD }).to_string();
            let (target, token) = ("/api/auth/login".to_owned(), Arc::from(""));
            let request = Request { method: "POST", target, token, body };
            tasks.spawn(async move {
                let mut connection = Connection::open(address).await.unwrap();
                loop {
                    connection.succeed(&request).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { tasks, done }
    }

    /// How many there were.
    pub fn end(mut self) -> u64 {
        self.tasks.abort_all();
        self.done.load(Ordering::Relaxed)
    }
}

/// Opens an account; its id and token.
pub async fn register(address: SocketAddr, number: usize) -> (Uuid, Arc<str>) {
    let body = json!({ "email": email(number), "password": PASSWORD, "name": "Ada Bench" });
    let request = Request {
        method: "POST",
        target: "/api/auth/register".to_owned(),
        token: Arc::from(""),
        body: body.to_string(),
    };
    let mut connection = Connection::open(address).await.unwrap();
    let answer = connection.succeed(&request).await.json();
    let id = answer["user"]["id"].as_str().unwrap().parse().unwrap();
    (id, answer["token"].as_str().unwrap().into())
}

impl Target {
    /// Opens the dossiers that are worked on.
    pub async fn prepare(
        address: SocketAddr,
        collection: &'static str,
        tokens: impl Iterator<Item = Arc<str>>,
    ) -> Self {
        let accounts = tokens.map(|token| async move {
            let mut connection = Connection::open(address).await.unwrap();
            let mut dossiers = Vec::with_capacity(DOSSIERS);
            for _ in 0..DOSSIERS {
                let answer = connection.succeed(&create(collection, token.clone())).await.json();
                dossiers.push(answer["id"].as_str().unwrap().parse().unwrap());
            }
            Account { token, dossiers }
        });
        let accounts = join_all(accounts).await.into();
        Self { address, collection, accounts }
    }

    /// The same dossiers, served elsewhere, to callers with other tokens.
    pub fn elsewhere(
        &self,
        address: SocketAddr,
        collection: &'static str,
        tokens: impl Iterator<Item = Arc<str>>,
    ) -> Self {
        let accounts = self.accounts.iter().zip(tokens);
        let accounts = accounts.map(|(account, token)| Account { token, dossiers: account.dossiers.clone() });
        Self { address, collection, accounts: accounts.collect() }
    }

    /// One turn.
    pub fn run(&self, operation: Operation, round: Round) -> BoxFuture<'static, Figure> {
        let target = self.clone();
        let ask = move |connection, number| target.request(operation, connection, number);
        load(self.address, round.connections, round.time, ask).boxed()
    }

    /// One turn, and then a wait for the read models, so that the next contender has the machine for itself.
    pub fn run_and_settle(&self, operation: Operation, round: Round) -> BoxFuture<'_, Figure> {
        async move {
            let figure = self.run(operation, round).await;
            self.settle().await;
            figure
        }
        .boxed()
    }

    /// One turn while people log in as fast as passwords can be hashed.
    pub fn run_beside_log_ins(&self, operation: Operation, round: Round, at_once: usize) -> BoxFuture<'_, Figure> {
        async move {
            let (log_ins, started) = (LogIns::begin(self.address, at_once), Instant::now());
            let figure = self.run(operation, round).await;
            let rate = log_ins.end() as f64 / started.elapsed().as_secs_f64();
            println!("{rate:.0} log-ins/s beside {:.0} commands/s", figure.rate);
            self.settle().await;
            figure
        }
        .boxed()
    }

    /// Waits until the read models show everything.
    async fn settle(&self) {
        let mut connection = Connection::open(self.address).await.unwrap();
        let edit = self.request(Operation::Edit, 0, 0);
        let answer = connection.succeed(&edit).await.json();
        let position = answer["position"].as_u64().unwrap();
        let target = format!("{}?limit=1&minPosition={position}", self.collection);
        let list = Request { target, ..self.request(Operation::List, 0, 0) };
        let until = Instant::now() + PATIENCE;
        while connection.ask(&list).await.unwrap().status != 200 {
            assert!(Instant::now() < until, "the read models do not catch up");
        }
    }

    fn request(&self, operation: Operation, connection: usize, number: usize) -> Request {
        let account = &self.accounts[connection % self.accounts.len()];
        let id = account.dossiers[number % account.dossiers.len()];
        let token = account.token.clone();
        let get = |target| Request { method: "GET", target, token: token.clone(), body: String::new() };
        match operation {
            Operation::Create => create(self.collection, token),
            Operation::Edit => {
                let description = format!("Two rooms, near the school, {}", Uuid::new_v4());
                let body = json!({ "description": description }).to_string();
                Request { method: "PUT", target: format!("{}/{id}", self.collection), token, body }
            }
            Operation::ReadById => get(format!("{}/{id}", self.collection)),
            Operation::List => get(format!("{}?limit=20", self.collection)),
        }
    }
}

fn create(collection: &str, token: Arc<str>) -> Request {
    let description = "Two rooms, near the school, from the first of the month on.".repeat(3);
    let body = json!({ "title": "A request for housing", "category": "housing", "description": description });
    Request { method: "POST", target: collection.to_owned(), token, body: body.to_string() }
}
