//! Commands over HTTP while others log in as fast as passwords can be hashed, against the same while nobody does.

use std::sync::Arc;

use futures::{StreamExt, stream};

use crate::measure::{Pace, in_turns};
use crate::process::Process;
use crate::report::{Goal, Report, counted};
use crate::servers::Servers;
use crate::target::{Operation, Round, Target, register};

/// Connections that send commands.
const CONNECTIONS: [usize; 3] = [1, 8, 32];
/// How many log in at once: more than can be hashed for.
const LOG_INS: usize = 16;
const ACCOUNTS: usize = 32;

/// The whole section.
pub async fn measure(report: &mut Report, servers: &Servers, pace: Pace) {
    report.section("Commands while others log in");
    let (ours, _) = Process::capitune(&servers.database("log_ins").await, servers).await;
    let registering = (0..ACCOUNTS).map(|number| register(ours.address, number));
    let tokens: Vec<Arc<str>> = stream::iter(registering).buffered(2).map(|(_, token)| token).collect().await;
    let target = Target::prepare(ours.address, "/api/dossiers", tokens.into_iter()).await;
    for connections in CONNECTIONS {
        let round = Round { connections, time: pace.time * 2, rounds: pace.rounds };
        let alone = || target.run_and_settle(Operation::Edit, round);
        let beside = || target.run_beside_log_ins(Operation::Edit, round, LOG_INS);
        let [alone, beside] = in_turns(round.rounds, [&alone, &beside]).await;
        let what = format!("p99 of edits beside log-ins, {}", counted(connections, "connection"));
        let goal = Goal::at_most("log-ins", 1.25, "", beside.p99.as_secs_f64() / alone.p99.as_secs_f64());
        report.latencies(&what, beside.p99, "the same while nobody logs in", alone.p99, Some(goal));
    }
    ours.stop().await;
}
