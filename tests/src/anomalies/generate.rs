//! Series of nightly numbers as tables make them, and what goes wrong in them: drawn from a seed, with the nights that are wrong known.
//!
//! The first nine kinds and the mixture of mistakes are those that the published comparison of detectors was made with, so that the figures can be set side by
//! side; the others are what tables do besides.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, index};

/// How a number behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// About the same every night.
    Flat,
    /// More every night.
    Growth,
    /// Weekends are less than half.
    Weekly,
    /// Both.
    WeeklyGrowth,
    /// The same every night.
    Constant,
    /// Three, more or less: a queue.
    Few,
    /// About the same, with wild nights.
    HeavyTail,
    /// A share that is 0.
    ShareNone,
    /// A share of 2 %.
    ShareSome,
    /// All that ever came: never less than the night before.
    Cumulative,
    /// It goes where it goes, from where it was.
    Walk,
    /// A share of so few rows that it jumps.
    ShareOfFew,
    /// More at the end of each month.
    MonthEnd,
    /// It fills for a week and is cleared on Sundays.
    Sawtooth,
    /// Two or three times the spread of a count of independent events.
    Overdispersed,
    /// Nights are missing.
    Gaps,
}

impl Kind {
    /// Those of the published comparison.
    pub const COMPARED: [Self; 9] =
        [Self::Flat, Self::Growth, Self::Weekly, Self::WeeklyGrowth, Self::Constant, Self::Few, Self::HeavyTail, Self::ShareNone, Self::ShareSome];
    /// The others.
    pub const FURTHER: [Self; 7] = [Self::Cumulative, Self::Walk, Self::ShareOfFew, Self::MonthEnd, Self::Sawtooth, Self::Overdispersed, Self::Gaps];

    /// Whether it is a share, not a count.
    pub fn is_share(self) -> bool {
        matches!(self, Self::ShareNone | Self::ShareSome | Self::ShareOfFew)
    }

    /// Rows that a share is of.
    pub fn seen(self) -> f64 {
        if self == Self::ShareOfFew { 60.0 } else { 100_000.0 }
    }

    /// Whether a mistake of the usual sizes is more than it does by itself; else only false alarms are counted.
    pub fn shows_mistakes(self) -> bool {
        !matches!(self, Self::Few | Self::ShareOfFew)
    }
}

/// A series with mistakes in it.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// How it behaves.
    pub(super) kind: Kind,
    /// By night; `None`: nothing ran.
    pub(super) values: Vec<Option<f64>>,
    /// The nights that are wrong, and how.
    pub(super) mistakes: BTreeMap<usize, &'static str>,
}

/// Nights of a series.
pub(super) const NIGHTS: usize = 150;
/// From Monday on.
const WEEK: [f64; 7] = [1.0, 1.02, 0.98, 1.0, 1.05, 0.45, 0.40];
/// Nights between two mistakes, at least.
const APART: usize = 10;

/// A number around 0 with spread 1.
fn normal(rng: &mut StdRng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

fn poisson(rng: &mut StdRng, mean: f64) -> f64 {
    if mean > 50.0 {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0);
    }
    let (limit, mut product, mut count) = ((-mean).exp(), 1.0, 0.0);
    loop {
        product *= rng.random::<f64>();
        if product < limit {
            return count;
        }
        count += 1.0;
    }
}

fn night(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A series with three mistakes from the night `from` on.
pub(super) fn draw(rng: &mut StdRng, kind: Kind, from: usize) -> Drawn {
    let base = *[300.0, 5_000.0, 80_000.0].choose(rng).expect("three");
    let rate = rng.random_range(0.002..0.012);
    let mut last = base;
    let mut values = Vec::with_capacity(NIGHTS);
    for number in 0..NIGHTS {
        let (noise, trend, weekday) = (1.0 + 0.05 * normal(rng), 1.0 + 0.006 * night(number), WEEK[number % 7]);
        let value = match kind {
            Kind::Flat | Kind::Gaps => base * noise,
            Kind::Growth => base * trend * noise,
            Kind::Weekly => base * weekday * noise,
            Kind::WeeklyGrowth => base * weekday * trend * noise,
            Kind::Constant => base,
            Kind::Few => poisson(rng, 3.0),
            Kind::HeavyTail => {
                let spread = ((0..3).map(|_| normal(rng).powi(2)).sum::<f64>() / 3.0).sqrt();
                (base * (1.0 + 0.05 * normal(rng) / spread)).max(0.0)
            }
            Kind::ShareNone => 0.0,
            Kind::ShareSome => (0.02 + 0.002 * normal(rng)).max(0.0),
            Kind::Cumulative => {
                last += poisson(rng, base * rate * weekday);
                last
            }
            Kind::Walk => {
                last *= 1.0 + 0.03 * normal(rng);
                last
            }
            Kind::ShareOfFew => night((0..60).filter(|_| rng.random_bool(0.1)).count()) / 60.0,
            Kind::MonthEnd => base * noise * if number % 30 == 29 { 1.25 } else { 1.0 },
            Kind::Sawtooth => base.max(5_000.0) * noise * (0.2 + night(number % 7)) / 6.2,
            Kind::Overdispersed => {
                let mean = base.max(5_000.0);
                (mean + 3.0 * mean.sqrt() * normal(rng)).max(0.0)
            }
        };
        values.push(Some(if kind.is_share() { value } else { value.round() }));
    }
    let mistakes = spoil(rng, kind, &mut values, from);
    if kind == Kind::Gaps {
        for (number, value) in values.iter_mut().enumerate() {
            if rng.random_bool(0.2) && !mistakes.contains_key(&number) {
                *value = None;
            }
        }
    }
    Drawn { kind, values, mistakes }
}

fn spoil(rng: &mut StdRng, kind: Kind, values: &mut [Option<f64>], from: usize) -> BTreeMap<usize, &'static str> {
    let nights: Vec<usize> = loop {
        let mut nights: Vec<usize> = index::sample(rng, NIGHTS - 4 - from, 3).iter().map(|number| number + from + 2).collect();
        nights.sort_unstable();
        if nights.windows(2).all(|pair| pair[1] - pair[0] >= APART) {
            break nights;
        }
    };
    let mut mistakes = BTreeMap::new();
    for number in nights {
        let Some(value) = values[number].as_mut() else { continue };
        let (name, wrong) = if kind.is_share() {
            let more = *[0.05, 0.2, 0.6].choose(rng).expect("three");
            ("nulls", (*value + more).min(1.0))
        } else {
            let (name, factor) = *[("zero", 0.0), ("half", 0.5), ("minus 30 %", 0.7), ("double", 2.0), ("triple", 3.0)].choose(rng).expect("five");
            (name, (*value * factor).round())
        };
        *value = wrong;
        mistakes.insert(number, name);
    }
    mistakes
}
