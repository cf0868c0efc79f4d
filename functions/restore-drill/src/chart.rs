//! RTO and RPO of the last drills as a picture: two rows of bars on a logarithmic scale, with what was promised as a line. Drawn by hand as SVG: a page for
//! an auditor must show the same in ten years.

use maud::{Markup, html};

use crate::result::{DrillResult, minutes};

const WIDTH: f64 = 480.0;
const ROW: f64 = 78.0;
const LEFT: f64 = 42.0;

struct Bar {
    /// `None`: it was not reached.
    seconds: Option<f64>,
    is_good: bool,
    title: String,
}

/// The picture: the earlier drills, the oldest first, and this one.
pub(crate) fn trend(result: &DrillResult, before: &[DrillResult]) -> Markup {
    let all: Vec<&DrillResult> = before.iter().chain(std::iter::once(result)).collect();
    let bars = |of: fn(&DrillResult) -> (Option<f64>, u64)| -> Vec<Bar> {
        all.iter()
            .map(|one| {
                let (seconds, max) = of(one);
                let is_good = seconds.is_some_and(|seconds| seconds <= whole(max));
                let title = format!(
                    "{} · {} · {}",
                    one.requested_at.format("%Y-%m-%d"),
                    one.source,
                    seconds.map_or_else(|| "not reached".to_owned(), minutes)
                );
                Bar { seconds, is_good, title }
            })
            .collect()
    };
    let times = bars(|one| (one.recovery_time_seconds, one.recovery_time_max_seconds));
    let points = bars(|one| (Some(one.recovery_point_seconds), one.recovery_point_max_seconds));
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (2.0 * ROW + 18.0) } width="100%" role="img" aria-label="RTO and RPO of the last drills" {
            (row("RTO", &times, whole(result.recovery_time_max_seconds), 0.0))
            (row("RPO", &points, whole(result.recovery_point_max_seconds), ROW))
            text x=(LEFT) y=(2.0 * ROW + 13.0) { (all[0].requested_at.format("%Y-%m-%d")) }
            text x=(WIDTH) y=(2.0 * ROW + 13.0) text-anchor="end" { (result.requested_at.format("%Y-%m-%d")) }
        }
        @if before.is_empty() { p.soft { "This is the first one; from the second on there is a trend." } }
        @else { (quantiles(&times)) }
    }
}

fn row(name: &str, bars: &[Bar], max: f64, top: f64) -> Markup {
    let largest = bars.iter().filter_map(|bar| bar.seconds).fold(max, f64::max);
    let height = ROW - 16.0;
    // From a second up, so that minutes and days fit into one picture.
    let scaled = |seconds: f64| height * seconds.max(1.0).ln_1p() / largest.max(1.0).ln_1p();
    #[expect(clippy::cast_precision_loss, reason = "there are at most 13")]
    let step = (WIDTH - LEFT) / bars.len().max(6) as f64;
    let line = top + ROW - scaled(max);
    html! {
        text x="0" y=(top + ROW - 4.0) { (name) }
        @for (number, bar) in bars.iter().enumerate() {
            @let x = LEFT + step * index(number);
            @let tall = bar.seconds.map_or(height, scaled);
            rect x=(format!("{x:.1}")) y=(format!("{:.1}", top + ROW - tall)) width=(format!("{:.1}", step * 0.7)) height=(format!("{tall:.1}")) rx="2"
                fill=(if bar.is_good { "#12715b" } else { "#a3271c" }) fill-opacity=(if bar.seconds.is_some() { "0.85" } else { "0.25" }) {
                title { (bar.title) }
            }
        }
        line x1=(LEFT) x2=(WIDTH) y1=(format!("{line:.1}")) y2=(format!("{line:.1}")) stroke="#5d6d75" stroke-dasharray="4 3" {}
        text x=(WIDTH) y=(format!("{:.1}", line - 3.0)) text-anchor="end" { "promised: " (minutes(max)) }
    }
}

/// The middle and the 95th percentile of the RTO.
fn quantiles(bars: &[Bar]) -> Markup {
    let mut seconds: Vec<f64> = bars.iter().filter_map(|bar| bar.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let Some(last) = seconds.len().checked_sub(1) else { return html! { p.soft { "No drill came to its end." } } };
    let (middle, high) = (seconds[last / 2], seconds[(last * 95).div_ceil(100)]);
    html! { p.soft { "RTO of " (seconds.len()) " drills: half within " (minutes(middle)) ", 95 % within " (minutes(high)) "." } }
}

#[expect(clippy::cast_precision_loss, reason = "there are at most 13")]
fn index(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "an objective is minutes or days")]
fn whole(seconds: u64) -> f64 {
    seconds as f64
}
