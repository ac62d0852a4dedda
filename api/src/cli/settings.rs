//! `capitune config`: every setting, where it comes from and what it does.

use std::io::{self, Write};

use super::CliError;
use crate::config::{Config, markdown};

/// Prints the settings as they are, or what can be set.
///
/// # Errors
/// [`CliError`] for a setting that is unknown.
pub fn print(as_markdown: bool) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    if as_markdown {
        write!(out, "{}", markdown())?;
        return Ok(());
    }
    for effective in Config::effective()? {
        let setting = effective.setting;
        let value = if effective.value.is_empty() { "–" } else { &effective.value };
        writeln!(out, "{} = {value}  ({})", setting.name, effective.origin)?;
        writeln!(out, "    {}; {}", setting.description, setting.accepted)?;
    }
    // Says what is wrong with them, too.
    Config::load().map(drop).map_err(CliError::from)
}
