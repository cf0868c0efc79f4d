//! What is unusual tonight, against the nights before: rules that need no statistics, a robust prediction for each number, and words that say why.
//!
//! The number that is judged is never in its own model. Flagged nights teach nothing, until three on the same side say that a number stays where it went.
//! It knows no database and no bucket, and it holds no value of a row but in the sign of the smallest.

mod calendar;
mod column;
pub mod detect;
mod judge;
mod marks;
pub mod model;
mod rules;
mod series;
mod words;

pub use calendar::Calendar;
pub use judge::{Band, Judgement, judge};
pub use marks::{Marks, Metric};
pub(crate) use words::percent;

#[cfg(test)]
mod detect_tests;
#[cfg(test)]
mod judge_tests;
