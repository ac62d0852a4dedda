//! What is said when the API is ready: where to go.

use std::io::{self, Write};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::auth::NewAdmin;
use crate::config::Config;
use crate::embedded::{Embedded, write_private};

/// In the data directory: how the first admin logs in.
pub const FIRST_ADMIN_FILE: &str = "first-admin.json";

/// How the first admin logs in.
#[derive(Serialize, Deserialize)]
pub struct FirstAdminNote {
    /// The address.
    pub email: String,
    /// The password.
    pub password: String,
}

/// Says where to go.
///
/// # Errors
/// When the terminal cannot be written to.
pub fn print(
    config: &Config,
    embedded: Option<&Embedded>,
    address: SocketAddr,
    admin: Option<NewAdmin>,
) -> Result<(), io::Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "Capitune is ready.\n")?;
    writeln!(out, "  API          http://{address}/api")?;
    writeln!(out, "  docs         http://{address}/docs")?;
    writeln!(out, "  health       http://{address}/health/ready")?;
    match config.metrics_listen {
        Some(metrics) => writeln!(out, "  metrics      http://{metrics}/metrics")?,
        None => writeln!(out, "  metrics      http://{address}/metrics")?,
    }
    if let Some(embedded) = embedded {
        writeln!(out, "  data         {}", embedded.data_dir().display())?;
        if config.smtp_url.is_none() {
            writeln!(out, "  mail         http://{address}/dev/mailbox")?;
        }
    }
    if let Some(NewAdmin { email, generated_password }) = admin {
        writeln!(out, "  first admin  {email}")?;
        if let Some(password) = generated_password {
            writeln!(out, "  password     {password}   (shown this once)")?;
        }
    }
    writeln!(out, "\n  `capitune demo` in another terminal fills it with examples; Ctrl-C ends it.")?;
    out.flush()
}

/// Keeps a made-up password where only this user can read it, when there is such a place.
///
/// # Errors
/// When the data directory cannot be written to.
pub fn keep(embedded: Option<&Embedded>, email: &str, password: &str) -> Result<(), io::Error> {
    let Some(embedded) = embedded else { return Ok(()) };
    let note = FirstAdminNote { email: email.to_owned(), password: password.to_owned() };
    write_private(&embedded.data_dir().join(FIRST_ADMIN_FILE), &serde_json::to_vec_pretty(&note)?)
}
