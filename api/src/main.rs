//! The binary `capitune`: the whole system, or one of its roles.

use std::process::ExitCode;

use api::cli::{Arguments, run};
use clap::Parser;

// Commands are many small short-lived pieces of JSON; the system's allocator takes a third of their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    api::install_tls();
    // What a panic says may quote what it was about.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a task panicked");
    }));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("capitune: no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capitune: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
