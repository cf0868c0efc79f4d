//! A restore against a restore: our engine, from S3, and stock `pg_restore -j`, from a folder; the same archive, the same server, as many jobs, in turn.
//!
//! Ours does more: it hashes every object, counts and digests every row, gathers statistics and compares the definitions. It runs in a process of its own,
//! so that the peak of its memory is its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local::process::Job;
use local::progress::Progress;
use restore_drill::archive::{self, Roles};
use serde::{Deserialize, Serialize};
use shared::failure::{Context, Failure, FailureKind};
use shared::human;
use shared::key::{ArchiveKey, MANIFEST};
use shared::manifest::Manifest;
use shared::secrets::SecretString;
use shared::store::Store;
use shared_postgres::Access;
use shared_postgres::client_program::ClientPrograms;
use tokio::time::Instant;

use crate::contenders::Field;
use crate::cpu;
use crate::data::{self, Shape};
use crate::summary;

const COPY: &str = "restored";
const BUCKET: &str = "bench";
const JOBS: usize = 4;
const PEAK_BYTES_MAX: u64 = 256 << 20;
const LIMIT: Duration = Duration::from_mins(30);
/// The variable that holds the URL of the server: an argument would be seen by everybody.
const URL: &str = "LIFEBOAT_BENCH_URL";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    shape: &'static str,
    seed: u64,
    rounds: Vec<Round>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Round {
    lifeboat_seconds: f64,
    pg_restore_seconds: f64,
    peak_rss_bytes: u64,
    load: f64,
}

/// What the process of our engine prints.
#[derive(Serialize, Deserialize)]
struct Printed {
    peak_rss_bytes: u64,
    rows: u64,
}

/// Runs the rounds for one shape; says whether the claims hold. The sink must keep bytes.
///
/// # Errors
/// When a dump or a restore fails, or when the copy has not as many rows.
pub async fn run(
    field: &Field<'_>,
    progress: &Progress,
    shape: Shape,
    size_bytes: u64,
    seed: u64,
    rounds: usize,
) -> Result<(bool, impl Serialize + use<>), Failure> {
    let database = shape.name();
    progress.step(&format!("making the database {database} of {}", human::bytes(size_bytes)));
    data::make(field.server, database, shape, size_bytes, seed).await?;
    field.sink.clear();
    field.lifeboat(database).await?;
    let objects = field.sink.objects(&format!("{BUCKET}/"));
    let found = objects.keys().find_map(|key| ArchiveKey::parse(key).filter(|(_, name)| *name == MANIFEST));
    let (key, _) = found.ok_or_else(|| Failure::new(FailureKind::Other, "the dump left no manifest"))?;
    let folder = download(field, &key)?;
    let mut measured: Vec<Round> = Vec::new();
    for round in 0..rounds {
        let load = cpu::load();
        let (mut ours, mut theirs, mut peak) = (0.0, 0.0, 0);
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for place in order {
            if place == 0 {
                (ours, peak) = lifeboat(field, &key).await?;
            } else {
                theirs = stock(field, &folder).await?;
            }
        }
        progress.step(&format!("{database}, round {} of {rounds}: ours {ours:.2} s, pg_restore {theirs:.2} s, {} MiB", round + 1, peak >> 20));
        measured.push(Round { lifeboat_seconds: ours, pg_restore_seconds: theirs, peak_rss_bytes: peak, load });
    }
    std::fs::remove_dir_all(folder).context("remove the archive")?;
    let held = show(shape, &measured);
    Ok((held, Figures { shape: database, seed, rounds: measured }))
}

fn show(shape: Shape, rounds: &[Round]) -> bool {
    let row = |title: &str, of: &dyn Fn(&Round) -> f64| vec![title.to_owned(), format!("{:.2}", summary::median(rounds.iter().map(of)))];
    let rows = [
        row("seconds, ours from S3, ANALYZE and proof of definitions included", &|round| round.lifeboat_seconds),
        row("seconds, pg_restore from a folder, then ANALYZE", &|round| round.pg_restore_seconds),
        row("load", &|round| round.load),
    ];
    summary::print(&format!("{}: restores with {JOBS} jobs, {} rounds", shape.name(), rounds.len()), &["", "median"], &rows);
    let ratio = summary::median(rounds.iter().map(|round| round.pg_restore_seconds / round.lifeboat_seconds));
    let peak = rounds.iter().map(|round| round.peak_rss_bytes).max().unwrap_or(u64::MAX);
    let held = [
        summary::claim(&format!("not slower than pg_restore: {ratio:.2} times as fast"), ratio >= 1.0),
        summary::claim(&format!("never more than 256 MiB: {} MiB", peak >> 20), peak <= PEAK_BYTES_MAX),
    ];
    held.iter().all(|held| *held)
}

/// The archive, in a folder.
fn download(field: &Field<'_>, key: &ArchiveKey) -> Result<PathBuf, Failure> {
    let folder = field.folder.join("archive");
    std::fs::create_dir_all(&folder).context("create a folder")?;
    for (name, object) in field.sink.objects(&format!("{BUCKET}/{}", key.prefix())) {
        let mut file = std::fs::File::create(folder.join(name)).context("write an object")?;
        for piece in &object.pieces {
            file.write_all(piece).context("write an object")?;
        }
    }
    Ok(folder)
}

async fn remove_copy(field: &Field<'_>) -> Result<(), Failure> {
    field.server.run("postgres", &format!("DROP DATABASE IF EXISTS {COPY} WITH (FORCE);\nCHECKPOINT;\n")).await
}

async fn stock(field: &Field<'_>, folder: &Path) -> Result<f64, Failure> {
    remove_copy(field).await?;
    let began = Instant::now();
    field.server.run("postgres", &format!("CREATE DATABASE {COPY} TEMPLATE template0")).await?;
    let jobs = format!("-j{JOBS}");
    field.server.client("pg_restore", COPY).args([jobs.as_str(), "--exit-on-error", "-d", COPY]).args([folder]).run_well().await?;
    let vacuumdb = field.server.client("vacuumdb", COPY).args(["--analyze-only", "--quiet", jobs.as_str(), COPY]);
    vacuumdb.run_well().await?;
    let seconds = began.elapsed().as_secs_f64();
    remove_copy(field).await?;
    Ok(seconds)
}

async fn lifeboat(field: &Field<'_>, key: &ArchiveKey) -> Result<(f64, u64), Failure> {
    remove_copy(field).await?;
    let program = std::env::current_exe().context("find this program")?;
    let job = Job::new(program)
        .env("AWS_ENDPOINT_URL", &field.sink.url)
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench")
        .env("AWS_REGION", "eu-central-1")
        .env("MALLOC_MMAP_THRESHOLD_", "1048576")
        .env("MALLOC_TRIM_THRESHOLD_", "131072")
        .env("TMPDIR", &field.folder)
        .env(URL, field.server.url("postgres"));
    let began = Instant::now();
    let ended = job.args(["drill-engine", &key.object(MANIFEST), &field.server.bin_folder.display().to_string()]).run_well().await?;
    let seconds = began.elapsed().as_secs_f64();
    let printed: Printed = serde_json::from_slice(&ended.stdout).context("read what our engine printed")?;
    let restored = field.server.ask(COPY, "SELECT sum((detail->>'rows')::bigint) FROM lifeboat_drill.done WHERE step LIKE 'load %'").await?;
    if restored != printed.rows.to_string() {
        return Err(Failure::new(FailureKind::Corrupt, format!("{restored} rows are in the ledger, not {}", printed.rows)));
    }
    remove_copy(field).await?;
    Ok((seconds, printed.peak_rss_bytes))
}

/// Our engine, in a process of its own: restores one archive, and prints the peak of its memory.
///
/// # Errors
/// When anything is found.
#[expect(clippy::print_stdout, reason = "this is what the caller reads")]
pub async fn engine(manifest_key: &str, bin_folder: &Path) -> Result<(), Failure> {
    let config = shared::aws::configuration().await;
    let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    let store = Store::new(aws_sdk_s3::Client::from_conf(s3), BUCKET);
    let bytes = store.get(manifest_key).await?.ok_or_else(|| Failure::new(FailureKind::BadRequest, "there is no manifest"))?;
    let manifest = Manifest::open(&bytes).map_err(|why| Failure::new(FailureKind::Corrupt, why))?;
    let (key, _) = ArchiveKey::parse(manifest_key).ok_or_else(|| Failure::new(FailureKind::BadRequest, "not a key"))?;
    let url = SecretString::from(shared::env::process(URL).unwrap_or_default());
    let (access, programs) = (Access::parse(&url, Path::new(""))?, ClientPrograms::new(bin_folder));
    archive::create_database(&access, COPY, &manifest, "bench").await?;
    let job = archive::Job {
        store: &store,
        archive: &key,
        manifest: &manifest,
        access: &access,
        database: COPY,
        programs: &programs,
        connections: JOBS,
        roles: Roles::None,
        drill: "bench",
        // As the server's own setting, which pg_restore's sessions have.
        maintenance_memory_mb: 128,
        folder_bytes_max: 256 << 20,
    };
    let state = archive::advance(&job, Instant::now() + LIMIT).await?;
    if !state.done || state.rows != manifest.rows() {
        return Err(Failure::new(FailureKind::Other, format!("the restore did not end well: {state:?}")));
    }
    let status = std::fs::read_to_string("/proc/self/status").context("read our memory")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let printed = Printed { peak_rss_bytes: peak.unwrap_or(u64::MAX / 1024) * 1024, rows: state.rows };
    println!("{}", serde_json::to_string(&printed).context("print")?);
    Ok(())
}
