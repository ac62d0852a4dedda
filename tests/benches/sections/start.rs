//! How soon the system is ready to serve.

use std::time::Duration;

use crate::measure::Pace;
use crate::process::Process;
use crate::report::{Goal, Report, latency};
use crate::servers::{Scratch, Servers};

/// The whole section.
pub async fn measure(report: &mut Report, servers: &Servers, pace: Pace) {
    report.section("From the start of the process until it is ready");
    let directory = Scratch::new(&servers.parent, "start");
    let (first, elapsed) = Process::capitune_embedded(directory.path()).await;
    first.stop().await;
    report.value("first start, with its own servers", latency(elapsed), None);
    let mut times = Vec::new();
    for _ in 0..pace.rounds {
        let (again, elapsed) = Process::capitune_embedded(directory.path()).await;
        again.stop().await;
        times.push(elapsed);
    }
    let elapsed = middle(times);
    let goal = Goal::within("P15", Duration::from_secs(3), elapsed);
    report.value("second start, with its own servers", latency(elapsed), Some(goal));
    let url = servers.database("start").await;
    let (first, _) = Process::capitune(&url, servers).await;
    first.stop().await;
    let mut times = Vec::new();
    for _ in 0..pace.rounds {
        let (again, elapsed) = Process::capitune(&url, servers).await;
        again.stop().await;
        times.push(elapsed);
    }
    let elapsed = middle(times);
    let goal = Goal::within("P15", Duration::from_millis(100), elapsed);
    report.value("second start, on servers that are given", latency(elapsed), Some(goal));
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
