//! `make bench`: measures Capitune beside its peers on this machine and prints a table.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

mod crud;
mod fill;
mod limits;
mod load;
mod measure;
mod peers;
mod process;
mod report;
mod sections;
mod servers;
mod target;
mod visibility;
mod write_side;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};

use measure::Pace;
use report::Report;
use servers::Servers;

const FULL: Pace = Pace { rounds: 3, time: Duration::from_millis(2000), scale: 1 };
const QUICK: Pace = Pace { rounds: 1, time: Duration::from_millis(500), scale: 10 };

/// Measures Capitune beside its peers on this machine and prints a table.
#[derive(Parser)]
struct Options {
    /// What to measure; everything but the long log when nothing is named.
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// Single, short rounds on little data: shows that it runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Puts the table into docs/performance.md as well.
    #[arg(long)]
    write: bool,
    /// Where to make the data directories; it decides which disk is measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    data: PathBuf,
    /// Serves the peers; the benchmark starts itself so.
    #[arg(long, hide = true)]
    peers: bool,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Commands inside the process.
    Write,
    /// Commands at the end of a log of ten million events, which needs 20 GB.
    LongLog,
    /// Commands and queries over HTTP.
    Http,
    /// Commands over HTTP while others log in.
    LogIns,
    /// Relay, projections, rebuild, latency until visible.
    Read,
    /// Sealing, verifying, proving.
    Audit,
    /// Rebuilding beside readers, tables for analysts.
    Tables,
    /// Starting.
    Start,
}

// That of the binary, for every contender.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let options = Options::parse();
    api::install_tls();
    if options.peers {
        return peers::serve(&std::env::var("DATABASE_URL").unwrap()).await;
    }
    let named = |section| options.sections.contains(&section);
    let wanted = |section| options.sections.is_empty() || named(section);
    let pace = if options.quick { QUICK } else { FULL };
    let servers = Servers::start(&options.data).await;
    let mut report = Report::new(servers.machine().await);
    if wanted(Section::Write) {
        sections::write::measure(&mut report, &servers, pace).await;
    }
    if named(Section::LongLog) {
        sections::write::measure_long_log(&mut report, &servers, pace).await;
    }
    if wanted(Section::Http) {
        sections::http::measure(&mut report, &servers, pace).await;
    }
    if wanted(Section::LogIns) {
        sections::log_ins::measure(&mut report, &servers, pace).await;
    }
    if wanted(Section::Read) {
        sections::read::measure(&mut report, &servers, pace).await;
    }
    if wanted(Section::Audit) {
        sections::audit::measure(&mut report, &servers, pace).await;
    }
    if wanted(Section::Tables) {
        sections::tables::measure(&mut report, &servers, pace).await;
    }
    if wanted(Section::Start) {
        sections::start::measure(&mut report, &servers, pace).await;
    }
    servers.stop().await;
    println!("{}", report.markdown());
    if options.write {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        report.write_into(&page).unwrap();
    }
}
