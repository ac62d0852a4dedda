//! `capitune rewrap`: from one master key to another, with a progress bar.

use super::CliError;
use super::connection::{Connection, Servers};
use super::progress::{bar, shown_on};
use crate::config::Config;

/// Wraps everything by the first master key.
///
/// # Errors
/// [`CliError`] when the database does not answer, or when no master key that is given opens what it holds.
pub async fn run(config: &Config) -> Result<(), CliError> {
    let connection = Connection::open(config, Servers::Attached).await?;
    let store = connection.store(config).await?;
    let bar = bar("keys");
    let rewrapped = store.vault().rewrap(shown_on(&bar)).await?;
    bar.finish_and_clear();
    println!("{rewrapped} keys were wrapped anew. The first master key opens everything; the others can be given up.");
    Ok(())
}
