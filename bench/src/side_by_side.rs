//! Dump against dump, in one run: every round runs each contender once, so that what disturbs the machine disturbs all. Ratios of the same round are
//! what counts; seconds depend on the machine.

use local::progress::Progress;
use serde::Serialize;
use shared::failure::Failure;
use shared::human;

use crate::contenders::{Contender, Field, Measured};
use crate::data::{self, Shape};
use crate::summary;

/// In the order of a round: whoever is fastest must not always profit from the same neighbour, so it turns by one from round to round.
const CONTENDERS: [Contender; 4] = [Contender::Ceiling, Contender::Lifeboat, Contender::Directory, Contender::Custom];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    shape: &'static str,
    database_bytes: u64,
    seed: u64,
    rounds: Vec<Vec<Measured>>,
}

/// Runs the rounds for one shape; says whether the claims hold.
///
/// # Errors
/// When a contender fails.
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
    let database_bytes = field.server.ask(database, "SELECT pg_database_size(current_database())").await?.parse().unwrap_or(0);
    progress.step("reading it once, so that all find it in the page cache");
    field.run(Contender::Ceiling, database).await?;
    let mut measured: Vec<Vec<Measured>> = Vec::new();
    for round in 0..rounds {
        let mut of_round = Vec::new();
        for place in 0..CONTENDERS.len() {
            let contender = CONTENDERS[(place + round) % CONTENDERS.len()];
            of_round.push(field.run(contender, database).await?);
            if let Some(last) = of_round.last() {
                progress.step(&format!("round {} of {rounds}, {}: {:.2} s", round + 1, contender.title(), last.seconds));
            }
        }
        measured.push(of_round);
    }
    let held = show(&format!("{database}: {} in PostgreSQL, {rounds} rounds, medians", human::bytes(database_bytes)), &measured);
    Ok((held, Figures { shape: database, database_bytes, seed, rounds: measured }))
}

fn show(title: &str, rounds: &[Vec<Measured>]) -> bool {
    let all = |contender: Contender| rounds.iter().flatten().filter(move |measured| measured.contender == contender);
    let median = |contender: Contender, of: &dyn Fn(&Measured) -> f64| summary::median(all(contender).map(of));
    // How many times as long as ours, in the same round.
    let ratio = |contender: Contender| {
        let seconds = |round: &[Measured], contender| {
            round.iter().find(|measured| measured.contender == contender).map_or(f64::NAN, |measured| measured.seconds)
        };
        summary::median(rounds.iter().map(|round| seconds(round, contender) / seconds(round, Contender::Lifeboat)))
    };
    let rows: Vec<Vec<String>> = CONTENDERS
        .iter()
        .map(|&contender| {
            let figure = |of: &dyn Fn(&Measured) -> f64| median(contender, of);
            vec![
                contender.title().to_owned(),
                format!("{:.2}", figure(&|measured| measured.seconds)),
                format!("{:.2}", ratio(contender)),
                human::bytes(human::whole(figure(&stored))),
                format!("{:.2}", figure(&|measured| measured.client_cpu_seconds)),
                format!("{:.2}", figure(&|measured| measured.server_cpu_seconds)),
                format!("{:.2}", figure(&|measured| measured.sink_cpu_seconds)),
                format!("{:.1}", figure(&|measured| measured.load)),
            ]
        })
        .collect();
    summary::print(title, &["", "seconds", "x ours", "stored", "cpu client", "cpu server", "cpu sink", "load"], &rows);
    let (custom, directory) = (ratio(Contender::Custom), ratio(Contender::Directory));
    let size = median(Contender::Lifeboat, &stored) / median(Contender::Directory, &stored);
    let held = [
        summary::claim(&format!("at least 5 times as fast as pg_dump -Fc | aws s3 cp: {custom:.2}"), custom >= 5.0),
        summary::claim(&format!("at least 1.3 times as fast as pg_dump -Fd -j2 + upload: {directory:.2}"), directory >= 1.3),
        // A tenth of a percent: a frame's header for each slice and our manifest.
        summary::claim(&format!("not larger than pg_dump's at the same level: {size:.4} of it"), size <= 1.001),
    ];
    held.iter().all(|held| *held)
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn stored(measured: &Measured) -> f64 {
    measured.stored_bytes as f64
}
