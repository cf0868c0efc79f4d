//! Days that are not like others: what is unusual on them must be more unusual to be flagged.

use std::collections::BTreeSet;

use chrono::{Datelike as _, NaiveDate};

/// How much wider on such a day.
const WIDENING: f64 = 2.0;

/// The team's calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Holidays, stock-takings, sales: the date of the night's slot, and the night after it.
    pub days: BTreeSet<NaiveDate>,
    /// Whether the last and the first day of a month are such days.
    pub month_ends: bool,
}

impl Calendar {
    /// 1, or more on a day that is not like others.
    pub fn widening(&self, date: NaiveDate) -> f64 {
        let (before, after) = (date.pred_opt().unwrap_or(date), date.succ_opt().unwrap_or(date));
        let is_listed = self.days.contains(&date) || self.days.contains(&before);
        let is_month_end = self.month_ends && (date.day() == 1 || after.day() == 1);
        if is_listed || is_month_end { WIDENING } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_days_and_month_ends_are_wider_and_no_other() {
        let date = |text: &str| text.parse::<NaiveDate>().expect("a date");
        let calendar = Calendar { days: [date("2026-12-25")].into(), month_ends: true };
        let wide: Vec<bool> = ["2026-12-24", "2026-12-25", "2026-12-26", "2026-12-27", "2026-12-31", "2027-01-01", "2027-01-02", "2027-02-28"]
            .map(|day| calendar.widening(date(day)) > 1.0)
            .to_vec();
        assert_eq!(wide, [false, true, true, false, true, true, false, true]);
        assert!((Calendar::default().widening(date("2026-12-31")) - 1.0).abs() < f64::EPSILON);
    }
}
