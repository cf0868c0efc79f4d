//! A night of `integrity-check` against Soda Core: the same numbers and the same checks, of the same database, in turn.
//!
//! Soda profiles the columns (rows, nulls, distinct values, smallest, largest, lengths), which is what a night's scan gives; and both answer the same checks of
//! a team. Ours estimates distinct values; everything else must be equal, or the run is an error.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local::process::Job;
use local::progress::Progress;
use local::{Outcome, Runner};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::failure::{Context, Failure, FailureKind};
use shared::human;
use tokio::time::Instant;

use crate::contenders::{BUCKET, Field};
use crate::cpu;
use crate::server::Server;
use crate::{summary, venv};

const DATABASE: &str = "night";
const LIMIT: Duration = Duration::from_mins(30);
const TABLES: [&str; 6] = ["lineitem", "orders", "pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history"];
/// Ours may differ from the exact number of distinct values by this share.
const DISTINCT_SHARE_MAX: f64 = 0.15;
const RSS_BYTES_MAX: u64 = 128 << 20;

/// The columns of TPC-H's largest tables, their types and about their distributions; made from row numbers, so that no generator is needed.
const DATA: &str = "
CREATE TABLE orders (o_orderkey bigint PRIMARY KEY, o_custkey bigint NOT NULL, o_orderstatus text NOT NULL, o_totalprice numeric(12,2) NOT NULL,
  o_orderdate date NOT NULL, o_orderpriority text NOT NULL, o_clerk text NOT NULL, o_shippriority int NOT NULL, o_comment text);
INSERT INTO orders SELECT i, hashint8(i) & 131071, (ARRAY['F','O','P'])[1 + (hashint8(i + 1) & 1)], (hashint8(i + 2) & 50000000) / 100.0,
  date '1992-01-01' + (hashint8(i + 3) & 2047), (ARRAY['1-URGENT','2-HIGH','3-MEDIUM','4-NOT SPECIFIED'])[1 + (hashint8(i + 4) & 3)],
  'Clerk#' || lpad((hashint8(i + 5) & 1023)::text, 9, '0'), 0, CASE WHEN i % 10 > 0 THEN md5(i::text) END FROM generate_series(1::bigint, ROWS / 4) i;
CREATE TABLE lineitem (l_orderkey bigint NOT NULL REFERENCES orders, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber int NOT NULL,
  l_quantity numeric(12,2) NOT NULL, l_extendedprice numeric(12,2) NOT NULL, l_discount numeric(12,2) NOT NULL, l_tax numeric(12,2) NOT NULL,
  l_returnflag text NOT NULL, l_linestatus text NOT NULL, l_shipdate date NOT NULL, l_commitdate date, l_receiptdate date, l_shipinstruct text,
  l_shipmode text, l_comment text, PRIMARY KEY (l_orderkey, l_linenumber));
INSERT INTO lineitem SELECT 1 + i / 4, hashint8(i) & 131071, hashint8(i + 1) & 8191, 1 + i % 4, 1 + (hashint8(i + 2) & 31),
  (hashint8(i + 3) & 8388607) / 100.0, (hashint8(i + 4) & 7) / 100.0, (hashint8(i + 5) & 7) / 100.0, (ARRAY['A','N','R','N'])[1 + (hashint8(i + 6) & 3)],
  (ARRAY['F','O'])[1 + (hashint8(i + 7) & 1)], date '1992-01-01' + (hashint8(i + 8) & 2047), CASE WHEN i % 50 > 0 THEN date '1992-01-01' + (hashint8(i + 9) & 2047) END,
  date '1992-01-03' + (hashint8(i + 8) & 2047), (ARRAY['DELIVER IN PERSON','COLLECT COD','NONE','TAKE BACK RETURN'])[1 + (hashint8(i + 10) & 3)],
  (ARRAY['AIR','MAIL','SHIP','TRUCK','RAIL','FOB','REG AIR','AIR'])[1 + (hashint8(i + 11) & 7)],
  CASE WHEN i % 20 > 0 THEN substr(md5(i::text), 1, 10 + (i % 20)::int) END FROM generate_series(0::bigint, ROWS - 1) i;
VACUUM (ANALYZE);
";

/// What the team asks, in our words.
const CHECKS: &str = include_str!("../night.toml");
/// The same in Soda's.
const SODA_CHECKS: &str = include_str!("../night.yml");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    rows: u64,
    rounds: Vec<Round>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Round {
    ours: Measured,
    soda: Measured,
    load: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    seconds: f64,
    server_cpu_seconds: f64,
    statements: u64,
    peak_rss_bytes: u64,
}

/// The numbers of a column, whoever found them; of a text, `min` and `max` are of its length.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Column {
    rows: f64,
    nulls: f64,
    distinct: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
}

type Columns = BTreeMap<(String, String), Column>;

/// Makes the data, runs the rounds; says whether the claims hold.
///
/// # Errors
/// When one of the two fails, or when their numbers differ.
pub async fn run(
    field: &Field<'_>,
    progress: &Progress,
    target: &Path,
    checkout: &Path,
    rows: u64,
    rounds: usize,
) -> Result<(bool, impl Serialize + use<>), Failure> {
    progress.step(&format!("making {} rows like TPC-H's, and pgbench of scale 50", human::count(rows)));
    make(field.server, rows).await?;
    let python = venv::python(target, checkout, "soda").await?;
    let checks = field.folder.join("checks.yml");
    std::fs::write(&checks, SODA_CHECKS).context("write the checks")?;
    let mut measured = Vec::new();
    for round in 0..rounds {
        let load = cpu::load();
        let (mut ours, mut soda) = (None, None);
        for place in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            if place == 0 {
                ours = Some(night(field).await?);
            } else {
                soda = Some(scan(field, &python, checkout, &checks).await?);
            }
        }
        let (Some((ours, of_ours)), Some((soda, of_soda))) = (ours, soda) else { unreachable!("both ran") };
        compare(&of_ours, &of_soda)?;
        progress.step(&format!(
            "round {} of {rounds}: ours {:.1} s and {} statements, Soda {:.1} s and {}",
            round + 1,
            ours.seconds,
            ours.statements,
            soda.seconds,
            soda.statements
        ));
        measured.push(Round { ours, soda, load });
    }
    let held = show(&measured);
    Ok((held, Figures { rows, rounds: measured }))
}

async fn make(server: &Server, rows: u64) -> Result<(), Failure> {
    server.run("postgres", &format!("CREATE DATABASE {DATABASE};\n")).await?;
    server.client("pgbench", DATABASE).args(["-i", "-q", "-s", "50", "--foreign-keys"]).run_well().await.context("pgbench")?;
    server.run(DATABASE, "CREATE EXTENSION pg_stat_statements;\n").await?;
    server.run(DATABASE, &DATA.replace("ROWS", &rows.to_string())).await
}

async fn statements(server: &Server) -> Result<u64, Failure> {
    let sum = server.ask(DATABASE, "SELECT sum(calls)::bigint FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'").await?;
    sum.parse().map_err(|error| Failure::from_error(FailureKind::Other, &error).context("count statements"))
}

async fn night(field: &Field<'_>) -> Result<(Measured, Columns), Failure> {
    field.sink.clear();
    field.sink.parameter("/lifeboat/dev/checks", CHECKS);
    field.server.run(DATABASE, "SELECT pg_stat_statements_reset();\n").await?;
    let environment = field.environment(&[
        ("INTEGRITY_URL_PARAMETER", "/lifeboat/dev/database-url"),
        ("INTEGRITY_CHECKS", "/lifeboat/dev/checks"),
        ("DATABASES", DATABASE),
        // Soda has no pace, no sample and no amcheck.
        ("PAGES_PER_SECOND", "1048576"),
        ("TABLE_PAGES_MAX", "100000000"),
        ("AMCHECK_PAGES_MAX", "0"),
    ]);
    let (cpu, began) = (field.server.cpu_seconds(), Instant::now());
    let runner = Runner::start(&field.function, &environment).await?;
    let outcome = runner.invoke(&json!({"kind": "check"}), LIMIT).await;
    let seconds = began.elapsed().as_secs_f64();
    let peak_rss_bytes = runner.peak_rss_bytes();
    let (_, errors) = runner.end().await;
    let Outcome::Ok(report) = outcome else {
        return Err(Failure::new(FailureKind::Other, format!("the night did not end well: {outcome:?} {}", errors.join("\n"))));
    };
    let is_failed =
        |finding: &Value| ["checkFailed", "checkWarned", "checkNoted", "checkInvalid", "notChecked"].iter().any(|kind| finding["kind"] == *kind);
    if report["findings"].as_array().into_iter().flatten().any(is_failed) {
        return Err(Failure::new(FailureKind::Other, format!("a check failed: {report:#}")));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let measured =
        Measured { seconds, server_cpu_seconds: field.server.cpu_seconds() - cpu, statements: statements(field.server).await?, peak_rss_bytes };
    Ok((measured, history(field)?))
}

/// The numbers of the night, from the history that it left in the bucket.
fn history(field: &Field<'_>) -> Result<Columns, Failure> {
    let objects = field.sink.objects(&format!("{BUCKET}/history/tables/"));
    let (_, object) = objects.first_key_value().ok_or_else(|| Failure::new(FailureKind::Other, "the night left no history"))?;
    let bytes: Vec<u8> = object.pieces.concat();
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).context("decompress the history")?;
    let mut columns = Columns::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).context("read the history")?;
        let Some(column) = line["column"].as_str() else { continue };
        let table = line["table"].as_str().unwrap_or_default().trim_start_matches("public.").to_owned();
        let number = |name: &str| line[name].as_f64();
        columns.insert(
            (table, column.to_owned()),
            Column {
                // None of these tables is sampled.
                rows: number("seen").unwrap_or(-1.0),
                nulls: number("nulls").unwrap_or(0.0),
                distinct: number("distinct"),
                min: number("min"),
                max: number("max"),
            },
        );
    }
    Ok(columns)
}

/// What Soda's script prints.
#[derive(Deserialize)]
struct Scanned {
    tables: BTreeMap<String, ScannedTable>,
    checks: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ScannedTable {
    rows: f64,
    columns: BTreeMap<String, Value>,
}

async fn scan(field: &Field<'_>, python: &Path, checkout: &Path, checks: &PathBuf) -> Result<(Measured, Columns), Failure> {
    field.server.run(DATABASE, "SELECT pg_stat_statements_reset();\n").await?;
    let (cpu, began) = (field.server.cpu_seconds(), Instant::now());
    let job = field.server.environment(DATABASE).into_iter().fold(Job::new(python), |job, (name, value)| job.env(name, value));
    let job = job.env("HOME", &field.folder).env("SODA_TELEMETRY", "false").folder(&field.folder);
    let ended = job.args([&checkout.join("bench/soda_scan.py"), checks]).run_well().await.context("run Soda")?;
    let seconds = began.elapsed().as_secs_f64();
    // Soda prints its own log lines before.
    let printed = String::from_utf8_lossy(&ended.stdout);
    let json = printed.lines().last().unwrap_or_default();
    let scanned: Scanned = serde_json::from_str(json).context("read what Soda printed")?;
    if let Some((check, outcome)) = scanned.checks.iter().find(|(_, outcome)| *outcome != "pass") {
        return Err(Failure::new(FailureKind::Other, format!("Soda says {outcome} of {check}")));
    }
    let mut columns = Columns::new();
    for (table, scanned) in scanned.tables {
        for (column, profile) in scanned.columns {
            let number = |name: &str| profile[name].as_f64();
            columns.insert(
                (table.clone(), column),
                Column {
                    rows: scanned.rows,
                    nulls: number("missing_count").unwrap_or(-1.0),
                    distinct: number("distinct"),
                    min: number("min").or_else(|| number("min_length")),
                    max: number("max").or_else(|| number("max_length")),
                },
            );
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let server_cpu_seconds = field.server.cpu_seconds() - cpu;
    Ok((Measured { seconds, server_cpu_seconds, statements: statements(field.server).await?, peak_rss_bytes: 0 }, columns))
}

/// Everything that Soda knows must be the same with us.
fn compare(ours: &Columns, soda: &Columns) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for table in TABLES {
        if !soda.keys().any(|(name, _)| name == table) {
            wrong.push(format!("Soda says nothing of {table}"));
        }
    }
    for (key, theirs) in soda {
        let Some(own) = ours.get(key) else {
            wrong.push(format!("we say nothing of {key:?}"));
            continue;
        };
        let differ = |a: Option<f64>, b: Option<f64>, share: f64| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() > share * b.abs().max(1.0),
            (None, Some(_)) => true,
            _ => false,
        };
        let same = |what: &str, differ: bool| if differ { Some(format!("{what} of {key:?}: {own:?}, Soda {theirs:?}")) } else { None };
        wrong.extend(same("rows", differ(Some(own.rows), Some(theirs.rows), 0.0)));
        wrong.extend(same("nulls", differ(Some(own.nulls), Some(theirs.nulls), 0.0)));
        wrong.extend(same("smallest", differ(own.min, theirs.min, 1e-9)));
        wrong.extend(same("largest", differ(own.max, theirs.max, 1e-9)));
        wrong.extend(same("distinct", differ(own.distinct, theirs.distinct, DISTINCT_SHARE_MAX)));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(FailureKind::Corrupt, wrong.join("\n"))) }
}

fn show(rounds: &[Round]) -> bool {
    let row = |title: &str, of: &dyn Fn(&Measured) -> f64| {
        let median = |which: &dyn Fn(&Round) -> f64| format!("{:.1}", summary::median(rounds.iter().map(which)));
        vec![title.to_owned(), median(&|round| of(&round.ours)), median(&|round| of(&round.soda))]
    };
    #[expect(clippy::cast_precision_loss, reason = "a count of statements")]
    let rows = [
        row("seconds", &|measured| measured.seconds),
        row("CPU seconds of the server", &|measured| measured.server_cpu_seconds),
        row("statements", &|measured| measured.statements as f64),
    ];
    summary::print(&format!("a night against Soda Core, {} rounds", rounds.len()), &["", "lifeboat", "soda"], &rows);
    let faster = summary::median(rounds.iter().map(|round| round.soda.seconds / round.ours.seconds));
    #[expect(clippy::cast_precision_loss, reason = "a count of statements")]
    let fewer = summary::median(rounds.iter().map(|round| round.soda.statements as f64 / round.ours.statements.max(1) as f64));
    let peak = rounds.iter().map(|round| round.ours.peak_rss_bytes).max().unwrap_or(u64::MAX);
    let held = [
        summary::claim(&format!("at least 3 times as fast: {faster:.1}"), faster >= 3.0),
        summary::claim(&format!("at least 5 times fewer statements: {fewer:.1}"), fewer >= 5.0),
        summary::claim(&format!("never more than 128 MiB: {} MiB", peak >> 20), peak <= RSS_BYTES_MAX),
    ];
    held.iter().all(|held| *held)
}
