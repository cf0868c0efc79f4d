//! `cargo demo`: the whole story once, with real work and real times. Every sentence that it ends with is a claim that was checked; one that does
//! not hold makes the program fail.

mod nights;
mod outcome;
mod page;
mod restore;
mod rotation;
mod snapshot;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use shared::failure::{Context, Failure, FailureKind};

use crate::cli::print;
use crate::host::Target;
use crate::progress::Progress;
use crate::world::Plan;

pub use outcome::{Claim, Outcome, Step};

/// Guards a database with Lifeboat on this machine: dump, snapshot, verify, restore, prove, keep what must be kept.
#[derive(Parser, Debug)]
#[command(name = "cargo demo", version)]
pub struct Arguments {
    /// Guard the schema and data of this SQL file (psql's own commands included) instead of the example shop
    #[arg(long)]
    sql: Option<PathBuf>,
    /// Spoil the backup after it was verified; Lifeboat must notice, and this program then fails, naming what was spoilt
    #[arg(long, value_enum)]
    sabotage: Option<Sabotage>,
}

/// How a backup is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Sabotage {
    /// Flip a bit of a stored data object
    Flip,
    /// Delete a stored data object
    Drop,
    /// Let three days pass without a new backup
    Stale,
}

/// Tells the story and says how it ended.
///
/// # Errors
/// When the story cannot be told to its end.
pub async fn main(arguments: Arguments) -> Result<ExitCode, Failure> {
    if let Some(file) = arguments.sql.as_ref().filter(|file| !file.is_file()) {
        return Err(Failure::new(FailureKind::BadRequest, format!("there is no file {}", file.display())));
    }
    let sql = arguments.sql.map(|file| file.canonicalize().context(format!("find {}", file.display()))).transpose()?;
    let progress = Progress::shown();
    let folder = Target::of_this_program()?.folder.join("demo");
    let plan = Plan { port: None, stage: "dev".to_owned(), sql };
    let outcome = Box::pin(story::tell(&plan, arguments.sabotage, &progress)).await?;
    outcome.write(&folder)?;
    print(&outcome.summary(&folder));
    Ok(if outcome.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
