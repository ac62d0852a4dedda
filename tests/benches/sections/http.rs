//! Requests per second over HTTP with a token: against bare CRUD, against axum over stock cqrs-es, and against bare
//! handlers of the same queries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use uuid::Uuid;

use crate::measure::{Pace, in_turns};
use crate::peers;
use crate::process::Process;
use crate::report::{Goal, Report, counted, number};
use crate::servers::Servers;
use crate::target::{Operation, Round, Target, register};

const CONNECTIONS: [usize; 4] = [1, 8, 32, 64];
/// At which the goals are judged.
const JUDGED: usize = 32;
const ACCOUNTS: usize = 64;
const CRUD: &str = "bare axum + sqlx CRUD";
const STOCK: &str = "axum over stock cqrs-es";
const QUERY: &str = "bare handler, same query, same row-level security";

/// The whole section.
pub async fn measure(report: &mut Report, servers: &Servers, pace: Pace) {
    report.section("Over HTTP with a token; the load generator runs on the same cores");
    let url = servers.database("http").await;
    let (ours, _) = Process::capitune(&url, servers).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = ours.memory();
    let peers = Process::peers(&url).await;
    let targets = Targets::prepare(ours.address, peers.address).await;
    for connections in CONNECTIONS {
        // The whole matrix with long rounds would take too long; the judged column has them.
        let time = if connections == JUDGED { pace.time } else { pace.time / 2 };
        let round = Round { connections, time, rounds: pace.rounds };
        targets.commands(report, round).await;
        targets.queries(report, round).await;
    }
    memory(report, idle, ours.memory());
    peers.stop().await;
    ours.stop().await;
}

struct Targets {
    ours: Target,
    crud: Target,
    stock: Target,
    query: Target,
}

impl Targets {
    async fn prepare(ours: SocketAddr, peers: SocketAddr) -> Self {
        let registering = (0..ACCOUNTS).map(|number| register(ours, number));
        let registered: Vec<(Uuid, Arc<str>)> = stream::iter(registering).buffered(2).collect().await;
        let tokens = || registered.iter().map(|(_, token)| token.clone());
        let peer_tokens = || registered.iter().map(|(id, _)| peers::token(*id).into());
        let ours = Target::prepare(ours, "/api/dossiers", tokens()).await;
        Self {
            crud: Target::prepare(peers, "/crud/dossiers", peer_tokens()).await,
            stock: Target::prepare(peers, "/stock/dossiers", peer_tokens()).await,
            query: ours.elsewhere(peers, "/query/dossiers", peer_tokens()),
            ours,
        }
    }

    async fn commands(&self, report: &mut Report, round: Round) {
        let Round { connections, rounds, .. } = round;
        for (operation, name) in [(Operation::Create, "create"), (Operation::Edit, "edit")] {
            let us = || self.ours.run_and_settle(operation, round);
            let crud = || self.crud.run(operation, round);
            let stock = || self.stock.run(operation, round);
            let [us, crud, stock] = in_turns(rounds, [&us, &crud, &stock]).await;
            let what = format!("{name}, {}", counted(connections, "connection"));
            let judged = connections == JUDGED;
            let goal = judged.then(|| Goal::at_least("P4", 3.5, "", us.rate / crud.rate));
            report.rates(&what, us, CRUD, crud, goal);
            if judged {
                let goal = Goal::at_most("P4", 0.5, "", us.p99.as_secs_f64() / crud.p99.as_secs_f64());
                report.latencies("the same: p99", us.p99, CRUD, crud.p99, Some(goal));
            }
            report.rates("the same", us, STOCK, stock, None);
        }
    }

    async fn queries(&self, report: &mut Report, round: Round) {
        let Round { connections, rounds, .. } = round;
        for (operation, name) in [(Operation::ReadById, "read by id"), (Operation::List, "list of 20")] {
            let us = || self.ours.run(operation, round);
            let query = || self.query.run(operation, round);
            let crud = || self.crud.run(operation, round);
            let [us, query, crud] = in_turns(rounds, [&us, &query, &crud]).await;
            let what = format!("{name}, {}", counted(connections, "connection"));
            let judged = connections == JUDGED;
            let goal = judged.then(|| Goal::at_least("P12", 0.9, "", us.rate / query.rate));
            report.rates(&what, us, QUERY, query, goal);
            report.rates("the same", us, CRUD, crud, None);
        }
    }
}

fn memory(report: &mut Report, idle: Option<(u64, u64)>, loaded: Option<(u64, u64)>) {
    let Some(((idle, _), (_, most))) = idle.zip(loaded) else {
        return;
    };
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    for (what, bytes, bound) in [("idle", idle, 100.0), ("at most, under this load", most, 300.0)] {
        let what = format!("memory of the whole system's process, {what}");
        let value = megabytes(bytes);
        let goal = Goal::at_most("P14", bound, " MB", value);
        report.value(&what, format!("{} MB", number(value)), Some(goal));
    }
}
