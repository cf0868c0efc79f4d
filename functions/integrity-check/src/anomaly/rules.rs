//! What is wrong without any statistics: a table that was never empty is empty, one that never shrank did, a column that never had nulls has some.
//!
//! Only exact nights prove that something never happened; a sample proves nothing about what it did not see.

use super::detect::{SHIFT_NIGHTS, Series, has, settled_marks};
use super::model::DAYS;

/// Nights in which something never happened.
pub(crate) const NEVER_NIGHTS: usize = 14;
/// Rows of a table of which "never" says something.
pub(crate) const ROWS_MIN: f64 = 1_000.0;
/// A table with fewer rows may be a queue, which is empty now and then.
const FILLED_MIN: f64 = 20.0;
/// An empty table is news for so many nights.
const EMPTY_NIGHTS: usize = 28;

/// The nights that a rule learns from, the newest first: not flagged, and since the last shift.
fn usual(series: &Series) -> impl Iterator<Item = f64> + '_ {
    let (flagged, since) = settled_marks(series);
    (1..=since).filter(move |age| !has(flagged, *age)).map(|age| series.values[age]).filter(|value| value.is_finite())
}

/// Rows of the last night with any, if this table is not usually empty. `series`: exact nights; tonight has none.
pub(crate) fn emptied(series: &Series) -> Option<f64> {
    let flagged = series.flagged;
    let lately: Vec<f64> =
        (1..=EMPTY_NIGHTS).filter(|age| !has(flagged, *age)).map(|age| series.values[age]).filter(|value| value.is_finite()).collect();
    let (least, most) = lately.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), rows| (least.min(*rows), most.max(*rows)));
    let is_filled = least >= FILLED_MIN || (lately.len() >= NEVER_NIGHTS && least * 2.0 >= most);
    lately.first().copied().filter(|_| least >= 1.0 && is_filled)
}

/// The most rows there ever were, and of how many nights, if the table never shrank before and has fewer tonight.
pub(crate) fn shrank(series: &Series, rows: f64) -> Option<(f64, usize)> {
    let nights: Vec<f64> = usual(series).collect();
    let never = nights.windows(2).all(|pair| pair[0] >= pair[1]);
    let most = *nights.first()?;
    (nights.len() >= NEVER_NIGHTS && never && most >= ROWS_MIN && rows < most).then_some((most, nights.len()))
}

/// In how many nights a share was 0, if it always was. `series`: exact nights.
pub(crate) fn never(series: &Series) -> Option<usize> {
    let nights: Vec<f64> = usual(series).collect();
    (nights.len() >= NEVER_NIGHTS && nights.iter().all(|share| *share <= 0.0)).then_some(nights.len())
}

/// Whether the nights just before were flagged, too.
pub(crate) fn stays(series: &Series) -> bool {
    let (flagged, _) = settled_marks(series);
    let before: Vec<usize> = (1..DAYS).filter(|age| series.values[*age].is_finite()).take(SHIFT_NIGHTS - 1).collect();
    before.len() == SHIFT_NIGHTS - 1 && before.iter().all(|age| has(flagged, *age))
}
