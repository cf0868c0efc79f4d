//! The functions' binaries: built by cargo from this checkout, beside this program, so that what runs is what the source says.

use std::path::PathBuf;

use shared::failure::{Context, Failure};

use crate::attempt::failed;
use crate::host::{Target, checkout};
use crate::process::Job;
use crate::progress::Progress;

/// The functions, each a package with a binary of its name.
pub const FUNCTIONS: [&str; 9] =
    ["snapshot", "logical-dump", "backup-verify", "retention", "restore-drill", "integrity-check", "rotate-secret", "canary", "notify-slack"];

/// Builds the functions and gives the folder with their binaries. `local` is built along, so that cargo settles on the same features as for this
/// program and compiles nothing twice.
///
/// # Errors
/// When cargo is missing or the build fails; its messages are on standard error.
pub async fn build(target: &Target, progress: &Progress) -> Result<PathBuf, Failure> {
    // Set by cargo for what it runs; else whatever the path has.
    let cargo = shared::env::process("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let mut job = Job::new(cargo).inherit_environment().folder(checkout()).args(["build", "--quiet", "--package", "local"]);
    for function in FUNCTIONS {
        job = job.args(["--package", function, "--bin", function]);
    }
    let job = job.args(["--profile", &target.profile_name(), "--target-dir"]).args([&target.folder]);
    if progress.is_shown() {
        progress.step("building the functions");
        job.run_shown().await.context("build the functions")?;
    } else {
        job.run_well().await.context("build the functions")?;
    }
    for function in FUNCTIONS {
        if !target.profile.join(function).is_file() {
            return Err(failed(format!("cargo left no {function} in {}", target.profile.display())));
        }
    }
    Ok(target.profile.clone())
}
