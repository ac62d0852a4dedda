//! `capitune rebuild` and `capitune rollback`: a projection from the log, with a progress bar, and back again.

use event_store::StoreError;
use projections::{RebuildError, Remade};
use uuid::Uuid;

use super::connection::{Connection, Servers};
use super::progress::{bar, shown_on, until_interrupted};
use super::{CliError, Roles};
use crate::config::Config;

/// Rebuilds one projection, or goes on with a rebuild that was interrupted. Ctrl-C leaves the old rows as they are.
///
/// # Errors
/// [`CliError`] when the new rows did not take over.
pub async fn run(config: &Config, name: &str) -> Result<(), CliError> {
    Roles::worker(&[name.to_owned()])?;
    let connection = Connection::open(config, Servers::Attached).await?;
    let store = connection.store(config).await?;
    let (cancel, bar) = (until_interrupted(), bar("events").with_message(name.to_owned()));
    let progress = shown_on(&bar);
    let rebuilt = projections::rebuild(name, &store, &connection.database, &cancel, &progress).await;
    bar.finish_and_clear();
    if matches!(rebuilt, Err(RebuildError::Cancelled)) {
        // Otherwise a worker would go on with it.
        projections::cancel_rebuild(&connection.database.writes, name).await.map_err(StoreError::from)?;
    }
    let rebuilt = rebuilt?;
    println!("{name} was rebuilt up to position {}.", rebuilt.position);
    Ok(())
}

/// Makes the rows of one aggregate anew. Ctrl-C leaves the old ones as they are.
///
/// # Errors
/// [`CliError`] when the new rows did not take their place.
pub async fn aggregate(config: &Config, name: &str, id: Uuid) -> Result<(), CliError> {
    Roles::worker(&[name.to_owned()])?;
    let connection = Connection::open(config, Servers::Attached).await?;
    let store = connection.store(config).await?;
    let (cancel, bar) = (until_interrupted(), bar("events").with_message(name.to_owned()));
    let progress = shown_on(&bar);
    let remade = projections::rebuild_aggregate(name, id, &store, &connection.database, &cancel, &progress).await;
    bar.finish_and_clear();
    let Remade { position, rows, changed } = remade?;
    println!("{rows} rows of {name} were made anew as of position {position}; {changed} were not what the log says.");
    Ok(())
}

/// Puts the rows that the last rebuild replaced back in their place.
///
/// # Errors
/// [`CliError`] when there are none, or they are of another version.
pub async fn roll_back(config: &Config, name: &str) -> Result<(), CliError> {
    Roles::worker(&[name.to_owned()])?;
    let connection = Connection::open(config, Servers::Attached).await?;
    let store = connection.store(config).await?;
    let rolled_back = projections::roll_back(name, &store, &connection.database).await?;
    println!(
        "{name} shows its earlier rows, of position {}; what came later is applied to them.",
        rolled_back.position
    );
    Ok(())
}
