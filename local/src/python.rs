//! Python for the cloud: found on the path, with what `local/cloud/requirements.txt` names in a virtual environment of its own below the target
//! folder. Nothing is installed anywhere else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};
use shared::failure::{Context, Failure};
use shared::manifest::hex;

use crate::attempt::failed;
use crate::host::{Target, checkout};
use crate::process::{self, Job};
use crate::progress::Progress;

const REQUIREMENTS: &str = "local/cloud/requirements.txt";
const VERSION_MIN: (u32, u32) = (3, 10);
const INSTALL_HINT: &str = "install it (Debian, Ubuntu: sudo apt-get install python3 python3-venv)";
/// Written when the environment is complete; an environment without it was interrupted.
const COMPLETE: &str = ".complete";

/// The `python3` of the path, if it is new enough.
///
/// # Errors
/// When there is none; the message says what to install.
pub fn find() -> Result<PathBuf, Failure> {
    static FOUND: OnceLock<Result<PathBuf, Failure>> = OnceLock::new();
    FOUND.get_or_init(search).clone()
}

fn search() -> Result<PathBuf, Failure> {
    let path = shared::env::process("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let names = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];
    let mut too_old = None;
    for program in names.iter().flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name))) {
        if !program.is_file() {
            continue;
        }
        match version(&program) {
            Some(version) if version >= VERSION_MIN => return Ok(program),
            Some((major, minor)) => too_old = Some(format!("{} is Python {major}.{minor}", program.display())),
            None => {}
        }
    }
    let seen = too_old.unwrap_or_else(|| "there is no python3 on the path".to_owned());
    let (major, minor) = VERSION_MIN;
    Err(failed(format!("{seen}; the local cloud needs Python {major}.{minor} or later")).hint(INSTALL_HINT))
}

fn version(program: &Path) -> Option<(u32, u32)> {
    let output = process::command(program).args(["-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The virtual environment's python, made now if it is not there yet. Another run that is making it is waited for.
///
/// # Errors
/// When something is missing; the message says what to install.
pub async fn environment(target: &Target, progress: &Progress) -> Result<PathBuf, Failure> {
    let requirements = checkout().join(REQUIREMENTS);
    let text = fs::read(&requirements).context(format!("read {}", requirements.display()))?;
    let base = find()?;
    // Another Python is another environment: its compiled packages do not fit.
    let hash = hex(&Sha256::new().chain_update(&text).chain_update(base.as_os_str().as_encoded_bytes()).finalize());
    let parent = target.folder.join("local");
    let folder = parent.join(format!("venv-{}", &hash[..16]));
    let python = folder.join("bin/python");
    if folder.join(COMPLETE).exists() {
        return Ok(python);
    }
    fs::create_dir_all(&parent).context(format!("create {}", parent.display()))?;
    let lock_file = parent.join("venv.lock");
    let lock = File::create(&lock_file).context(format!("create {}", lock_file.display()))?;
    if lock.try_lock().is_err() {
        progress.step("waiting for another run that installs Python packages");
        let waiting = lock.try_clone().context("wait for the lock")?;
        tokio::task::spawn_blocking(move || waiting.lock()).await.map_err(|error| failed(error.to_string()))?.context("wait for the lock")?;
    }
    // The lock ends with `lock`, also when this process is killed.
    if !folder.join(COMPLETE).exists() {
        progress.step("installing the local cloud's Python packages (once; about 20 s)");
        install(&base, &folder, &requirements).await?;
        fs::write(folder.join(COMPLETE), b"").context("mark the Python environment complete")?;
    }
    Ok(python)
}

async fn install(base: &Path, folder: &Path, requirements: &Path) -> Result<(), Failure> {
    let _ = fs::remove_dir_all(folder);
    let python = folder.join("bin/python");
    let whole = Job::new(base).inherit_environment().args(["-m", "venv"]).args([folder]).run_well().await;
    // Debian keeps pip for virtual environments in a package of its own; a pip of the system can fill one, too.
    let installer = match whole {
        Ok(_) => Job::new(&python).args(["-m", "pip"]),
        Err(failure) => {
            let _ = fs::remove_dir_all(folder);
            let empty = Job::new(base).inherit_environment().args(["-m", "venv", "--without-pip"]).args([folder]).run_well().await;
            let pip = Job::new(base).inherit_environment().args(["-m", "pip", "--version"]).run_well().await;
            if empty.is_err() || pip.is_err() {
                return Err(failure.context("make a virtual environment").hint(INSTALL_HINT));
            }
            Job::new(base).args(["-m", "pip", "--python"]).args([&python])
        }
    };
    let arguments = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes", "--only-binary=:all:", "-r"];
    let pip = installer.inherit_environment().args(arguments).args([requirements]);
    pip.run_well().await.map(|_| ()).context("install the local cloud's Python packages")
}
