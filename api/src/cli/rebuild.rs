//! `capitune rebuild`: a projection from the log, with a progress bar.

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Servers};
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
    let cancel = CancellationToken::new();
    let interrupted = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let bar = ProgressBar::new(0).with_style(style()).with_message(name.to_owned());
    let shown = bar.clone();
    let progress = move |done, total| {
        shown.set_length(total);
        shown.set_position(done);
    };
    let rebuilt = projections::rebuild(name, &store, &connection.database, &cancel, &progress).await?;
    bar.finish_and_clear();
    println!("{name} was rebuilt up to position {}.", rebuilt.position);
    Ok(())
}

fn style() -> ProgressStyle {
    let template = "{msg} {wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
