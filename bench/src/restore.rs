//! Restore against restore: stock `pg_restore -j4` of our archive and of pg_dump's own, into the same server, in turn. Our slices let it load one table
//! by several jobs.

use std::io::Write;
use std::path::{Path, PathBuf};

use local::progress::Progress;
use serde::Serialize;
use shared::failure::{Context, Failure, FailureKind};
use shared::human;
use tokio::time::Instant;

use crate::contenders::Field;
use crate::cpu;
use crate::data::{self, Shape};
use crate::summary;

const COPY: &str = "restored";
const COUNT_ROWS: &str =
    "SELECT sum((xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %s', oid::regclass), false, true, '')))[1]::text::bigint)
       FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";

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
    pg_dump_seconds: f64,
    load: f64,
}

/// Runs the rounds for one shape; says whether the claim holds. The sink must keep bytes.
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
    let rows = field.server.ask(database, COUNT_ROWS).await?;
    field.sink.clear();
    field.lifeboat(database).await?;
    let ours = download(field, database)?;
    field.sink.clear();
    let theirs = field.pg_dump_directory(database).await?;
    let mut measured: Vec<Round> = Vec::new();
    for round in 0..rounds {
        let load = cpu::load();
        let mut seconds = [0.0; 2];
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for place in order {
            seconds[place] = restore(field, [&ours, &theirs][place], &rows).await?;
        }
        progress.step(&format!("{database}, round {} of {rounds}: ours {:.2} s, pg_dump's {:.2} s", round + 1, seconds[0], seconds[1]));
        measured.push(Round { lifeboat_seconds: seconds[0], pg_dump_seconds: seconds[1], load });
    }
    for folder in [ours, theirs] {
        std::fs::remove_dir_all(folder).context("remove an archive")?;
    }
    let held = show(shape, &measured);
    Ok((held, Figures { shape: database, seed, rounds: measured }))
}

fn show(shape: Shape, rounds: &[Round]) -> bool {
    let row = |title: &str, of: &dyn Fn(&Round) -> f64| vec![title.to_owned(), format!("{:.2}", summary::median(rounds.iter().map(of)))];
    let rows = [
        row("seconds, archive of lifeboat", &|round| round.lifeboat_seconds),
        row("seconds, archive of pg_dump -Fd", &|round| round.pg_dump_seconds),
        row("load", &|round| round.load),
    ];
    summary::print(&format!("{}: pg_restore -j4, {} rounds", shape.name(), rounds.len()), &["", "median"], &rows);
    let ratio = summary::median(rounds.iter().map(|round| round.pg_dump_seconds / round.lifeboat_seconds));
    if shape == Shape::Many {
        // What two runs of the same restore differ by on a machine that others use, too.
        summary::claim(&format!("not slower than pg_dump's own archive (within 5 %): {ratio:.2} times as fast"), ratio >= 0.95)
    } else {
        summary::claim(&format!("faster than pg_dump's own archive: {ratio:.2} times as fast"), ratio > 1.0)
    }
}

/// Our archive as the manual says how to get it: all objects below its prefix, into a folder.
fn download(field: &Field<'_>, database: &str) -> Result<PathBuf, Failure> {
    let folder = field.folder.join("lifeboat");
    std::fs::create_dir_all(&folder).context("create a folder")?;
    for (name, object) in field.sink.objects(&format!("bench/dumps/bench/{database}/")) {
        let name = name.rsplit('/').next().unwrap_or(&name);
        let mut file = std::fs::File::create(folder.join(name)).context("write an object")?;
        for piece in &object.pieces {
            file.write_all(piece).context("write an object")?;
        }
    }
    Ok(folder)
}

async fn restore(field: &Field<'_>, archive: &Path, rows: &str) -> Result<f64, Failure> {
    field.server.run("postgres", &format!("DROP DATABASE IF EXISTS {COPY};\nCREATE DATABASE {COPY} TEMPLATE template0;\nCHECKPOINT;\n")).await?;
    let began = Instant::now();
    field.server.client("pg_restore", COPY).args(["-j4", "--exit-on-error", "-d", COPY]).args([archive]).run_well().await?;
    let seconds = began.elapsed().as_secs_f64();
    let restored = field.server.ask(COPY, COUNT_ROWS).await?;
    if restored != rows {
        return Err(Failure::new(FailureKind::Corrupt, format!("{restored} rows were restored, not {rows}")));
    }
    field.server.run("postgres", &format!("DROP DATABASE {COPY}")).await?;
    Ok(seconds)
}
