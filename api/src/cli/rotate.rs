//! `capitune rotate-signing-key`: another key for access tokens.

use super::CliError;
use super::connection::{Connection, Servers};
use crate::auth::{Rotation, rotate_signing_keys};
use crate::config::Config;

/// Makes a new key, and revokes the others when they were `stolen`.
///
/// # Errors
/// [`CliError`] when the database does not answer.
pub async fn run(config: &Config, stolen: bool) -> Result<(), CliError> {
    let connection = Connection::open(config, Servers::Attached).await?;
    let rotation = if stolen { Rotation::Now } else { Rotation::Soon };
    rotate_signing_keys(&connection.database.writes, rotation).await?;
    match stolen {
        true => println!(
            "A new key signs access tokens. Within seconds every node refuses what the others signed; whoever is \
             signed in goes on with their refresh token."
        ),
        false => println!("A new key is published, and signs access tokens in ten minutes."),
    }
    Ok(())
}
