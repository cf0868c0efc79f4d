//! The edge of the two programs: signals, the runtime, the one place that prints.

use std::process::ExitCode;
use std::time::Duration;

use shared::failure::Failure;
use tokio::signal::unix::{SignalKind, signal};

use crate::attempt::Attempt;

/// Ended by a signal, as a shell counts it.
const INTERRUPTED: u8 = 130;
const SHUTDOWN_SECONDS_MAX: u64 = 10;

/// Writes to standard output.
#[expect(clippy::print_stdout, reason = "the one place of this crate that prints")]
pub fn print(text: &str) {
    println!("{text}");
}

/// Writes to standard error.
#[expect(clippy::print_stderr, reason = "the one place of this crate that complains")]
pub fn complain(failure: &Failure) {
    eprintln!("error: {failure}");
    if let Some(hint) = &failure.hint {
        eprintln!("hint:  {hint}");
    }
}

/// Waits for Ctrl-C, SIGTERM or SIGHUP.
///
/// # Errors
/// When signals cannot be received.
pub async fn interrupted() -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).attempt("wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).attempt("wait for signals")?;
    let mut hang_up = signal(SignalKind::hangup()).attempt("wait for signals")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// Runs a program to its end or until a signal; either way everything that it started is ended before this returns.
pub fn run(program: impl Future<Output = Result<ExitCode, Failure>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&Failure::from_error(shared::failure::FailureKind::Other, &error));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            result = program => result,
            interrupted = interrupted() => interrupted.map(|()| ExitCode::from(INTERRUPTED)),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(SHUTDOWN_SECONDS_MAX));
    result.unwrap_or_else(|failure| {
        complain(&failure);
        ExitCode::FAILURE
    })
}
