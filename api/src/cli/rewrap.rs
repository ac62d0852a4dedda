//! `capitune rewrap`: from one master key to another, with a progress bar.

use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;
use super::connection::{Connection, Servers};
use crate::config::Config;

/// Wraps everything by the first master key.
///
/// # Errors
/// [`CliError`] when the database does not answer, or when no master key that is given opens what it holds.
pub async fn run(config: &Config) -> Result<(), CliError> {
    let connection = Connection::open(config, Servers::Attached).await?;
    let store = connection.store(config).await?;
    let bar = ProgressBar::new(0).with_style(style());
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let rewrapped = store.vault().rewrap(progress).await?;
    bar.finish_and_clear();
    println!("{rewrapped} keys were wrapped anew. The first master key opens everything; the others can be given up.");
    Ok(())
}

fn style() -> ProgressStyle {
    let template = "{wide_bar} {human_pos}/{human_len} keys, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
