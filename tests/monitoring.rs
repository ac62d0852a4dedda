//! What is watched is there: page, dashboard and alert rules name the metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::process::Process;
use crate::support::{database_url, eventually};

/// Those that show only once something has gone wrong, or that needs a setting.
const SELDOM: [&str; 6] = [
    "capitune_accesses_not_recorded_total",
    "capitune_audit_witness_failing",
    "capitune_audit_witness_size",
    "capitune_commands_decided_again_total",
    "capitune_mails_total",
    "capitune_projection_retries_total",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The metrics that a text names, without what Prometheus adds to histograms.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !word(c)).filter(|word| word.starts_with("capitune_"));
    let metric = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    words.map(metric).collect()
}

/// The metrics that the code writes.
fn written() -> BTreeSet<String> {
    let mut todo: Vec<PathBuf> = ["api/src", "commands", "projections/src"].map(|folder| root().join(folder)).to_vec();
    let mut found = BTreeSet::new();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let quoted = text.split('"').skip(1).step_by(2).filter(|quoted| named(quoted).contains(*quoted));
            found.extend(quoted.map(str::to_owned));
        }
    }
    // Channels and roles of Postgres are called so, too, and tokens begin so.
    let others = ["capitune_", "capitune_appended", "capitune_app", "capitune_reader", "capitune_checkpoints"];
    found.retain(|name| !others.contains(&name.as_str()));
    found
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

#[test]
fn the_page_describes_every_metric_and_no_other() {
    assert_eq!(named(&page("monitoring.md")), written());
}

#[test]
fn the_dashboard_and_the_rules_show_every_metric_that_matters_and_no_other() {
    let dashboard: Value = serde_json::from_str(&page("monitoring/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queried: BTreeSet<String> = queries.flat_map(|query| named(query["expr"].as_str().unwrap())).collect();
    let watched = named(&page("monitoring/alerts.yml"));
    let written = written();
    let unknown: Vec<_> = queried.union(&watched).filter(|name| !written.contains(*name)).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    let shown: BTreeSet<String> = queried.union(&watched).cloned().collect();
    let left_out: Vec<_> = written.difference(&shown).collect();
    // Positions are for the eye of who looks for something.
    assert_eq!(left_out, ["capitune_projection_position", "capitune_relay_position"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_system_shows_what_is_watched() {
    let process = Process::api(&database_url().await, &[]).await;
    let ada = process.client().register("Ada").await;
    ada.create_dossier("A request").await;
    let expected: BTreeSet<String> = written().into_iter().filter(|name| !SELDOM.contains(&name.as_str())).collect();
    eventually("everything is shown", async || {
        let shown = process.client().get("/metrics").await.expect(200);
        let shown = named(shown.body.as_str().unwrap());
        expected.is_subset(&shown)
    })
    .await;
}
