//! The ready file of `local up`: everything that somebody else needs to use the running cloud. It holds passwords of throw-away databases, so only
//! its owner can read it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::failure::{Context, Failure};

/// What is running, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Of every AWS service.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// Account id; as access key (with the secret `test`) it is that account's root.
    pub account: String,
    /// `dev`.
    pub stage: String,
    /// The stack's name.
    pub stack_name: String,
    /// The stack's outputs.
    pub outputs: BTreeMap<String, String>,
    /// The guarded instance.
    pub instance: String,
    /// The guarded database, as the backup role.
    pub database_url: String,
    /// The same, as a superuser.
    pub admin_url: String,
    /// The authority of the server's certificate.
    pub ca_file: PathBuf,
    /// The Slack stand-in's page.
    pub slack_url: String,
    /// Folder of `psql`, `pg_dump` and `pg_restore`.
    pub postgres_bin_folder: PathBuf,
    /// Of the process that keeps everything alive.
    pub pid: u32,
}

impl Ready {
    /// Writes it: whoever sees the file sees all of it.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let attempted = || format!("write {}", file.display());
        let json = serde_json::to_vec_pretty(self).context(attempted())?;
        let mut unfinished = file.as_os_str().to_owned();
        unfinished.push(".part");
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).and_then(|mut part| {
            part.write_all(&json)?;
            part.write_all(b"\n")?;
            std::fs::rename(&unfinished, file)
        });
        written.context(attempted())
    }

    /// Reads one.
    ///
    /// # Errors
    /// When there is none, or it is not one.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let attempted = || format!("read {}", file.display());
        serde_json::from_slice(&std::fs::read(file).context(attempted())?).context(attempted())
    }
}
