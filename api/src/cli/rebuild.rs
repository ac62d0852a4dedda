//! `capitune rebuild`: a projection from the log, with a progress bar.

use super::connection::{Connection, Servers};
use super::progress::{bar, shown_on, until_interrupted};
use super::{CliError, Roles};
use crate::config::Config;

/// Rebuilds one projection. Ctrl-C leaves the old rows as they are.
///
/// # Errors
/// [`CliError`] when the new rows did not take over.
pub async fn run(config: &Config, name: &str) -> Result<(), CliError> {
    Roles::worker(&[name.to_owned()])?;
    let connection = Connection::open(config, Servers::Attached).await?;
    let store = connection.store(config).await?;
    let (cancel, bar) = (until_interrupted(), bar("events").with_message(name.to_owned()));
    let progress = shown_on(&bar);
    let rebuilt = projections::rebuild(name, &store, &connection.database, &cancel, &progress).await?;
    bar.finish_and_clear();
    println!("{name} was rebuilt up to position {}.", rebuilt.position);
    Ok(())
}
