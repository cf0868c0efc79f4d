//! The large counts: checks that `cargo test` runs a few seeds of, run for as long as somebody wants. The seed is printed, and makes the same run again.
//!
//! `cargo run --release -p bench --bin soak -- mutations|restores|random|planted|faults|histories|drills|troubles|rotations|turns|urls|anomalies|pages|cards --seed S --count N [--majors 15,16,17,18]`

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use tests::anomalies::many;
use tests::bed::Bed;
use tests::cards::fuzz;
use tests::drills::{clean_drills, troubled};
use tests::faults::{FAULTS, Faulted, chaos, cuts, kills, s3_faults};
use tests::histories::mutants::Mutant;
use tests::histories::{histories_at_once, until_caught};
use tests::pages::broken_pages;
use tests::rotations::{Bug, Tally, history, signing_history};
use tests::soak::Counts;
use tests::soak::mutations::mutations;
use tests::soak::planted::{BUGS, planted_bugs};
use tests::soak::random::{Coverage, random_database};
use tests::soak::restores::clean_restores;
use tests::turns::turns;
use tests::urls::rotate_drawn;
use tests::world::{python, run, use_functions};

#[derive(Parser)]
#[command(about = "Runs checks by seed, many of them. Exits with 1 when one does not hold.")]
struct Arguments {
    /// Which checks.
    what: What,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many: mutations, restores, seeds, seeds for each planted bug, points of each kind of fault, histories, seeds of drills, rotations, URLs, or inputs.
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// PostgreSQL's majors, in turn.
    #[arg(long, value_delimiter = ',', default_value = "17")]
    majors: Vec<u32>,
    /// The functions' binaries, instead of those built now.
    #[arg(long)]
    functions: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Mutations,
    Restores,
    Random,
    Planted,
    /// Connections to PostgreSQL cut at so many points.
    Cuts,
    /// The process killed at so many of its calls to AWS.
    Kills,
    /// Every fault at so many calls of each of S3's operations.
    S3,
    /// So many runs in which a share of all requests is hit.
    Chaos,
    /// These four, one after the other; the faults of S3 at a tenth as many calls.
    Faults,
    /// Worlds of backups over time, under retention; then every planner that is wrong, until it is caught.
    Histories,
    /// Two drills of generated databases for each seed, none of which may find anything.
    Drills,
    /// So many drills of a snapshot, and as many of an archive, with trouble at a call.
    Troubles,
    /// Rotations in the model, of credentials and of keys; then with every planted bug, until it is noticed.
    Rotations,
    /// Rotations of the real function under an application that logs in all the time, with trouble at a moment that the seed chooses.
    Turns,
    /// URLs through a rotation, read before and after by libpq, psycopg, urllib, sqlx and JDBC's rules.
    Urls,
    /// Drawn series of numbers, in which something goes wrong: found, missed, and said for nothing.
    Anomalies,
    /// Pages of tables and indexes, broken one by one: what `pg_amcheck` finds of them, and the nightly check.
    Pages,
    /// What may come to the notifier, changed in every way, read and shown.
    Cards,
}

/// Mutations of one generated database, and restores of one source.
const EACH: usize = 100;
/// URLs of one seed.
const URLS_EACH: usize = 10_000;
/// Seeds of broken pages on one server.
const PAGES_EACH: usize = 20;
/// Inputs of the notifier between two lines about them.
const INPUTS_EACH: u64 = 50_000;
/// Of one seed.
const WRONG_SHOWN_MAX: usize = 20;
/// Histories within which a planner that is wrong, or a planted bug, must be caught.
const HISTORIES_MAX: u64 = 10_000;

#[expect(clippy::print_stdout, reason = "the output of a program")]
fn say(line: &str) {
    println!("{line}");
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.functions {
        use_functions(folder.clone());
    }
    let began = Instant::now();
    let (summary, wrong) = run(async {
        match arguments.what {
            What::Mutations => soak_mutations(&arguments, began).await,
            What::Restores => soak_restores(&arguments, began).await,
            What::Random => soak_random(&arguments, began).await,
            What::Planted => soak_planted(&arguments).await,
            What::Cuts => shown(cuts(arguments.count as u64).await),
            What::Kills => shown(kills(arguments.count).await),
            What::S3 => shown(s3_faults(arguments.seed, &FAULTS, arguments.count as u64).await),
            What::Chaos => shown(chaos(arguments.seed, arguments.count as u64).await),
            What::Faults => soak_faults(&arguments).await,
            What::Histories => soak_histories(&arguments),
            What::Drills => soak_drills(&arguments, began).await,
            What::Troubles => soak_troubles(&arguments).await,
            What::Rotations => soak_rotations(&arguments),
            What::Turns => soak_turns(&arguments).await,
            What::Urls => soak_urls(&arguments, began).await,
            What::Anomalies => soak_anomalies(&arguments),
            What::Pages => soak_pages(&arguments).await,
            What::Cards => soak_cards(&arguments, began),
        }
    });
    for wrong in &wrong {
        say(wrong);
    }
    say(&format!(
        "{:?}: seed {}, count {}, majors {:?}: {summary}; {} wrong; {:.0} s",
        arguments.what,
        arguments.seed,
        arguments.count,
        arguments.majors,
        wrong.len(),
        began.elapsed().as_secs_f64()
    ));
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The parts of a run: a seed, a major, and how many.
fn parts(arguments: &Arguments, each: usize) -> Vec<(u64, u32, usize)> {
    let majors = arguments.majors.iter().copied().cycle();
    let numbers = (0..arguments.count.div_ceil(each)).map(|part| (part, each.min(arguments.count - part * each)));
    numbers.zip(majors).map(|((part, count), major)| (arguments.seed + part as u64, major, count)).collect()
}

async fn soak_mutations(arguments: &Arguments, began: Instant) -> (String, Vec<String>) {
    let (mut found, mut tables, mut drawn_again, mut done, mut missed) = (Counts::default(), 0, 0, 0, Vec::new());
    let parts = parts(arguments, EACH);
    let databases = parts.len();
    for (seed, major, count) in parts {
        let seen = mutations(seed, major, count).await;
        done += count;
        tables += seen.tables;
        drawn_again += seen.drawn_again;
        found.merge(&seen.found);
        let (missed_here, seconds) = (seen.missed.len(), began.elapsed().as_secs_f64());
        say(&format!("{done} mutations: seed {seed} on {major}: {} tables, {missed_here} missed, {seconds:.0} s", seen.tables));
        missed.extend(seen.missed);
    }
    (format!("{done} mutations of {databases} databases with {tables} tables ({found}; {drawn_again} draws changed nothing)"), missed)
}

async fn soak_restores(arguments: &Arguments, began: Instant) -> (String, Vec<String>) {
    let (mut restored, mut rows, mut slowest, mut tables, mut wrong) = (0, 0, f64::INFINITY, usize::MAX, Vec::new());
    for (seed, major, count) in parts(arguments, EACH / 4) {
        let seen = clean_restores(seed, major, count).await;
        restored += seen.restored;
        rows += seen.rows;
        tables = tables.min(seen.tables);
        slowest = slowest.min(seen.commits_per_second_min);
        wrong.extend(seen.false_alarms);
        if seen.commits_per_second_min < 50.0 || seen.tables < 20 {
            wrong.push(format!("seed {seed} on {major}: {:.0} commits/s, {} tables", seen.commits_per_second_min, seen.tables));
        }
        let seconds = began.elapsed().as_secs_f64();
        say(&format!("{restored} restores: seed {seed} on {major}: at least {:.0} commits/s, {seconds:.0} s", seen.commits_per_second_min));
    }
    (format!("{restored} clean restores of {tables} tables or more, {rows} rows, at least {slowest:.0} commits/s during every dump"), wrong)
}

async fn soak_random(arguments: &Arguments, began: Instant) -> (String, Vec<String>) {
    let bed = Bed::new().await;
    let mut coverage = Coverage::default();
    for (seed, major, _) in parts(arguments, 1) {
        coverage.merge(&random_database(&bed, seed, major).await);
        if coverage.seeds.is_multiple_of(20) {
            say(&format!("{} seeds: up to {seed}, {:.0} s", coverage.seeds, began.elapsed().as_secs_f64()));
        }
    }
    say(&format!("features: {}", coverage.features));
    let majors: BTreeSet<u32> = arguments.majors.iter().copied().collect();
    let oldest = majors.first().and_then(|major| u16::try_from(*major).ok()).unwrap_or_default();
    let rare = if coverage.seeds >= 100 { coverage.rare(oldest) } else { Vec::new() };
    let wrong = rare.iter().map(|feature| format!("{feature} is in fewer than a tenth of the seeds")).collect();
    let Coverage { seeds, tables, large_tables, sliced_tables, empty_slices, .. } = coverage;
    let shown = format!(
        "{seeds} databases faithful, restored and proved; of {tables} tables {large_tables} are made for three slices, {sliced_tables} came in three or more; {empty_slices} slices without a row"
    );
    (shown, wrong)
}

async fn soak_planted(arguments: &Arguments) -> (String, Vec<String>) {
    let (mut noticed, mut wrong) = (0, Vec::new());
    for major in &arguments.majors {
        for planted in planted_bugs(arguments.seed, arguments.count as u64, *major).await {
            let Some(seeds) = planted.seeds else {
                wrong.push(format!("on {major}: {}: planted in {} seeds and not noticed", planted.bug, planted.planted));
                continue;
            };
            noticed += 1;
            say(&format!("on {major}: {}: after {seeds} seeds, planted {} times: {}", planted.bug, planted.planted, planted.noticed));
        }
    }
    (format!("{noticed} planted bugs of {} noticed", BUGS.len() * arguments.majors.len()), wrong)
}

fn soak_histories(arguments: &Arguments) -> (String, Vec<String>) {
    let mut played = histories_at_once(arguments.seed, arguments.count as u64);
    say(&format!("{}", played.seen));
    let mut latest = 0;
    for mutant in Mutant::ALL {
        match until_caught(mutant, arguments.seed, HISTORIES_MAX) {
            Some((count, by)) => {
                latest = count.max(latest);
                say(&format!("{mutant:?}: caught after {count}: {by}"));
            }
            None => played.wrong.push(format!("{mutant:?} is not caught in {HISTORIES_MAX} histories")),
        }
    }
    let (runs, decisions) = (played.seen.of("runs"), played.seen.of("decisions"));
    let mutants = Mutant::ALL.len();
    (format!("{runs} runs of retention with {decisions} decisions; {mutants} wrong planners, the last caught after {latest} histories"), played.wrong)
}

async fn soak_drills(arguments: &Arguments, began: Instant) -> (String, Vec<String>) {
    let (mut drills, mut wrong) = (0, Vec::new());
    for (seed, _, _) in parts(arguments, 1) {
        let (played, found) = clean_drills(seed..seed + 1).await;
        drills += played;
        wrong.extend(found);
        if drills.is_multiple_of(20) {
            say(&format!("{drills} drills: up to seed {seed}, {} false alarms, {:.0} s", wrong.len(), began.elapsed().as_secs_f64()));
        }
    }
    (format!("{drills} drills of sound databases"), wrong)
}

async fn soak_troubles(arguments: &Arguments) -> (String, Vec<String>) {
    let mut wrong = Vec::new();
    for source in ["snapshot", "archive"] {
        let found = troubled(source, arguments.seed, arguments.count).await;
        say(&format!("{source}: {} wrong", found.len()));
        wrong.extend(found);
    }
    (format!("{} drills with trouble at a call", 2 * arguments.count), wrong)
}

fn soak_rotations(arguments: &Arguments) -> (String, Vec<String>) {
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    let seeds = arguments.seed..arguments.seed + arguments.count as u64;
    for seed in seeds.clone() {
        wrong.extend(history(seed, None, &mut tally).err());
    }
    let keys = seeds.clone().step_by(10);
    wrong.extend(keys.clone().filter_map(|seed| signing_history(seed, false).err()));
    for bug in Bug::ALL {
        let caught = seeds.clone().take(usize::try_from(HISTORIES_MAX).unwrap_or(usize::MAX)).find_map(|seed| {
            let wrong = history(seed, Some(bug), &mut Tally::default()).err()?;
            wrong.contains(bug.breaks()).then(|| (seed - arguments.seed + 1, bug.breaks()))
        });
        match caught {
            Some((count, invariant)) => say(&format!("{bug:?}: noticed after {count}, as a breach of {invariant}")),
            None => wrong.push(format!("{bug:?} is not noticed")),
        }
    }
    (format!("{tally:?}; {} histories of keys", keys.count()), wrong)
}

async fn soak_turns(arguments: &Arguments) -> (String, Vec<String>) {
    let turns = turns(arguments.seed, arguments.count as u64, Duration::from_millis(10)).await;
    say(&format!("{:?}", turns.troubles));
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = turns.logins as f64 / turns.seconds;
    (format!("{} rotations, {} logins, {rate:.0} of them a second", turns.rotations, turns.logins), turns.wrong)
}

async fn soak_urls(arguments: &Arguments, began: Instant) -> (String, Vec<String>) {
    let (python, mut counts, mut wrong) = (python().await, Counts::default(), Vec::new());
    for (seed, _, count) in parts(arguments, URLS_EACH) {
        let rotated = rotate_drawn(&python, seed, count).await;
        counts.merge(&rotated.counts);
        let (wrong_here, seconds) = (rotated.wrong.len(), began.elapsed().as_secs_f64());
        say(&format!("{count} URLs: seed {seed}: {wrong_here} wrong, {seconds:.0} s"));
        wrong.extend(rotated.wrong.into_iter().take(WRONG_SHOWN_MAX));
    }
    (format!("{} URLs rotated; {counts}", arguments.count), wrong)
}

fn soak_anomalies(arguments: &Arguments) -> (String, Vec<String>) {
    let (full, early, wrong) = many(arguments.seed, arguments.count as u64);
    say(&format!("after nine weeks:\n{full}\nafter three:\n{early}"));
    (format!("{} seeds", arguments.count), wrong)
}

async fn soak_pages(arguments: &Arguments) -> (String, Vec<String>) {
    let (mut counts, mut wrong) = (Counts::default(), Vec::new());
    for (part, (_, major, count)) in parts(arguments, PAGES_EACH).into_iter().enumerate() {
        let seed = arguments.seed + (part * PAGES_EACH) as u64;
        let (counted, found) = broken_pages(major, seed..seed + count as u64).await;
        counts.merge(&counted);
        wrong.extend(found);
    }
    (format!("{counts}"), wrong)
}

fn soak_cards(arguments: &Arguments, began: Instant) -> (String, Vec<String>) {
    let (mut inputs, mut counts, mut wrong) = (0, Counts::default(), Vec::new());
    let wanted = arguments.count as u64;
    while inputs < wanted && wrong.len() < WRONG_SHOWN_MAX {
        let fuzzed = fuzz(arguments.seed + inputs, INPUTS_EACH.min(wanted - inputs));
        inputs += fuzzed.inputs;
        counts.merge(&fuzzed.counts);
        wrong.extend(fuzzed.wrong);
        say(&format!("{inputs} inputs: {} wrong, {:.0} s", wrong.len(), began.elapsed().as_secs_f64()));
    }
    (format!("{inputs} inputs read, shown and judged ({counts})"), wrong)
}

fn shown(faulted: Faulted) -> (String, Vec<String>) {
    (format!("{} runs with a fault, {} of them good in spite of it, each followed by a good one", faulted.runs, faulted.good), faulted.wrong)
}

/// All kinds, one after the other.
async fn soak_faults(arguments: &Arguments) -> (String, Vec<String>) {
    let mut all = Faulted::default();
    let (seed, count) = (arguments.seed, arguments.count);
    for (name, faulted) in [
        ("cuts", cuts(count as u64).await),
        ("kills", kills(count).await),
        ("faults of S3", s3_faults(seed, &FAULTS, (count as u64).div_ceil(10)).await),
        ("chaos", chaos(seed, count as u64).await),
    ] {
        say(&format!("{name}: {} runs, {} good in spite of it, {} wrong", faulted.runs, faulted.good, faulted.wrong.len()));
        all.merge(faulted);
    }
    shown(all)
}
