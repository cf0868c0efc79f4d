//! What the user sees while something takes its time: one line for each step, on standard error, with the seconds since the begin.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes progress, or nothing: a test is silent.
#[derive(Clone, Debug)]
pub struct Progress {
    began: Option<Arc<Instant>>,
}

impl Progress {
    /// Lines on standard error.
    pub fn shown() -> Self {
        Self { began: Some(Arc::new(Instant::now())) }
    }

    /// Nothing.
    pub fn silent() -> Self {
        Self { began: None }
    }

    /// Whether somebody looks.
    pub fn is_shown(&self) -> bool {
        self.began.is_some()
    }

    /// Time since the begin.
    pub fn elapsed(&self) -> Duration {
        self.began.as_ref().map(|began| began.elapsed()).unwrap_or_default()
    }

    /// A step begins.
    pub fn step(&self, what: &str) {
        let Some(began) = &self.began else { return };
        let mut out = std::io::stderr().lock();
        let (dim, plain) = if out.is_terminal() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let _ = writeln!(out, "{dim}{:>6.1} s{plain}  {what}", began.elapsed().as_secs_f64());
    }
}
