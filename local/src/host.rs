//! This machine as the driver sees it: the clock, the checkout, the target folder, free ports. The one place that asks for them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use shared::failure::{Context, Failure, FailureKind};

/// The time.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that asks the clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The root of the checkout that this program was built from.
pub fn checkout() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// Where cargo put this program: the target folder and the folder of the profile below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `target`, or what the user has set instead.
    pub folder: PathBuf,
    /// `target/debug`, `target/release`, …
    pub profile: PathBuf,
}

impl Target {
    /// Of the running program. A test's binary lies in `deps`, one below.
    ///
    /// # Errors
    /// When the program was copied out of its target folder.
    pub fn of_this_program() -> Result<Self, Failure> {
        let program = std::env::current_exe().context("find this program")?;
        let above = program.parent().filter(|folder| !folder.ends_with("deps")).or_else(|| program.ancestors().nth(2));
        let found = above.and_then(|profile| Some(Self { folder: profile.parent()?.to_path_buf(), profile: profile.to_path_buf() }));
        found.ok_or_else(|| Failure::new(FailureKind::Other, format!("{} lies in no target folder: start it by cargo", program.display())))
    }

    /// Cargo's name of the profile.
    pub fn profile_name(&self) -> String {
        match self.profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev".to_owned(),
            Some(name) => name.to_owned(),
        }
    }
}

/// A loopback address with a port that is free now.
///
/// # Errors
/// When the machine has none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Any port of 127.0.0.1.
pub(crate) fn any_local() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}
