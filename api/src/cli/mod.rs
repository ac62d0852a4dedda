//! The command line: which role of the system to run, and tools beside it.

mod audit;
mod connection;
mod ending;
mod error;
mod history;
mod import;
mod progress;
mod rebuild;
mod restored;
mod rewrap;
mod rotate;
mod settings;
mod system;
mod verify;
pub(crate) mod welcome;

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use uuid::Uuid;

pub use ending::Ending;
pub use error::CliError;
pub use system::{Roles, System};

use crate::config::Config;
use crate::{demo, telemetry};
pub use connection::{Connection, Servers};

/// Capitune: application files, their review and their history.
///
/// Without a command it runs the whole system. With neither DATABASE_URL nor NATS_URL set it starts its own Postgres
/// and nats-server; a role or tool that is started beside a running system finds them in its data directory.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API
    Api,
    /// Publish the log to JetStream
    Relay,
    /// Keep read models up to date
    Worker {
        /// Which projections, separated by commas; all when not given
        #[arg(long, value_delimiter = ',')]
        projections: Vec<String>,
    },
    /// Apply the migrations and stop
    Migrate,
    /// Rebuild a projection from the log, while its old rows go on being read
    Rebuild {
        /// The projection's name
        name: String,
        /// The rows of this aggregate alone, with those of all that shares its partition key
        #[arg(long, value_name = "ID")]
        aggregate: Option<Uuid>,
    },
    /// Put the rows that the last rebuild replaced back in their place, within a day of it
    Rollback {
        /// The projection's name
        name: String,
    },
    /// Compare read models with what the log makes of them; nobody who reads or writes notices
    Verify {
        /// The projections' names; all when not given
        names: Vec<String>,
    },
    /// Say, before anything is started, that the database was restored from a backup
    Restored,
    /// Wrap every person's key by the first of several master keys, so that the others can be given up
    Rewrap,
    /// Sign access tokens with a new key from now on; it changes by itself every month
    RotateSigningKey {
        /// The other keys were stolen: refuse at once what they signed
        #[arg(long)]
        stolen: bool,
    },
    /// Open accounts for the people of another system, with the passwords that they have there
    ImportAccounts {
        /// One JSON object per line: email, name, passwordHash (bcrypt or argon2id), locale, emailVerified
        file: PathBuf,
    },
    /// Prove that the log is as it was recorded
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Print what became of a dossier, with personal values opened
    History {
        /// The dossier's id
        id: Uuid,
        /// As JSON, one event per line
        #[arg(long)]
        json: bool,
    },
    /// Print every setting, where it comes from and what it does
    Config {
        /// As a Markdown table of what can be set
        #[arg(long)]
        markdown: bool,
    },
    /// Fill a system with believable people and dossiers, starting one when none runs
    Demo {
        /// How many dossiers
        #[arg(long, default_value_t = 300)]
        dossiers: u32,
    },
}

/// Does what the command line says.
///
/// # Errors
/// [`CliError`] with a sentence for the operator.
pub async fn run(arguments: Arguments) -> Result<(), CliError> {
    match execute(arguments).await {
        // Who reads the first lines only has read enough.
        Err(CliError::Io(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

async fn execute(arguments: Arguments) -> Result<(), CliError> {
    match arguments.command {
        None => serve(Servers::Own, Roles::all()).await,
        Some(Command::Api) => serve(Servers::Attached, Roles::api()).await,
        Some(Command::Relay) => serve(Servers::Attached, Roles::relay()).await,
        Some(Command::Worker { projections }) => serve(Servers::Attached, Roles::worker(&projections)?).await,
        Some(Command::Migrate) => migrate(&configured()?).await,
        Some(Command::Rebuild { name, aggregate: None }) => rebuild::run(&configured()?, &name).await,
        Some(Command::Rebuild { name, aggregate: Some(id) }) => rebuild::aggregate(&configured()?, &name, id).await,
        Some(Command::Rollback { name }) => rebuild::roll_back(&configured()?, &name).await,
        Some(Command::Verify { names }) => verify::run(&configured()?, &names).await,
        Some(Command::Restored) => restored::run(&configured()?).await,
        Some(Command::Rewrap) => rewrap::run(&configured()?).await,
        Some(Command::RotateSigningKey { stolen }) => rotate::run(&configured()?, stolen).await,
        Some(Command::ImportAccounts { file }) => import::run(&configured()?, &file).await,
        Some(Command::Audit(audit)) => audit::run(&configured()?, audit).await,
        Some(Command::History { id, json }) => history::run(&configured()?, id, json).await,
        Some(Command::Demo { dossiers }) => demo::run(&configured()?, dossiers).await,
        Some(Command::Config { markdown }) => settings::print(markdown),
    }
}

async fn serve(servers: Servers, roles: Roles) -> Result<(), CliError> {
    // Before anything else: who is asked to end while still starting has nothing to be sorry for.
    let mut ending = Ending::watch()?;
    let config = configured()?;
    tokio::select! {
        () = ending.asked() => Ok(()),
        system = System::start(&config, servers, roles) => system?.run(ending).await,
    }
}

async fn migrate(config: &Config) -> Result<(), CliError> {
    let connection = Connection::open(config, Servers::Attached).await?;
    connection.migrate().await?;
    println!("The database is up to date.");
    Ok(())
}

fn configured() -> Result<Config, CliError> {
    let config = Config::load()?;
    telemetry::log(&config.log, config.log_format);
    Ok(config)
}
