//! How good the detection of anomalies is, measured on the product's code: series whose wrong nights are known are written into histories night by night, as the
//! function writes them, read back and judged, with what was flagged before. Seeds that something was tuned on are not those that it is judged by.

mod generate;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Days, Utc};
pub use generate::Kind;
use generate::{Drawn, NIGHTS};
use integrity_check::anomaly::{Calendar, Judgement, judge};
use integrity_check::history::{Extremes, NIGHTS_MAX, TableTonight, encode, unpack};
use integrity_check::model::{ColumnMetrics, TableMetrics, TypeClass};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// What came of the series of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Wrong nights that were flagged.
    pub found: u32,
    /// Wrong nights that were not.
    pub missed: u32,
    /// Right nights that were flagged.
    pub false_alarms: u32,
    /// Right nights.
    pub right: u32,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.found += other.found;
        self.missed += other.missed;
        self.false_alarms += other.false_alarms;
        self.right += other.right;
    }

    /// Of the wrong nights, those that were flagged.
    pub fn recall(self) -> f64 {
        f64::from(self.found) / f64::from((self.found + self.missed).max(1))
    }

    /// Of the flagged nights, those that were wrong.
    pub fn precision(self) -> f64 {
        f64::from(self.found) / f64::from((self.found + self.false_alarms).max(1))
    }

    /// False alarms of 500 series in a night.
    pub fn false_alarms_of_500(self) -> f64 {
        500.0 * f64::from(self.false_alarms) / f64::from(self.right.max(1))
    }
}

/// What came of a simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulated(pub BTreeMap<Kind, Tally>);

impl Simulated {
    /// Of these kinds together.
    pub fn of(&self, kinds: &[Kind]) -> Tally {
        let mut sum = Tally::default();
        self.0.iter().filter(|(kind, _)| kinds.contains(kind)).for_each(|(_, tally)| sum.add(*tally));
        sum
    }

    /// Of all kinds.
    pub fn all(&self) -> Tally {
        self.of(&[&Kind::COMPARED[..], &Kind::FURTHER[..]].concat())
    }

    /// Adds another one.
    pub fn merge(&mut self, other: &Self) {
        for (kind, tally) in &other.0 {
            self.0.entry(*kind).or_default().add(*tally);
        }
    }

    /// Promises that are not kept, of the compared kinds and of all.
    pub fn wrong(&self, recall_min: f64, precision_min: f64) -> Vec<String> {
        let sums = [("the compared kinds", self.of(&Kind::COMPARED)), ("all kinds", self.all())];
        let is_wrong = |tally: Tally| tally.recall() < recall_min || tally.precision() < precision_min || tally.false_alarms_of_500() > 1.0;
        let bad = sums.into_iter().filter(|(_, tally)| is_wrong(*tally));
        bad.map(|(name, tally)| format!("{name}: at least {recall_min} and {precision_min} are promised, and at most 1 false alarm: {tally}"))
            .collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recall, precision, alarms) = (self.recall(), self.precision(), self.false_alarms_of_500());
        if self.found + self.missed == 0 {
            return write!(formatter, "recall     -  precision     -  false alarms of 500 a night {alarms:5.2}");
        }
        write!(formatter, "recall {recall:.3}  precision {precision:.3}  false alarms of 500 a night {alarms:5.2}")
    }
}

impl fmt::Display for Simulated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, tally) in &self.0 {
            writeln!(formatter, "{:<18} {tally}", format!("{kind:?}"))?;
        }
        writeln!(formatter, "{:<18} {}", "the compared kinds", self.of(&Kind::COMPARED))?;
        write!(formatter, "{:<18} {}", "all kinds", self.all())
    }
}

/// Series of each kind that a seed of [`many`] draws.
const EACH: usize = 25;

/// Simulations of many seeds: after nine weeks of history, after three, and what is promised and does not hold.
pub fn many(seed: u64, count: u64) -> (Simulated, Simulated, Vec<String>) {
    let (mut full, mut early) = (Simulated::default(), Simulated::default());
    for seed in seed..seed + count {
        full.merge(&simulate(seed, EACH, 63));
        early.merge(&simulate(seed, EACH, 21));
    }
    let wrong = [full.wrong(0.95, 0.95), early.wrong(0.90, 0.90)].concat();
    (full, early, wrong)
}

/// Draws so many series of each kind and plays 150 nights of them, judged from the night `from` on.
pub fn simulate(seed: u64, each: usize, from: usize) -> Simulated {
    let mut rng = StdRng::seed_from_u64(seed);
    let kinds = Kind::COMPARED.into_iter().chain(Kind::FURTHER);
    let drawn: Vec<Drawn> = kinds.flat_map(|kind| std::iter::repeat_n(kind, each)).map(|kind| generate::draw(&mut rng, kind, from)).collect();
    let names: Vec<String> = (0..drawn.len()).map(|number| format!("public.table_{number}")).collect();
    let mut simulated = Simulated::default();
    let mut written: Vec<(DateTime<Utc>, Vec<u8>)> = Vec::new();
    for night in 0..NIGHTS {
        let tables: Vec<TableTonight> = drawn.iter().zip(&names).map(|(one, name)| table(one, name, night)).collect();
        // A Monday, as the drawn weeks begin with one.
        let slot = "2026-01-05T02:00:00Z".parse::<DateTime<Utc>>().expect("a time") + Days::new(night as u64);
        let mut judgement = Judgement::default();
        if night >= from {
            judgement = judge(&unpack(&written, &tables, usize::MAX), &tables, slot, &Calendar::default());
            for (one, name) in drawn.iter().zip(&names).filter(|(one, _)| one.values[night].is_some()) {
                let is_flagged = [None, Some("value")].into_iter().any(|column| !judgement.marks.of(name, column, false).is_empty());
                let tally = simulated.0.entry(one.kind).or_default();
                match one.mistakes.contains_key(&night) {
                    true if !one.kind.shows_mistakes() => {}
                    true if is_flagged => tally.found += 1,
                    true => tally.missed += 1,
                    false => {
                        tally.right += 1;
                        tally.false_alarms += u32::from(is_flagged);
                    }
                }
            }
        }
        written.push((slot, encode(slot.date_naive(), &tables, &judgement.marks, Extremes::Values)));
        if written.len() > NIGHTS_MAX {
            written.remove(0);
        }
    }
    simulated
}

/// A night of a series as the function has it: rows of a table, or the nulls of a column of a table that does not change.
fn table(one: &Drawn, name: &str, night: usize) -> TableTonight {
    let whole = shared::human::whole;
    let metrics = one.values[night].map(|value| {
        if one.kind.is_share() {
            let seen = whole(one.kind.seen());
            let column = ColumnMetrics { column: "value".into(), nulls: whole(value * one.kind.seen()), ..ColumnMetrics::default() };
            TableMetrics { table: name.to_owned(), rows: seen, seen, pages: 1, partial: None, columns: vec![column] }
        } else {
            TableMetrics { table: name.to_owned(), rows: whole(value), seen: whole(value), pages: 1, ..TableMetrics::default() }
        }
    });
    let columns = if one.kind.is_share() { vec![("value".to_owned(), TypeClass::Hashable)] } else { Vec::new() };
    TableTonight { table: name.to_owned(), quoted: name.to_owned(), pages: 1, columns, metrics }
}
