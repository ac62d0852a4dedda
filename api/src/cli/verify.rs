//! `capitune verify`: whether read models are what the log says, with a progress bar.

use projections::{Drift, DriftKind, NAMES};

use super::connection::{Connection, Servers};
use super::progress::{bar, shown_on, until_interrupted};
use super::{CliError, Roles};
use crate::config::Config;

/// Verifies these projections, or all when none are named. Ctrl-C leaves nothing behind.
///
/// # Errors
/// [`CliError::Drifted`] when rows are not what the log says, others when that cannot be told.
pub async fn run(config: &Config, names: &[String]) -> Result<(), CliError> {
    Roles::worker(names)?;
    let names: Vec<&str> = if names.is_empty() { NAMES.to_vec() } else { names.iter().map(String::as_str).collect() };
    let connection = Connection::open(config, Servers::Attached).await?;
    let store = connection.store(config).await?;
    let cancel = until_interrupted();
    let mut drifted = 0;
    for name in names {
        let bar = bar("events").with_message(name.to_owned());
        let progress = shown_on(&bar);
        let verified = projections::verify(name, &store, &connection.database, &cancel, &progress).await?;
        bar.finish_and_clear();
        println!("{name}: {} rows at position {}, {} drifted", verified.rows, verified.position, verified.drifted);
        verified.drifts.iter().for_each(|drift| println!("  {}", line(drift)));
        let more = verified.drifted - verified.drifts.len() as u64;
        if more > 0 {
            println!("  … and {more} more");
        }
        drifted += verified.drifted;
    }
    if drifted == 0 { Ok(()) } else { Err(CliError::Drifted(drifted)) }
}

fn line(drift: &Drift) -> String {
    let Drift { table, key, kind, event } = drift;
    let kind = match kind {
        DriftKind::Different => "is not what the log says",
        DriftKind::Missing => "is missing",
        DriftKind::Surplus => "is nothing that the log knows of",
    };
    let event = event.as_ref().map(|(position, name)| format!("; its last event is {name} at {position}"));
    format!("{table} {key} {kind}{}", event.unwrap_or_default())
}
