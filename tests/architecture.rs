//! The boundaries between the crates, asserted.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn manifest(crate_path: &str) -> String {
    fs::read_to_string(root().join(crate_path).join("Cargo.toml")).unwrap()
}

/// Every Rust file below `folder`.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut todo = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

#[test]
fn the_domain_does_no_input_or_output() {
    let manifest = manifest("domain");
    for forbidden in ["tokio", "sqlx", "axum", "async-nats", "reqwest", "event_store", "commands", "projections"] {
        assert!(!manifest.contains(forbidden), "domain depends on {forbidden}");
    }
    for (path, text) in sources("domain/src") {
        for forbidden in ["Utc::now", "async fn", "Uuid::now_v7", "Uuid::new_v4", "std::fs", "std::net", "std::env"] {
            let tests = path.ends_with("tests.rs") || path.ends_with("golden.rs");
            assert!(tests || !text.contains(forbidden), "{} uses {forbidden}", path.display());
        }
    }
}

#[test]
fn the_write_side_and_the_read_side_do_not_know_each_other() {
    assert!(!manifest("commands").contains("projections"));
    assert!(!manifest("projections").contains("commands.workspace"));
    assert!(!manifest("commands/event_store").contains("projections"));
}

#[test]
fn one_file_knows_cqrs_es() {
    for folder in ["domain/src", "commands/src", "commands/event_store/src", "projections/src", "api/src"] {
        for (path, text) in sources(folder) {
            let knows = text.contains("cqrs_es") || text.contains("postgres_es");
            assert!(!knows || path.ends_with("event_sourced.rs"), "{} names cqrs-es", path.display());
        }
    }
}

#[test]
fn nobody_opens_a_transaction_on_the_pool_of_reads() {
    for folder in ["commands", "projections/src", "api/src"] {
        for (path, text) in sources(folder) {
            assert!(!text.contains("reads.begin()"), "{} begins on the pool of reads", path.display());
        }
    }
}

#[test]
fn the_documented_settings_are_those_of_the_binary() {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, rest) = page.split_once("<!-- capitune config --markdown -->\n").unwrap();
    let (documented, _) = rest.split_once("<!-- end -->").unwrap();
    assert_eq!(documented.trim(), api::config::markdown().trim(), "paste what `capitune config --markdown` prints");
}
