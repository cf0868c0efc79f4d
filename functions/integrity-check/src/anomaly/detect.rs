//! Whether tonight's number is what the nights before let expect: the decision, with the reasons that make it quiet. Pure.
//!
//! Robust statistics (medians, MAD, differences between weeks): no model is fitted, nothing is random, and each decision can be said in a sentence.

use super::model::{DAYS, Few, How, Model, Prediction};

/// What kind of number it is: how it varies by itself, and what change of it would interest anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Rows: whole, never negative.
    Rows,
    /// Rows that came since the night before.
    Growth,
    /// An estimate of the number of distinct values.
    Distinct,
    /// A share of rows between 0 and 1.
    Share,
}

/// A number of the nights before.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// By age in days; NaN where there is none. Place 0 is never read.
    pub values: [f64; DAYS],
    /// Bit by age: the number was flagged that night, and is no example of a usual one.
    pub flagged: u64,
    /// Bit by age: that night it was decided that the number stays where it went.
    pub shifted: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self { values: [f64::NAN; DAYS], flagged: 0, shifted: 0 }
    }
}

/// Tonight's number, and what is known about how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tonight {
    /// The number.
    pub value: f64,
    /// Rows that a share is of.
    pub seen: f64,
    /// Whether only a sample was read.
    pub is_estimate: bool,
    /// 1, or more on a day that is not like others.
    pub widening: f64,
}

/// Which side of what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Less.
    Low,
    /// More.
    High,
}

/// What tonight's number is against its history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The least that would not have been flagged.
    pub low: f64,
    /// The most.
    pub high: f64,
    /// The prediction.
    pub expected: f64,
    /// Whether it is of the same weekdays.
    pub is_weekday: bool,
    /// How far off, as a multiple of what is flagged: above 1 it is.
    pub score: f64,
    /// On which side it is flagged.
    pub flagged: Option<Side>,
    /// It was flagged on this side the two nights before, too: it stays there.
    pub is_shift: bool,
}

/// Nights before anything is judged by its history.
pub const NIGHTS_MIN: usize = 8;
/// Nights before weekdays are told apart.
pub const NIGHTS_FULL: usize = 21;
/// Flagged nights one after the other, after which a number is taken to stay where it is.
pub const SHIFT_NIGHTS: usize = 3;
/// How many of the last 14 nights may have been flagged; a series with more is not understood, and all of them count as usual.
const FLAGGED_MAX: u32 = 4;

/// How many scales below what was expected are flagged, and above: what is lost weighs more than what came.
const LOW: f64 = 4.5;
const HIGH: f64 = 6.0;

impl Sort {
    fn scaled(self, value: f64) -> f64 {
        // `max` would make a 0 of what is not there.
        if self == Self::Share || value.is_nan() { value } else { value.max(0.0).ln_1p() }
    }

    fn value_of(self, scaled: f64) -> f64 {
        if self == Self::Share { scaled.clamp(0.0, 1.0) } else { scaled.exp_m1().max(0.0) }
    }

    /// The least scale that is believed, whatever the history says.
    fn floor(self, expected: f64, tonight: &Tonight, compared: usize) -> f64 {
        let sample = if tonight.is_estimate { 50.0 } else { 1.0 };
        match self {
            // Rows of a page are alike: a sample of pages says as much as one of far fewer rows.
            Self::Share => 0.0025_f64.max((expected.max(1e-4) * (1.0 - expected).max(1e-4) / (tonight.seen / sample).max(1.0)).sqrt()),
            Self::Rows | Self::Growth | Self::Distinct => {
                // What counts independent events varies by its root. Where many nights varied less, it counts something else, and half of that is believed.
                let poisson = 1.0 / (expected + 1.0).sqrt();
                let poisson = if compared >= 14 && expected >= 30.0 { poisson * 0.5 } else { poisson };
                let least = match (self, tonight.is_estimate) {
                    (_, true) => 0.06,
                    (Self::Distinct, false) => 0.03,
                    _ => 0.01,
                };
                poisson.max(least)
            }
        }
    }

    /// The least change that would interest anybody.
    fn interesting(self, expected: f64, tonight: &Tonight) -> f64 {
        let share = match (self, tonight.is_estimate) {
            // A point of percentage, and a handful of rows.
            (Self::Share, is_estimate) => return (if is_estimate { 0.03_f64 } else { 0.01 }).max(5.0 / tonight.seen.max(1.0)),
            (_, true) | (Self::Growth, _) => 0.25,
            (Self::Distinct, false) => 0.15,
            (Self::Rows, false) => 0.10,
        };
        (share * expected).max(if expected > 200.0 { 20.0 } else { 5.0 })
    }
}

/// Judges tonight's number; `None`: there is too little to go by.
pub fn judge(series: &Series, sort: Sort, tonight: &Tonight) -> Option<Verdict> {
    let Settled { all, usual, flagged, nights } = settle(series, sort);
    // A night of a weekday that was never seen says nothing: a schedule was changed, or an additional run was started.
    let knows_the_weekday = all.iter().skip(7).step_by(7).any(|value| value.is_finite());
    if nights < NIGHTS_MIN || !knows_the_weekday {
        return None;
    }
    let model = Model::new(&usual);
    let prediction = best(&model, nights)?;
    let verdict = decide(&prediction, sort, tonight);
    let is_shift = verdict.flagged.is_some_and(|side| stays(&all, &model, flagged, prediction.how, side));
    Some(Verdict { is_shift, ..verdict })
}

/// For the nights before: what would not have been flagged at each age from 1 on, as `(age, low, high)`. For a picture, not for a decision.
pub fn bands(series: &Series, sort: Sort, seen: f64, ages: usize) -> Vec<(usize, f64, f64)> {
    let Settled { usual, nights, .. } = settle(series, sort);
    let model = Model::new(&usual);
    let Some(prediction) = best(&model, nights).filter(|_| nights >= NIGHTS_MIN) else { return Vec::new() };
    let plain = Tonight { value: 0.0, seen, is_estimate: false, widening: 1.0 };
    let at = |age| {
        let value = model.predict(age, prediction.how)?;
        let verdict = decide(&Prediction { value, ..prediction }, sort, &plain);
        Some((age, verdict.low, verdict.high))
    };
    (1..=ages.min(DAYS - 1)).filter_map(at).collect()
}

fn best(model: &Model<'_>, nights: usize) -> Option<Prediction> {
    if nights < NIGHTS_FULL { model.best(0, &[How::Level], 5) } else { model.best(0, &[How::Level, How::Recent, How::Weekday], 7) }
}

fn decide(prediction: &Prediction, sort: Sort, tonight: &Tonight) -> Verdict {
    let expected = sort.value_of(prediction.value);
    let scale = prediction.scale.max(sort.floor(expected, tonight, prediction.compared)) * tonight.widening.max(1.0);
    let interesting = sort.interesting(expected, tonight);
    let low = sort.value_of(prediction.value - LOW * scale).min(expected - interesting);
    let high = sort.value_of(prediction.value + HIGH * scale).max(expected + interesting);
    let (low, high) = if sort == Sort::Share { (low.max(0.0), high.min(1.0)) } else { (low.max(0.0), high) };
    let flagged = if tonight.value < low {
        Some(Side::Low)
    } else if tonight.value > high {
        Some(Side::High)
    } else {
        None
    };
    let off = sort.scaled(tonight.value) - prediction.value;
    let score = if off < 0.0 { -off / (LOW * scale) } else { off / (HIGH * scale) };
    Verdict { low, high, expected, is_weekday: prediction.how == How::Weekday, score, flagged, is_shift: false }
}

/// A history as it is learnt from.
struct Settled {
    /// On the scale of predictions.
    all: [f64; DAYS],
    /// Without the nights that were flagged.
    usual: [f64; DAYS],
    /// Bit by age: left out of `usual`.
    flagged: u64,
    /// Nights in `usual`.
    nights: usize,
}

/// Undoes each level shift: what was before it is moved to where the numbers stay since, and the nights that led to it are usual ones.
fn settle(series: &Series, sort: Sort) -> Settled {
    let mut all = series.values.map(|value| sort.scaled(value));
    all[0] = f64::NAN;
    let mut flagged = series.flagged;
    for shift in (1..DAYS).rev().filter(|age| has(series.shifted, *age)) {
        let run = run_of_flagged(&all, flagged, shift);
        let Some(start) = run.iter().flatten().max().copied() else { continue };
        let mut before = all;
        before[..=start].fill(f64::NAN);
        let before = without(&before, flagged);
        let model = Model::new(&before);
        let how = model.best(start, &[How::Level, How::Weekday], 7).map_or(How::Level, |prediction| prediction.how);
        let mut offsets = Few::new();
        for age in run.into_iter().flatten() {
            flagged &= !(1 << age);
            if let Some(predicted) = model.predict(age, how) {
                offsets.push(all[age] - predicted);
            }
        }
        if let Some(offset) = offsets.median() {
            let top = if sort == Sort::Share { 1.0 } else { f64::INFINITY };
            for value in &mut all[start + 1..] {
                *value = (*value + offset).clamp(0.0, top);
            }
        }
    }
    let lately = (flagged & 0x7FFE).count_ones();
    if lately > FLAGGED_MAX {
        flagged = 0;
    }
    let usual = without(&all, flagged);
    let nights = usual.iter().filter(|value| value.is_finite()).count();
    Settled { all, usual, flagged, nights }
}

/// The flagged nights that are none of a shift's, and the age that the newest shift began at: what is older was another level.
pub(crate) fn settled_marks(series: &Series) -> (u64, usize) {
    let (mut flagged, mut since) = (series.flagged, DAYS - 1);
    for shift in (1..DAYS).rev().filter(|age| has(series.shifted, *age)) {
        for age in run_of_flagged(&series.values, flagged, shift).into_iter().flatten() {
            flagged &= !(1 << age);
            since = age;
        }
    }
    (flagged, since)
}

/// The nights of a shift: the one at which it was decided, and those before it that were flagged without a usual one in between.
fn run_of_flagged(values: &[f64; DAYS], flagged: u64, shift: usize) -> [Option<usize>; SHIFT_NIGHTS] {
    let mut run = [None; SHIFT_NIGHTS];
    let present = (shift..DAYS).filter(|age| values[*age].is_finite());
    for (place, age) in run.iter_mut().zip(present) {
        if !has(flagged, age) {
            break;
        }
        *place = Some(age);
    }
    run
}

/// Whether the nights just before tonight's were flagged on this side, too.
fn stays(all: &[f64; DAYS], model: &Model<'_>, flagged: u64, how: How, side: Side) -> bool {
    let before = (1..DAYS).filter(|age| all[*age].is_finite()).take(SHIFT_NIGHTS - 1);
    let mut count = 0;
    for age in before {
        let Some(predicted) = model.predict(age, how) else { return false };
        let is_same = if side == Side::Low { all[age] < predicted } else { all[age] > predicted };
        if !has(flagged, age) || !is_same {
            return false;
        }
        count += 1;
    }
    count == SHIFT_NIGHTS - 1
}

fn without(values: &[f64; DAYS], flagged: u64) -> [f64; DAYS] {
    let mut usual = *values;
    for (age, value) in usual.iter_mut().enumerate() {
        if has(flagged, age) {
            *value = f64::NAN;
        }
    }
    usual
}

/// Whether the bit of an age is set.
pub(crate) const fn has(mask: u64, age: usize) -> bool {
    age < DAYS && (mask >> age) & 1 == 1
}
