//! What a number should be tonight, from the nights before: three simple predictors, the best of which is taken, and how far they were off until now. Medians
//! everywhere, so that a wild night moves nothing. Pure; it never sees the number that is judged.

use crate::model::whole;

/// Nights that are looked back on, as ages in days: eight weeks and what the oldest of them is compared with. An age is a place in an array; 0 is tonight.
pub const DAYS: usize = 64;
/// Nights whose predictions are compared with what came.
const JUDGED: usize = 28;
/// Nights for the plain predictor.
const LEVEL: usize = 14;
/// Nights for the predictor that follows fast.
const RECENT: usize = 3;
/// Weeks for the one that knows weekdays.
const WEEKS: usize = 8;
/// Pairs of nights that a trend is seen in.
const TREND_PAIRS: usize = 8;
/// The weekdays' predictor must be so much better to be taken: it has fewer nights to learn from.
const WEEKDAY_PENALTY: f64 = 1.1;

/// Which nights a prediction is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The last two weeks, whatever the weekday, with the trend.
    Level,
    /// The last nights, with the trend: of what wanders.
    Recent,
    /// The same weekday of the last eight weeks, with the trend.
    Weekday,
}

/// A prediction for tonight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// On the scale of the values that came in.
    pub value: f64,
    /// How far off such predictions were: comparable to a standard deviation.
    pub scale: f64,
    /// From which nights.
    pub how: How,
    /// Nights whose predictions could be compared.
    pub compared: usize,
}

/// A few numbers that a median is wanted of, without the heap.
#[derive(Clone, Copy)]
pub(crate) struct Few {
    values: [f64; DAYS],
    len: usize,
}

impl Few {
    pub(crate) const fn new() -> Self {
        Self { values: [0.0; DAYS], len: 0 }
    }

    pub(crate) fn push(&mut self, value: f64) {
        if value.is_finite() && self.len < DAYS {
            self.values[self.len] = value;
            self.len += 1;
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn median(&mut self) -> Option<f64> {
        let values = &mut self.values[..self.len];
        let middle = self.len / 2;
        let (below, upper, _) = if values.is_empty() { return None } else { values.select_nth_unstable_by(middle, f64::total_cmp) };
        let upper = *upper;
        if self.len % 2 == 1 {
            return Some(upper);
        }
        Some(f64::midpoint(upper, below.iter().copied().fold(f64::NEG_INFINITY, f64::max)))
    }

    fn sort(&mut self) -> &[f64] {
        let values = &mut self.values[..self.len];
        values.sort_unstable_by(f64::total_cmp);
        values
    }
}

/// A history on the scale that is predicted on, with what all predictions of it share.
pub(crate) struct Model<'a> {
    /// By age; NaN where there is none.
    values: &'a [f64; DAYS],
    /// How much more it is each day.
    trend: f64,
}

impl<'a> Model<'a> {
    pub(crate) fn new(values: &'a [f64; DAYS]) -> Self {
        Self { values, trend: trend(values) }
    }

    fn at(&self, age: usize) -> f64 {
        self.values.get(age).copied().unwrap_or(f64::NAN)
    }

    /// What the nights before the one of this age say of it.
    pub(crate) fn predict(&self, age: usize, how: How) -> Option<f64> {
        let mut few = Few::new();
        let least = match how {
            How::Level => {
                for back in 1..=LEVEL {
                    few.push(self.at(age + back) + whole(back) * self.trend);
                }
                3
            }
            How::Recent => {
                for back in (1..=2 * RECENT).filter(|back| self.at(age + back).is_finite()).take(RECENT) {
                    few.push(self.at(age + back) + whole(back) * self.trend);
                }
                2
            }
            How::Weekday => {
                for week in 1..=WEEKS {
                    few.push(self.at(age + 7 * week) + 7.0 * whole(week) * self.trend);
                }
                2
            }
        };
        if few.len() < least { None } else { few.median() }
    }

    /// How predictions from the nights before the one of this age did until then, and the prediction itself.
    fn tried(&self, age: usize, how: How, compared_min: usize) -> Option<(f64, Prediction)> {
        let value = self.predict(age, how)?;
        let (mut residuals, mut sizes) = (Few::new(), Few::new());
        for earlier in age + 1..=(age + JUDGED).min(DAYS - 1) {
            let actual = self.values[earlier];
            if actual.is_finite()
                && let Some(predicted) = self.predict(earlier, how)
            {
                residuals.push(actual - predicted);
                sizes.push((actual - predicted).abs());
            }
        }
        let compared = residuals.len();
        if compared < compared_min {
            return None;
        }
        let spread = 1.4826 * sizes.median().unwrap_or(0.0);
        let sizes = sizes.sort();
        let high = sizes[(compared * 9 / 10).min(compared - 1)];
        let trimmed = (compared * 96 / 100).max(1);
        let error = sizes[..trimmed].iter().sum::<f64>() / whole(trimmed);
        // Of few comparisons the spread is known badly.
        let scale = spread.max(high / 1.645) * if compared < 14 { 1.0 + 0.05 * whole(14 - compared) } else { 1.0 };
        Some((error, Prediction { value, scale, how, compared }))
    }

    /// The best prediction for the night of this age. By the mean of the errors, not by their median: with five weekdays and two days of weekend, the median
    /// does not see the weekend.
    pub(crate) fn best(&self, age: usize, hows: &[How], compared_min: usize) -> Option<Prediction> {
        let mut best: Option<(f64, Prediction)> = None;
        for how in hows {
            if let Some((error, prediction)) = self.tried(age, *how, compared_min) {
                let error = if *how == How::Weekday { error * WEEKDAY_PENALTY } else { error };
                if best.is_none_or(|(least, _)| error < least) {
                    best = Some((error, prediction));
                }
            }
        }
        best.map(|(_, prediction)| prediction)
    }
}

/// The change of a day: the median of what whole weeks changed. Of as many weeks as there are enough pairs for, as the noise of a night is divided by them.
fn trend(values: &[f64; DAYS]) -> f64 {
    for weeks in [4, 3, 2, 1] {
        let mut few = Few::new();
        for age in 1..DAYS - 7 * weeks {
            few.push(values[age] - values[age + 7 * weeks]);
        }
        if few.len() >= TREND_PAIRS {
            return few.median().unwrap_or(0.0) / (7.0 * whole(weeks));
        }
    }
    0.0
}
