//! Memory: the peak of what the function and pg_dump hold together must fit a small function, and must not grow with the database.

use local::progress::Progress;
use serde::Serialize;
use shared::failure::Failure;
use shared::human;

use crate::contenders::Field;
use crate::data::{self, Shape};
use crate::summary;

const PEAK_BYTES_MAX: u64 = 128 << 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    size_bytes: [u64; 2],
    seed: u64,
    peak_rss_bytes: Vec<[u64; 2]>,
}

/// Dumps a large and a small database with rows of 1 MB; says whether the claims hold.
///
/// # Errors
/// When a dump fails.
pub async fn run(
    field: &Field<'_>,
    progress: &Progress,
    size_bytes: u64,
    seed: u64,
    rounds: usize,
) -> Result<(bool, impl Serialize + use<>), Failure> {
    let sizes = [size_bytes, size_bytes / 10];
    let databases = ["documents_large", "documents_small"];
    for (database, size) in databases.iter().zip(sizes) {
        progress.step(&format!("making the database {database} of {}", human::bytes(size)));
        data::make(field.server, database, Shape::Documents, size, seed).await?;
    }
    let mut peaks: Vec<[u64; 2]> = Vec::new();
    for round in 0..rounds {
        let mut of_round = [0; 2];
        for (peak, database) in of_round.iter_mut().zip(databases) {
            field.sink.clear();
            *peak = field.lifeboat(database).await?.peak_rss_bytes;
            progress.step(&format!("round {} of {rounds}, {database}: {} MiB", round + 1, *peak >> 20));
        }
        peaks.push(of_round);
    }
    let row = |place: usize| {
        let of = |peaks: &mut dyn Iterator<Item = u64>| peaks.map(|peak| format!("{:.1}", mebibytes(peak))).collect::<Vec<_>>().join(" ");
        vec![human::bytes(sizes[place]), of(&mut peaks.iter().map(|round| round[place]))]
    };
    summary::print(
        "peak resident memory of the function and pg_dump together, MiB, one figure for each round",
        &["database", "peak"],
        &[row(0), row(1)],
    );
    let largest = peaks.iter().flatten().copied().max().unwrap_or(u64::MAX);
    let middle = |place: usize| summary::median(peaks.iter().map(|round| mebibytes(round[place])));
    let (large, small) = (middle(0), middle(1));
    let difference = (large / small - 1.0).abs();
    let held = [
        summary::claim(&format!("never more than 128 MiB: {:.1} MiB", mebibytes(largest)), largest <= PEAK_BYTES_MAX),
        summary::claim(&format!("within 10 % of each other (medians): {:.1} %", difference * 100.0), difference <= 0.1),
    ];
    Ok((held.iter().all(|held| *held), Figures { size_bytes: sizes, seed, peak_rss_bytes: peaks }))
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
