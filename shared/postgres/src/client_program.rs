//! PostgreSQL's own client programs (pg_dump, pg_dumpall): started with an environment of ours and nothing else, ended when we end, and quoted in
//! full when they fail. The only place that starts a process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use shared::env;
use shared::failure::{Context, Failure, FailureKind};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// A folder with the client programs of one major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPrograms {
    folder: PathBuf,
}

/// What a program that ended well had printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// Standard output.
    pub output: Vec<u8>,
    /// The warnings on standard error, one each, with their details.
    pub warnings: Vec<String>,
}

impl ClientPrograms {
    /// The programs in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Full and major version of a program: `17.10` and 17.
    ///
    /// # Errors
    /// When it cannot be run; the hint says what to install.
    pub async fn version(&self, program: &str) -> Result<(String, u32), Failure> {
        let printed = self.run(program, &["--version".into()], &[], &std::env::temp_dir()).await.map_err(|failure| {
            failure.hint(format!(
                "{} must be in {}: attach the layer of layers/pg-client, or set POSTGRES_CLIENT_FOLDER",
                program,
                self.folder.display()
            ))
        })?;
        let text = String::from_utf8_lossy(&printed.output).into_owned();
        let version = text.split_whitespace().find(|word| word.starts_with(|char: char| char.is_ascii_digit())).unwrap_or_default().to_owned();
        let major = version.split(|char: char| !char.is_ascii_digit()).next().and_then(|major| major.parse().ok());
        major.map(|major| (version, major)).ok_or_else(|| Failure::new(FailureKind::WrongVersion, format!("{program} --version printed {text:?}")))
    }

    /// Runs a program in a folder until it ends. It is killed when the future is dropped.
    ///
    /// # Errors
    /// When it cannot be started, or ends with anything but success: then all that it printed on standard error is in the failure.
    pub async fn run(
        &self,
        program: &str,
        arguments: &[OsString],
        environment: &[(&'static str, String)],
        folder: &Path,
    ) -> Result<Printed, Failure> {
        #[expect(clippy::disallowed_methods, reason = "the one place that starts a process")]
        let mut command = Command::new(self.folder.join(program));
        command.env_clear().args(arguments).envs(environment.iter().map(|(name, value)| (*name, value))).current_dir(folder).kill_on_drop(true);
        for name in ["PATH", "LD_LIBRARY_PATH", "TMPDIR"] {
            command.envs(env::process(name).map(|value| (name, value)));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context(format!("start {}", self.folder.join(program).display()))?;
        let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let read_output = async { if let Some(pipe) = &mut stdout { pipe.read_to_end(&mut output).await } else { Ok(0) } };
        let read_errors = async { if let Some(pipe) = &mut stderr { pipe.read_to_end(&mut errors).await } else { Ok(0) } };
        let (read_output, read_errors, status) = tokio::join!(read_output, read_errors, child.wait());
        read_output.and(read_errors).context(format!("read what {program} prints"))?;
        let status = status.context(format!("wait for {program}"))?;
        let errors = String::from_utf8_lossy(&errors).into_owned();
        if status.success() {
            return Ok(Printed { output, warnings: messages(&errors) });
        }
        let kind = if errors.contains("permission denied") {
            FailureKind::Denied
        } else if errors.contains("lock timeout") || errors.contains("could not obtain lock") {
            FailureKind::GaveWay
        } else if errors.contains("server version mismatch") {
            FailureKind::WrongVersion
        } else if errors.contains("server closed the connection")
            || errors.contains("terminating connection")
            || errors.contains("connection to server")
        {
            FailureKind::Unreachable
        } else {
            FailureKind::Other
        };
        Err(Failure::new(kind, messages(&errors).join(" | ")).context(format!("{program} ended with {status}")))
    }
}

/// The messages on standard error: a line that begins with `pg_…:` begins one, unless it is a detail or hint of the one before.
fn messages(errors: &str) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for line in errors.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let is_more = !line.starts_with("pg_") || [": detail: ", ": hint: "].iter().any(|label| line.contains(label));
        match messages.last_mut().filter(|_| is_more) {
            Some(message) => {
                message.push(' ');
                message.push_str(line.trim_start());
            }
            None => messages.push(line.to_owned()),
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_keeps_its_details_together() {
        let errors = "pg_dump: warning: there are circular foreign-key constraints on this table:\npg_dump: detail: node\npg_dump: hint: You might not be able\npg_dump: warning: other\n  more\n";
        assert_eq!(
            messages(errors),
            [
                "pg_dump: warning: there are circular foreign-key constraints on this table: pg_dump: detail: node pg_dump: hint: You might not be able",
                "pg_dump: warning: other more"
            ]
        );
    }
}
