//! Small curves: as one letter for each night, which a small script of the page draws, and as SVG for what must be seen without it. Both are drawn from the same letters.

use crate::model::whole;

use maud::{Markup, html};

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// There is no number of that night.
const HOLE: char = '.';
const WIDTH: f64 = 112.0;
const HEIGHT: f64 = 26.0;

/// A curve as letters between `low` and `high`; a curve that is one level all along is one letter.
pub(super) fn letters(points: &[Option<f64>], low: f64, high: f64) -> String {
    let text: String = points.iter().map(|point| point.filter(|value| value.is_finite()).map_or(HOLE, |value| letter(value, low, high))).collect();
    match text.chars().next() {
        Some(first) if text.chars().all(|letter| letter == first) => first.to_string(),
        _ => text,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 63")]
fn letter(value: f64, low: f64, high: f64) -> char {
    let share = if high > low { (value - low) / (high - low) } else { 0.5 };
    char::from(LETTERS[(share.clamp(0.0, 1.0) * 63.0).round() as usize])
}

fn level(letter: char) -> Option<f64> {
    LETTERS.iter().position(|one| char::from(*one) == letter).map(whole)
}

/// The least and the most of some numbers, with room above and below so that a level curve lies in the middle.
pub(super) fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.filter(|value| value.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        (0.0, 1.0)
    } else if (high - low) <= high.abs() * 0.04 {
        // A curve that is nearly level shall look so.
        let room = (high.abs() * 0.05).max(0.5);
        (low - room, high + room)
    } else {
        (low, high)
    }
}

/// A curve with what was expected, as SVG: `points`, `low` and `high` are letters, `flagged` a bit for each night.
pub(super) fn svg(points: &str, low: &str, high: &str, flagged: u64, count: usize) -> Markup {
    let at = |text: &str, place: usize| text.chars().nth(if text.len() == 1 { 0 } else { place }).and_then(level);
    let x = |place: usize| WIDTH - 2.0 - (whole(count) - 1.0 - whole(place)) * (WIDTH - 4.0) / (whole(count) - 1.0).max(1.0);
    let y = |level: f64| HEIGHT - 3.0 - level * (HEIGHT - 6.0) / 63.0;
    let (mut line, mut is_down) = (String::new(), false);
    for place in 0..count {
        let Some(level) = at(points, place) else {
            is_down = false;
            continue;
        };
        line.push_str(&format!("{}{:.0} {:.1}", if is_down { "L" } else { "M" }, x(place), y(level)));
        is_down = true;
    }
    let expected: Vec<(usize, f64, f64)> = (0..count).filter_map(|place| Some((place, at(low, place)?, at(high, place)?))).collect();
    let mut area = String::new();
    for (place, _, high) in &expected {
        area.push_str(&format!("{}{:.0} {:.1}", if area.is_empty() { "M" } else { "L" }, x(*place), y(*high)));
    }
    for (place, low, _) in expected.iter().rev() {
        area.push_str(&format!("L{:.0} {:.1}", x(*place), y(*low)));
    }
    let dots = (0..count.min(64)).filter(|place| (flagged >> place) & 1 == 1).filter_map(|place| Some((place, at(points, place)?)));
    html! {
        svg.spark viewBox="0 0 112 26" role="img" aria-label="rows of the last nights, with what was expected" {
            @if !area.is_empty() { path.band d=(area) {} }
            path.line d=(line) {}
            @for (place, level) in dots { circle cx=(format!("{:.0}", x(place))) cy=(format!("{:.1}", y(level))) r="2.2" {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_a_letter_a_night_and_a_level_one_is_a_letter() {
        assert_eq!(letters(&[Some(0.0), None, Some(5.0), Some(10.0)], 0.0, 10.0), "A.g_");
        assert_eq!(letters(&[Some(3.0); 28], 0.0, 6.0), "g");
        assert_eq!(letters(&[None, None], 0.0, 1.0), ".");
        assert_eq!(letters(&[Some(f64::NAN), Some(f64::INFINITY), Some(1e300)], 0.0, 1.0), ".._");
        assert_eq!(letters(&[], 0.0, 1.0), "");
        assert_eq!(bounds([5.0, 1.0, f64::NAN].into_iter()), (1.0, 5.0));
        assert_eq!(bounds(std::iter::empty()), (0.0, 1.0));
    }

    #[test]
    fn a_hole_breaks_the_line_and_a_flagged_night_has_a_dot() {
        let drawn = svg("A.g_", "A", "_", 0b1000, 4).into_string();
        assert_eq!(drawn.matches("<circle").count(), 1, "{drawn}");
        assert!(drawn.contains("class=\"line\" d=\"M2 23.0M74") && drawn.contains("class=\"band\""), "{drawn}");
        assert!(!svg(".", "", "", 0, 4).into_string().contains("NaN"));
    }
}
