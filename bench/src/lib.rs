//! Lifeboat's speed and memory against stock tools, on one machine, in one run. Exits with 1 when a claim does not hold.
//!
//! `cargo run --release -p bench -- side-by-side`, `… memory`, `… restore`, `… drill`, `… night`. Figures: a table here, JSON in `target/bench`.

pub mod aws_chunked;
pub mod contenders;
pub mod cpu;
pub mod data;
pub mod drill;
pub mod memory;
pub mod night;
pub mod restore;
pub mod server;
pub mod side_by_side;
pub mod sink;
pub mod summary;
pub mod venv;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use local::host::{Target, checkout};
use local::process::Job;
use local::progress::Progress;
use serde_json::json;
use shared::failure::{Context, Failure};

use contenders::Field;
use data::Shape;
use server::Server;
use sink::{Keep, Sink};

#[derive(Parser)]
#[command(about = "Measures Lifeboat against stock tools. Builds the release function first.")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Size of the database in MB.
    #[arg(long, default_value_t = 2_000, global = true)]
    size: u64,
    /// How often each contender runs.
    #[arg(long, default_value_t = 3, global = true)]
    rounds: usize,
    /// Seed of the data.
    #[arg(long, default_value_t = 42, global = true)]
    seed: u64,
    /// Folder of PostgreSQL 17's programs, instead of the wheel's.
    #[arg(long, global = true)]
    postgres: Option<PathBuf>,
    /// This build of the function, instead of one made now.
    #[arg(long, global = true)]
    function: Option<PathBuf>,
    /// Only this shape of data.
    #[arg(long, global = true, value_parser = ["giant", "many", "documents"])]
    only: Option<String>,
}

#[derive(Clone, Subcommand)]
enum What {
    /// Our dump against pg_dump with an upload, and against the ceiling.
    SideBySide,
    /// Peak memory of a dump, for a large and a small database with rows of 1 MB.
    Memory,
    /// `pg_restore -j4` of our archive against pg_dump's own.
    Restore,
    /// Our restore, from S3, against `pg_restore -j4` from a folder, and its peak memory.
    Drill,
    /// A night of `integrity-check` against Soda Core.
    Night {
        /// Rows of the largest table.
        #[arg(long, default_value_t = 6_000_000)]
        rows: u64,
    },
    /// Our restore alone, in a process of its own; `drill` starts it.
    #[command(hide = true)]
    DrillEngine { manifest_key: String, bin_folder: PathBuf },
}

impl What {
    fn name(&self) -> &'static str {
        match self {
            Self::SideBySide => "side-by-side",
            Self::Memory => "memory",
            Self::Restore => "restore",
            Self::Drill => "drill",
            Self::Night { .. } => "night",
            Self::DrillEngine { .. } => "drill-engine",
        }
    }
}

/// What the program does, from its arguments to its exit code.
#[expect(clippy::print_stderr, reason = "the one place that tells the user why it failed")]
pub async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // When it is interrupted, this future is dropped: servers and folders end with it.
    let result = tokio::select! {
        result = run(&arguments) => result,
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}{}", failure.hint.as_deref().map(|hint| format!("\n{hint}")).unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// Sets everything up, measures, takes it down; says whether every claim held.
async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    if let What::DrillEngine { manifest_key, bin_folder } = &arguments.what {
        return drill::engine(manifest_key, bin_folder).await.map(|()| true);
    }
    let (target, progress) = (Target::of_this_program()?, Progress::shown());
    let package = if matches!(arguments.what, What::Night { .. }) { "integrity-check" } else { "logical-dump" };
    let function = match &arguments.function {
        Some(function) => function.clone(),
        None => build(&target, &progress, package).await?,
    };
    let aws = venv::aws_command_line(&target.folder, &checkout()).await?;
    progress.step("starting PostgreSQL 17");
    let server = Server::start(&target, &progress, arguments.postgres.as_deref()).await?;
    let result = measure(arguments, &target, &progress, &server, (function, aws)).await;
    server.stop().await?;
    result
}

/// The release build of the function. This package is built along, so that cargo settles on the same features for both.
async fn build(target: &Target, progress: &Progress, package: &str) -> Result<PathBuf, Failure> {
    progress.step("building the release function");
    let cargo = shared::env::process("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let build = ["build", "--quiet", "--release", "--package", "bench", "--package", package, "--target-dir"];
    Job::new(cargo).inherit_environment().folder(checkout()).args(build).args([&target.folder]).run_shown().await?;
    Ok(target.folder.join("release").join(package))
}

async fn measure(
    arguments: &Arguments,
    target: &Target,
    progress: &Progress,
    server: &Server,
    (function, aws): (PathBuf, PathBuf),
) -> Result<bool, Failure> {
    let keep = if matches!(arguments.what, What::Restore | What::Drill | What::Night { .. }) { Keep::Bytes } else { Keep::Size };
    let sink = Sink::start(keep, server.url("postgres")).await?;
    let folder = tempfile::TempDir::with_prefix("lifeboat-bench-").context("create a folder")?;
    let field = Field { server, sink: &sink, function, aws, folder: folder.path().to_owned() };
    let (size_bytes, seed, rounds) = (arguments.size * 1_000_000, arguments.seed, arguments.rounds);
    let shapes = [Shape::Giant, Shape::Many, Shape::Documents]
        .into_iter()
        .filter(|shape| *shape != Shape::Documents || matches!(arguments.what, What::Drill))
        .filter(|shape| arguments.only.as_deref().is_none_or(|only| only == shape.name()));
    let (mut all_held, mut figures) = (true, Vec::new());
    let mut add = |held: bool, of: Result<serde_json::Value, serde_json::Error>| {
        all_held &= held;
        of.map(|of| figures.push(of)).context("write the figures")
    };
    match &arguments.what {
        What::SideBySide => {
            for shape in shapes {
                let (held, of) = side_by_side::run(&field, progress, shape, size_bytes, seed, rounds).await?;
                add(held, serde_json::to_value(of))?;
            }
        }
        What::Memory => {
            let (held, of) = memory::run(&field, progress, size_bytes, seed, rounds).await?;
            add(held, serde_json::to_value(of))?;
        }
        What::Restore => {
            for shape in shapes {
                let (held, of) = restore::run(&field, progress, shape, size_bytes, seed, rounds).await?;
                add(held, serde_json::to_value(of))?;
            }
        }
        What::Drill => {
            for shape in shapes {
                let (held, of) = drill::run(&field, progress, shape, size_bytes, seed, rounds).await?;
                add(held, serde_json::to_value(of))?;
            }
        }
        What::Night { rows } => {
            let (held, of) = night::run(&field, progress, &target.folder, &checkout(), *rows, rounds).await?;
            add(held, serde_json::to_value(of))?;
        }
        // It has ended long ago, see `run`.
        What::DrillEngine { .. } => {}
    }
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    summary::write(&target.folder, arguments.what.name(), &json!({"cores": cores, "allHeld": all_held, "figures": figures}))?;
    Ok(all_held)
}
