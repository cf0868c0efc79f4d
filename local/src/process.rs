//! Every process that this crate starts, but the cloud (which guards itself): under a guard that ends it, with all that it started, when this
//! program ends in whatever way. The only place that names `Command`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};

use shared::failure::Failure;

use crate::attempt::{Attempt, failed};
use crate::python;

const GUARD: &str = include_str!("guard.py");

/// A command whose terminal signals go to us alone: we end it, in our order.
#[expect(clippy::disallowed_methods, reason = "the one wrapper of this crate")]
pub(crate) fn command(program: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.process_group(0);
    command
}

/// What a guarded command sees of our environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Everything: for the user's own tools, which need their proxies, caches and homes.
    Inherited,
    /// Nothing but what is given, and a `PATH` if that is not.
    OnlyGiven,
}

/// A command to be run under the guard.
#[derive(Clone, Debug)]
pub struct Job {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    environment: Environment,
    folder: Option<PathBuf>,
}

/// How a command that ran to its end ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Job {
    /// A program, with an environment of nothing but what is given.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), variables: Vec::new(), environment: Environment::OnlyGiven, folder: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Lets it see our environment.
    #[must_use]
    pub fn inherit_environment(mut self) -> Self {
        self.environment = Environment::Inherited;
        self
    }

    /// Sets the folder that it runs in.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Runs it with its output and its messages on our standard error, as progress for the user.
    ///
    /// # Errors
    /// When it cannot be started or does not succeed.
    pub async fn run_shown(&self) -> Result<(), Failure> {
        // The orders end with this future, and the command with them.
        let (mut guard, _orders) = self.start("quiet", || Stdio::from(std::io::stderr()))?;
        let status = blocking(move || guard.wait()).await.attempt(format!("wait for {}", self.name()))?;
        if status.success() { Ok(()) } else { Err(failed(format!("{} failed ({status}); its messages are above", self.name()))) }
    }

    /// Runs it to its end and keeps what it wrote.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self) -> Result<Ended, Failure> {
        let (guard, _orders) = self.start("quiet", Stdio::piped)?;
        let output = blocking(move || guard.wait_with_output()).await.attempt(format!("wait for {}", self.name()))?;
        Ok(Ended { status: output.status, stdout: output.stdout, stderr: output.stderr })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it does not succeed; the message has the end of what it said.
    pub async fn run_well(&self) -> Result<Ended, Failure> {
        let ended = self.run().await?;
        if ended.status.success() {
            return Ok(ended);
        }
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let tail: Vec<&str> = said.lines().rev().take(20).collect();
        Err(failed(format!("{} failed ({}): {}", self.name(), ended.status, tail.into_iter().rev().collect::<Vec<_>>().join("\n"))))
    }

    /// Starts it and lets it run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&self) -> Result<Running, Failure> {
        let (mut guard, orders) = self.start("tell", Stdio::piped)?;
        let stdout = guard.stdout.take().ok_or_else(|| failed("no standard output"))?;
        let stderr = guard.stderr.take().ok_or_else(|| failed("no standard error"))?;
        Ok(Running { guard, orders: Some(orders), stdout: Some(stdout), stderr: Some(stderr) })
    }

    fn name(&self) -> String {
        self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned()
    }

    fn start(&self, tell: &str, output: impl Fn() -> Stdio) -> Result<(Child, ChildStdin), Failure> {
        let mut command = command(&python::find()?);
        command.args(["-I", "-S", "-c", GUARD, tell]).arg(&self.program).args(&self.arguments);
        if self.environment == Environment::OnlyGiven {
            command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let mut guard = command.stdin(Stdio::piped()).stdout(output()).stderr(output()).spawn().attempt(format!("start {}", self.name()))?;
        let orders = guard.stdin.take().ok_or_else(|| failed("no standard input"))?;
        Ok((guard, orders))
    }
}

/// Waits for a child in a thread of its own: a guard is not a child of the async runtime.
async fn blocking<T: Send + 'static>(wait: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)?
}

/// A guarded command that runs. Dropping it ends the command and all that it started, and waits until they are gone.
#[derive(Debug)]
pub(crate) struct Running {
    guard: Child,
    orders: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

/// What a guard is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    KillAll,
    KillOne,
    Stop,
    Continue,
}

impl Running {
    /// Tells the guard what to do. A guard that is gone has nothing left to guard.
    pub(crate) fn order(&mut self, order: Order) {
        let byte = match order {
            Order::KillAll => b"g",
            Order::KillOne => b"o",
            Order::Stop => b"s",
            Order::Continue => b"c",
        };
        if let Some(orders) = &mut self.orders {
            let _ = orders.write_all(byte).and_then(|()| orders.flush());
        }
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.guard.try_wait().unwrap_or_else(|_| Some(ExitStatus::from_raw(0)))
    }
}

impl Running {
    /// Ends the command and all that it started, and waits until they are gone.
    pub(crate) fn end(&mut self) {
        self.orders = None;
        let _ = self.guard.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
