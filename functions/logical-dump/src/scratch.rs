//! A folder below the temporary one for the files of pg_dump: removed at the end, and by the next run where a kill left it.

use std::path::Path;

use shared::failure::{Context, Failure};
use tempfile::TempDir;

const PREFIX: &str = "lifeboat-logical-dump-";

/// Makes a folder whose name carries our process id, and removes those of processes that are gone: Lambda keeps `/tmp` from one process to the next.
///
/// # Errors
/// When it cannot be made.
pub fn folder() -> Result<TempDir, Failure> {
    let temporary = std::env::temp_dir();
    for entry in std::fs::read_dir(&temporary).context("list the temporary folder")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(process, _)| process.to_owned());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Somebody else may be removing it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir().context("make a temporary folder")
}
