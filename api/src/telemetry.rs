//! Logs and metrics of a process.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// Upper bounds of the buckets of sizes.
const COUNTS: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 500.0];
/// What libraries say again and again without need; whoever wants it can ask for it.
const QUIET: &str = "sqlx::postgres::notice=error,async_nats=warn";
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts to log to standard error. A filter that is none was refused with the settings.
pub fn log(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}")).unwrap_or_default();
    // Colours are for people at a terminal; files and log collectors get plain text.
    let colours = std::io::stderr().is_terminal();
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // It fails only when something logs already, as tests do.
    match format {
        LogFormat::Text => logging.with_target(false).try_init().ok(),
        LogFormat::Json => logging.json().try_init().ok(),
    };
}

/// Starts to collect metrics, once per process; the handle renders them for Prometheus.
///
/// # Errors
/// [`BuildError`] when something else collects them.
pub fn metrics() -> Result<PrometheusHandle, BuildError> {
    use metrics_exporter_prometheus::Matcher::Suffix;
    static COLLECTING: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut collecting = COLLECTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*collecting {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Suffix("_commands".to_owned()), &COUNTS)?
        .install_recorder()?;
    let upkeep = collecting.insert(handle.clone()).clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
