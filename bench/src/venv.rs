//! Python programs that we are measured against, in virtual environments below the target folder; made on the first use, of versions that are written down.

use std::path::{Path, PathBuf};

use local::process::Job;
use shared::failure::{Context, Failure};

/// The `aws` of `bench/awscli.txt`.
///
/// # Errors
/// When Python or the network is missing.
pub async fn aws_command_line(target_folder: &Path, checkout: &Path) -> Result<PathBuf, Failure> {
    Ok(environment(target_folder, checkout, "awscli").await?.join("bin/aws"))
}

/// A Python with what `bench/NAME.txt` names.
///
/// # Errors
/// When Python or the network is missing.
pub async fn python(target_folder: &Path, checkout: &Path, name: &str) -> Result<PathBuf, Failure> {
    Ok(environment(target_folder, checkout, name).await?.join("bin/python"))
}

async fn environment(target_folder: &Path, checkout: &Path, name: &str) -> Result<PathBuf, Failure> {
    let folder = target_folder.join("bench").join(name);
    let made = folder.join("made");
    if !made.is_file() {
        let python = local::python::find()?;
        let job = Job::new(python).inherit_environment().args(["-m", "venv", "--clear"]).args([&folder]);
        job.run_well().await.context("make a virtual environment")?;
        let install = Job::new(folder.join("bin/python")).inherit_environment();
        let install =
            install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "-r"]);
        install.args([checkout.join(format!("bench/{name}.txt"))]).run_well().await.context(format!("install what bench/{name}.txt names"))?;
        std::fs::write(made, "").context("note that it is made")?;
    }
    Ok(folder)
}
