//! Commands per second inside the process: against stock cqrs-es, against what Postgres can do, and by the lengths of
//! streams and log.

use std::sync::Arc;

use commands::Commands;
use futures::FutureExt;
use uuid::Uuid;

use crate::fill;
use crate::limits::Limits;
use crate::measure::{Figure, Pace, in_turns};
use crate::report::{Goal, Report, counted, number, rate, thousands};
use crate::servers::Servers;
use crate::write_side::{
    create_stock_table, open, open_stock, plain_pool, run, run_new, run_stock, run_stock_new, stock_streams, streams,
};

const CALLERS: [usize; 4] = [1, 8, 32, 64];
/// So many that none grows much while it is measured.
const STREAMS: usize = 10_000;
const LENGTH: usize = 16;
/// How many streams of which length.
const LENGTHS: [(usize, usize); 3] = [(500, LENGTH), (20, 1000), (1, 10_000)];
const STOCK: &str = "stock cqrs-es";
/// Events of the long log.
const LONG_LOG: usize = 1_000_000;
const LONGEST_LOG: usize = 10_000_000;

/// Our write side and stock's in one database.
struct Both {
    url: String,
    commands: Commands,
}

/// The whole section.
pub async fn measure(report: &mut Report, servers: &Servers, pace: Pace) {
    let (url, database, store) = servers.store("write_side").await;
    create_stock_table(&url).await;
    let commands = open(&database, &store).await;
    let both = Both { url, commands };
    report.section("Commands inside the process, one event each");
    let by_callers = by_callers(report, &both, pace).await;
    new_streams(report, &both, pace).await;
    hot_stream(report, &both, pace).await;
    by_length(report, &both, pace).await;
    report.section("The same, against what Postgres can do");
    limits(report, servers, by_callers, pace).await;
    report.section("The same, by the length of the log");
    by_log(report, servers, pace, ("P7 at 1 M", LONG_LOG)).await;
}

/// One section of the above with a log that takes long to write.
pub async fn measure_long_log(report: &mut Report, servers: &Servers, pace: Pace) {
    report.section("Commands inside the process, by the length of the log");
    by_log(report, servers, pace, ("P7", LONGEST_LOG)).await;
}

async fn by_callers(report: &mut Report, both: &Both, pace: Pace) -> [Figure; CALLERS.len()] {
    let pool = plain_pool(&both.url, 1).await;
    let ours = streams(&both.commands, STREAMS / pace.scale, LENGTH).await;
    let theirs = stock_streams(&pool, STREAMS / pace.scale, LENGTH).await;
    let mut figures = [Figure::default(); CALLERS.len()];
    for (callers, figure) in CALLERS.into_iter().zip(&mut figures) {
        let pool = plain_pool(&both.url, callers).await;
        let stock = open_stock(pool.clone());
        let us = || run(&both.commands, &ours, callers, pace.time).boxed();
        let them = || run_stock(&stock, &theirs, callers, pace.time).boxed();
        let [us, them] = in_turns(pace.rounds, [&us, &them]).await;
        pool.close().await;
        let what = format!("{}, streams of 16 events", counted(callers, "caller"));
        let judged = callers == 32;
        let goal = judged.then(|| Goal::at_least("P1", 8.0, "", us.rate / them.rate));
        report.rates(&what, us, STOCK, them, goal);
        if judged {
            let goal = Goal::at_most("P5", 0.3, "", us.p99.as_secs_f64() / them.p99.as_secs_f64());
            report.latencies("the same: p99", us.p99, STOCK, them.p99, Some(goal));
        }
        *figure = us;
    }
    figures
}

async fn new_streams(report: &mut Report, both: &Both, pace: Pace) {
    let pool = plain_pool(&both.url, 32).await;
    let stock = open_stock(pool.clone());
    let us = || run_new(&both.commands, 32, pace.time).boxed();
    let them = || run_stock_new(&stock, 32, pace.time).boxed();
    let [us, them] = in_turns(pace.rounds, [&us, &them]).await;
    pool.close().await;
    report.rates("32 callers, new streams", us, STOCK, them, None);
}

async fn hot_stream(report: &mut Report, both: &Both, pace: Pace) {
    let pool = plain_pool(&both.url, 32).await;
    let stock = open_stock(pool.clone());
    let ours = streams(&both.commands, 1, LENGTH).await;
    let theirs = stock_streams(&pool, 1, LENGTH).await;
    let us = || run(&both.commands, &ours, 32, pace.time).boxed();
    let them = || run_stock(&stock, &theirs, 32, pace.time).boxed();
    let [us, them] = in_turns(pace.rounds, [&us, &them]).await;
    pool.close().await;
    let goal = Goal::at_least("P3", 100.0, "", us.rate / them.rate);
    report.rates("32 callers, one hot stream", us, STOCK, them, Some(goal));
}

async fn by_length(report: &mut Report, both: &Both, pace: Pace) {
    let pool = plain_pool(&both.url, 1).await;
    let stock = open_stock(pool.clone());
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for (count, length) in LENGTHS {
        ours.push(streams(&both.commands, count, length).await);
        theirs.push(stock_streams(&pool, count, length).await);
    }
    let us = |n: usize| run(&both.commands, &ours[n], 1, pace.time).boxed();
    let them = |n: usize| run_stock(&stock, &theirs[n], 1, pace.time).boxed();
    let [us_16, them_16, us_1000, them_1000, us_10000, them_10000] =
        in_turns(pace.rounds, [&|| us(0), &|| them(0), &|| us(1), &|| them(1), &|| us(2), &|| them(2)]).await;
    pool.close().await;
    let pairs = [(us_16, them_16), (us_1000, them_1000), (us_10000, them_10000)];
    for ((_, length), (us, them)) in LENGTHS.into_iter().zip(pairs) {
        let what = format!("1 caller, warm streams of {} events", thousands(length as u64));
        report.rates(&what, us, STOCK, them, None);
    }
    let cost = us_16.rate / us_10000.rate;
    let goal = Goal::at_most("P6 warm", 1.2, "", cost);
    let theirs = format!("16 events: {}", rate(us_16));
    report.row(
        "the cost of a command at 10,000 events over that at 16",
        rate(us_10000),
        theirs,
        number(cost),
        Some(goal),
    );
}

async fn limits(report: &mut Report, servers: &Servers, commands: [Figure; CALLERS.len()], pace: Pace) {
    let limits = Limits::open(&servers.database("limits").await).await;
    let one = || limits.inserts(1, 1, pace.time).boxed();
    let many = || limits.inserts(32, 1, pace.time).boxed();
    let arrays = || limits.inserts(4, 100, pace.time).boxed();
    let copy = || limits.copies(pace.time).boxed();
    let [one, many, arrays, copy] = in_turns(pace.rounds, [&one, &many, &arrays, &copy]).await;
    let [alone, _, thirty_two, most] = commands;
    report.rates("1 caller", alone, "rows inserted one by one, 1 connection", one, None);
    report.rates("32 callers", thirty_two, "rows inserted one by one, 32 connections", many, None);
    report.rates("64 callers", most, "rows inserted by 100, 4 connections", arrays.without_latency(), None);
    report.rates("64 callers", most, "rows by COPY", copy.without_latency(), None);
}

async fn by_log(report: &mut Report, servers: &Servers, pace: Pace, (goal, events): (&'static str, usize)) {
    let (empty, empty_ids) = log_of(servers, "short_log", 0, pace).await;
    report.progress("filling a log");
    let events = events / pace.scale;
    let (full, full_ids) = log_of(servers, "long_log", events, pace).await;
    for callers in [1, 32] {
        let at_empty = || run(&empty, &empty_ids, callers, pace.time).boxed();
        let at_full = || run(&full, &full_ids, callers, pace.time).boxed();
        let [at_empty, at_full] = in_turns(pace.rounds, [&at_empty, &at_full]).await;
        let cost = at_empty.rate / at_full.rate;
        let goal = Goal::at_most(goal, 1.2, "", cost);
        let (callers, events) = (counted(callers, "caller"), thousands(events as u64));
        let what = format!("{callers}: the cost of a command at {events} events over that at none");
        let theirs = format!("empty log: {}", rate(at_empty));
        report.row(&what, rate(at_full), theirs, number(cost), Some(goal));
    }
}

/// A log that begins with so many events, and warm streams of 16 at its end.
async fn log_of(servers: &Servers, name: &str, events: usize, pace: Pace) -> (Commands, Arc<Vec<Uuid>>) {
    let (_, database, store) = servers.store(name).await;
    fill::append(&database, &store, events).await;
    let commands = open(&database, &store).await;
    let ids = streams(&commands, STREAMS / 10 / pace.scale, LENGTH).await;
    (commands, ids)
}
