//! How far a table is: what an invocation hands to the next, and which pages are read next. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_postgres::windows::{END, Span};

use super::Limits;
use super::statement::{Facts, Source};
use super::totals::Totals;

/// Pages of the first window: it says how long the next ones take, and which values are everywhere.
pub const FIRST_PAGES: u64 = 256;
/// Share of a window's time that is aimed at, in percent: some take longer than the one before.
const AIM_PERCENT: u128 = 80;
/// How often a table that changes while it is read is begun anew.
const CHANGES_MAX: u32 = 3;
/// How often in a row a window that takes too long is made smaller.
const CUTS_MAX: u32 = 12;

/// How a table is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Way {
    /// Window after window, each page once.
    #[default]
    Windows,
    /// In one statement: it is small, or cannot be read by pages.
    Whole,
    /// By samples.
    Samples,
}

/// How far a table is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its file, as soon as something was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filenode: Option<u32>,
    /// How it is read.
    pub way: Way,
    /// The next page; of samples: pages that were asked for.
    pub next: u64,
    /// Pages of the next window.
    pub window: u64,
    /// Statements that were answered.
    pub statements: u32,
    /// How often it was begun anew because it changed.
    pub changes: u32,
    /// How often in a row a window took too long.
    pub cuts: u32,
    /// Whether rows are seen as policies of row-level security allow.
    pub under_policies: bool,
    /// Whether values are left alone, because the server refused to compare some: its SQLSTATE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_nulls: Option<String>,
    /// Whether distinct values are counted.
    pub distinct: bool,
    /// Whether everything was read.
    pub is_done: bool,
    /// What was seen.
    pub totals: Totals,
}

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Which pages.
    pub source: Source,
    /// How many they are, at most, as far as is known.
    pub pages: u64,
}

impl Progress {
    /// What is read next; `None`: nothing is left. `window_max`: what the pace allows in the time of a window.
    pub fn step(&self, window_max: u64, limits: &Limits) -> Option<Step> {
        if self.is_done {
            return None;
        }
        let pages = self.totals.pages;
        let window = if self.statements == 0 { self.window.min(FIRST_PAGES) } else { self.window }.clamp(1, window_max.max(1));
        match self.way {
            Way::Whole => Some(Step { source: Source::Whole, pages: pages.max(1) }),
            Way::Windows => {
                let to = self.next.saturating_add(window);
                // The last window is open-ended: pages that were added meanwhile are read too.
                let to = if to >= pages { END } else { to };
                Some(Step { source: Source::Window(Span { from: self.next, to }), pages: to.min(pages).saturating_sub(self.next).max(1) })
            }
            Way::Samples => {
                let window = window.min(limits.sample_pages.saturating_sub(self.next)).max(1);
                #[expect(clippy::cast_precision_loss, reason = "a share")]
                let percent = (window as f64 * 100.0 / pages.max(1) as f64).min(100.0);
                Some(Step { source: Source::Sample(percent, self.statements), pages: window })
            }
        }
    }

    /// Learns from a window that was read; its sums are added already.
    pub fn read(&mut self, step: Step, facts: Facts, time: Duration, limits: &Limits) {
        self.filenode = Some(facts.filenode);
        self.statements += 1;
        self.cuts = 0;
        match step.source {
            Source::Whole => {
                self.totals.pages = facts.pages;
                self.totals.pages_read += facts.pages;
                self.is_done = true;
            }
            Source::Window(span) => {
                self.totals.pages = facts.pages;
                self.totals.pages_read += span.to.min(facts.pages).saturating_sub(span.from);
                (self.next, self.is_done) = (span.to, span.to >= END);
            }
            Source::Sample(..) => {
                // The sizes stay those of the beginning, so that all samples are of equal shares.
                self.totals.pages_read += step.pages;
                self.next += step.pages;
                self.is_done = self.next >= limits.sample_pages;
            }
        }
        let aim = limits.window.as_millis() * AIM_PERCENT / 100;
        let aimed = u128::from(step.pages) * aim / time.as_millis().max(1);
        let aimed = u64::try_from(aimed).unwrap_or(u64::MAX);
        // The first few pages say how long pages take; later ones may be of another sort than those before.
        let growth = if step.pages <= FIRST_PAGES { 64 } else { 4 };
        self.window = aimed.clamp((step.pages / 4).max(1), step.pages.saturating_mul(growth).max(FIRST_PAGES));
    }

    /// Makes the next window smaller, because one took too long. `false`: it was tried often enough.
    pub fn cut(&mut self, step: Step) -> bool {
        self.window = (step.pages / 2).max(1);
        self.cuts += 1;
        self.cuts <= CUTS_MAX && !(step.pages <= 1 && self.cuts > 2)
    }

    /// Begins anew, with other sums.
    pub fn restart(&mut self, totals: Totals) {
        (self.filenode, self.next, self.statements, self.is_done) = (None, 0, 0, false);
        let pages = self.totals.pages;
        self.totals = Totals { pages, is_sample: self.way == Way::Samples, ..totals };
    }

    /// Counts a change of the table. `false`: it changed often enough.
    pub fn may_change(&mut self) -> bool {
        self.changes += 1;
        self.changes <= CHANGES_MAX
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn progress(way: Way, pages: u64) -> Progress {
        Progress { way, window: FIRST_PAGES, totals: Totals { pages, ..Totals::default() }, ..Progress::default() }
    }

    #[test]
    fn windows_cover_every_page_once_whatever_the_times_and_growth() {
        for seed in 0..100 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut pages = [1, 2, 255, 256, 257, 5_000, 20_000][rng.random_range(0..7)];
            let (mut at, mut progress, limits) = (0, progress(Way::Windows, pages), Limits::default());
            let window_max = [1, 50, 1_000, 100_000][rng.random_range(0..4)];
            for statement in 0.. {
                let Some(step) = progress.step(window_max, &limits) else { break };
                let Source::Window(span) = step.source else { panic!("seed {seed}") };
                assert!(span.from == at && span.to > at && statement < 100_000, "seed {seed}: {span:?}");
                assert!(step.pages <= window_max && (statement > 0 || step.pages <= FIRST_PAGES), "seed {seed}");
                if rng.random_range(0..10) == 0 && progress.cut(step) {
                    continue;
                }
                at = span.to;
                pages += u64::from(rng.random_range(0..20) == 0) * 3;
                let facts = Facts { oid: 1, filenode: 1, pages };
                // As if it came from the next invocation.
                progress = serde_json::from_str(&serde_json::to_string(&progress).expect("JSON")).expect("a progress");
                progress.read(step, facts, Duration::from_millis(rng.random_range(0..3_000)), &limits);
            }
            assert_eq!((at, progress.totals.pages_read), (END, pages), "seed {seed}");
        }
    }

    #[test]
    fn samples_read_as_many_pages_as_they_may_and_never_more_at_once() {
        let limits = Limits { sample_pages: 10_000, ..Limits::default() };
        let (mut progress, mut asked, mut seeds) = (progress(Way::Samples, 13_000_000), 0, Vec::new());
        while let Some(step) = progress.step(3_000, &limits) {
            let Source::Sample(percent, seed) = step.source else { panic!("a sample") };
            assert!(step.pages <= 3_000 && (percent * 130_000.0 - f64::from(u32::try_from(step.pages).expect("small"))).abs() < 1.0);
            asked += step.pages;
            seeds.push(seed);
            progress.read(step, Facts { oid: 1, filenode: 1, pages: 13_000_001 }, Duration::from_millis(100), &limits);
        }
        assert!(asked == 10_000 && seeds.windows(2).all(|pair| pair[0] < pair[1]), "{asked} {seeds:?}");
        assert_eq!((progress.totals.pages_read, progress.totals.pages), (10_000, 13_000_000));
    }

    #[test]
    fn a_window_is_as_large_as_its_time_allows_and_one_that_is_cut_off_is_smaller() {
        let (mut progress, limits) = (progress(Way::Windows, 1 << 30), Limits::default());
        let mut last = 0;
        for _ in 0..10 {
            let step = progress.step(1 << 40, &limits).expect("a step");
            // A page takes a tenth of a millisecond.
            progress.read(step, Facts { oid: 1, filenode: 1, pages: 1 << 30 }, Duration::from_micros(step.pages * 100), &limits);
            last = step.pages;
        }
        assert!((7_000..=8_200).contains(&last), "{last} pages");
        let step = progress.step(1 << 40, &limits).expect("a step");
        assert!(progress.cut(step) && progress.step(1 << 40, &limits).expect("a step").pages == step.pages / 2);
        let mut cuts = 0;
        while progress.cut(progress.step(1 << 40, &limits).expect("a step")) {
            cuts += 1;
        }
        assert!(cuts <= CUTS_MAX, "it is given up");
    }

    #[test]
    fn what_is_begun_anew_has_seen_nothing_and_that_ends() {
        let (mut progress, limits) = (progress(Way::Windows, 10_000), Limits::default());
        let step = progress.step(100, &limits).expect("a step");
        progress.totals.seen = 7;
        progress.read(step, Facts { oid: 1, filenode: 2, pages: 10_001 }, Duration::ZERO, &limits);
        progress.restart(Totals::default());
        assert_eq!((progress.totals.seen, progress.totals.pages, progress.next, progress.filenode), (0, 10_001, 0, None));
        assert_eq!((0..10).take_while(|_| progress.may_change()).count(), 3);
    }
}
