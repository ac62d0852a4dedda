//! `capitune restored`: once, after the database was brought back from a backup and before anything is started on it.

use event_store::LogId;

use super::CliError;
use super::connection::{Connection, Servers};
use crate::config::Config;

/// Raises the log's generation.
///
/// # Errors
/// [`CliError`] when the database does not answer, or when a system is at work on the data directory.
pub async fn run(config: &Config) -> Result<(), CliError> {
    let mut connection = Connection::open(config, Servers::Own).await?;
    let raised = LogId::raise_generation(&connection.database).await;
    if let Some(embedded) = connection.embedded.take() {
        embedded.stop().await;
    }
    println!(
        "The log is of generation {} now: streams and read models of before are believed no more, and made anew.",
        raised?.generation
    );
    Ok(())
}
