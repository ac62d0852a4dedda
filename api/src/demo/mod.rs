//! `capitune demo`: believable people and dossiers, made through the HTTP API like anybody's.

mod client;
mod dossiers;
mod guide;
mod people;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{CliError, Connection, Ending, Roles, Servers, System, welcome};
use crate::config::Config;
use client::Client;
use people::Cast;

/// What everybody in the demonstration signs in with.
const PASSWORD: &str = "capitune-demo";

/// Why a demonstration could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The API cannot be reached.
    #[error("the API cannot be reached: {0}")]
    Http(#[from] reqwest::Error),
    /// The API refused something.
    #[error("{request} was answered with {status} ({code})")]
    Refused {
        /// The method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The code of the problem.
        code: String,
    },
    /// The admin is needed, who gives roles.
    #[error(
        "the demonstration needs an administrator: set CAPITUNE_ADMIN_EMAIL and CAPITUNE_ADMIN_PASSWORD to the ones \
         that the system was started with, or CAPITUNE_DATA_DIR to its data directory"
    )]
    NoAdmin,
}

/// Fills the system that runs, or one that it starts and then leaves running.
///
/// # Errors
/// [`CliError`] when the system does not start, or when it refuses what the demonstration does.
pub async fn run(config: &Config, dossiers: u32) -> Result<(), CliError> {
    let client = Client::new(config.listen)?;
    if client.is_there().await {
        return Ok(fill(config, &with_pass(config, client).await, dossiers).await?);
    }
    let system = System::start(config, Servers::Own, Roles::all()).await?;
    let filled = fill(config, &with_pass(config, client).await, dossiers).await;
    if filled.is_err() {
        system.end().await;
        return Ok(filled?);
    }
    system.run(Ending::watch()?).await
}

/// Without the system's master key the demonstration respects its limits, and takes its time.
async fn with_pass(config: &Config, client: Client) -> Client {
    let store = async { Connection::open(config, Servers::Attached).await?.store(config).await };
    match store.await {
        Ok(store) => client.with_pass(store),
        Err(_) => client,
    }
}

async fn fill(config: &Config, client: &Client, dossiers: u32) -> Result<(), DemoError> {
    let (email, password) = admin(config).ok_or(DemoError::NoAdmin)?;
    let admin = client.sign_in(&email, &password).await?;
    let bar = ProgressBar::new(u64::from(dossiers)).with_style(style()).with_message("people");
    let cast = Cast::gather(client, &admin).await?;
    bar.set_message("dossiers");
    let decided = dossiers::make(client, &cast, dossiers, &bar).await?;
    bar.finish_and_clear();
    guide::print(client, &cast, decided.as_deref());
    Ok(())
}

/// How the admin signs in: by the settings, or by the note that an embedded system keeps.
fn admin(config: &Config) -> Option<(String, String)> {
    if let Some(admin) = &config.admin {
        return Some((admin.email.expose().to_owned(), admin.password.expose().to_owned()));
    }
    let note = std::fs::read(config.data_dir.join(welcome::FIRST_ADMIN_FILE)).ok()?;
    let note: welcome::FirstAdminNote = serde_json::from_slice(&note).ok()?;
    Some((note.email, note.password))
}

fn style() -> ProgressStyle {
    let template = "{msg:>8} {wide_bar} {pos}/{len} {per_sec}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
