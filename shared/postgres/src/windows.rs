//! How a table is cut into windows of pages: from what is in the ledger to what is read next. Pure.
//!
//! The windows of a table cover every page once, whatever was done before, in whatever order and of whatever sizes; the last one is open-ended, so that
//! pages beyond the size that was measured are not lost.

use std::collections::VecDeque;
use std::time::Duration;

/// No table has a page of this number (ctid has 32 bits for it), so a window up to here is open-ended.
pub const END: u64 = 1 << 32;

/// A range of pages: from, and up to but without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First page.
    pub from: u64,
    /// Page after the last; [`END`]: wherever the table ends.
    pub to: u64,
}

impl Span {
    /// Everything.
    pub const ALL: Self = Self { from: 0, to: END };

    /// The condition on `ctid`, as a range that the server reads as a range.
    pub fn condition(self) -> String {
        let from = format!("ctid >= '({},0)'::pg_catalog.tid", self.from);
        if self.to >= END { from } else { format!("{from} AND ctid < '({},0)'::pg_catalog.tid", self.to) }
    }

    /// For a person.
    pub fn pages(self) -> String {
        match self.to {
            _ if self == Self::ALL => "all pages".to_owned(),
            END.. => format!("pages {} to the end", self.from),
            to if to == self.from + 1 => format!("page {}", self.from),
            to => format!("pages {} to {}", self.from, to - 1),
        }
    }
}

/// How large windows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Pages of a table's first window, when the table has no values elsewhere.
    pub first: u64,
    /// Pages of a window at most.
    pub max: u64,
    /// What reading one should take.
    pub aim: Duration,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { first: 4096, max: 1 << 18, aim: Duration::from_secs(3) }
    }
}

/// What is left to be read of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Pages that the table has, as far as is known.
    pages: u64,
    /// Pages of the next window.
    window: u64,
    sizes: Sizes,
    gaps: VecDeque<Span>,
    /// Parts of windows that could not be read: read before anything else.
    halves: Vec<Span>,
}

impl Plan {
    /// What is left, when `done` was read. `window` is the size to begin with.
    pub fn new(pages: u64, sizes: Sizes, window: u64, done: &[Span]) -> Self {
        Self { pages, window: window.clamp(1, sizes.max.max(1)), sizes, gaps: gaps(done), halves: Vec::new() }
    }

    /// The next window; `None`: everything was handed out.
    pub fn hand_out(&mut self) -> Option<Span> {
        if let Some(half) = self.halves.pop() {
            return Some(half);
        }
        let gap = self.gaps.pop_front()?;
        let to = gap.from.saturating_add(self.window);
        // What begins where the table should have ended already is read in one, and so is its last window.
        let to = if to >= self.pages.min(gap.to) { gap.to } else { to };
        if to < gap.to {
            self.gaps.push_front(Span { from: to, to: gap.to });
        }
        Some(Span { from: gap.from, to })
    }

    /// Whether everything was handed out.
    pub fn is_empty(&self) -> bool {
        self.gaps.is_empty() && self.halves.is_empty()
    }

    /// Hands nothing out any more; what was not read stays for another time.
    pub fn stop(&mut self) {
        self.gaps.clear();
        self.halves.clear();
    }

    /// Learns from a window that was read.
    pub fn took(&mut self, span: Span, time: Duration) {
        let read = span.to.min(self.pages).saturating_sub(span.from).max(1);
        let aimed = u128::from(read) * self.sizes.aim.as_millis() / time.as_millis().max(1);
        let aimed = u64::try_from(aimed).unwrap_or(u64::MAX);
        self.window = aimed.clamp((self.window / 4).max(1), self.window.saturating_mul(4)).clamp(1, self.sizes.max.max(1));
    }

    /// Cuts a window that could not be read into halves, which are handed out next. `false`: it is a single page.
    pub fn halve(&mut self, span: Span) -> bool {
        let end = span.to.min(self.pages.max(span.from + 1));
        if end - span.from < 2 {
            return false;
        }
        let middle = span.from + (end - span.from) / 2;
        self.halves.push(Span { from: middle, to: span.to });
        self.halves.push(Span { from: span.from, to: middle });
        true
    }
}

/// What is not covered by `done`.
fn gaps(done: &[Span]) -> VecDeque<Span> {
    let mut done = done.to_vec();
    done.sort_unstable();
    let (mut gaps, mut at) = (VecDeque::new(), 0);
    for span in done {
        if span.from > at {
            gaps.push_back(Span { from: at, to: span.from });
        }
        at = at.max(span.to);
    }
    if at < END {
        gaps.push_back(Span { from: at, to: END });
    }
    gaps
}

/// Neighbouring spans as one.
pub fn joined(spans: &[Span]) -> Vec<Span> {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if last.to >= span.from => last.to = last.to.max(span.to),
            _ => joined.push(span),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn sizes(first: u64) -> Sizes {
        Sizes { first, max: 1 << 16, aim: Duration::from_secs(1) }
    }

    #[test]
    fn whatever_is_interrupted_and_however_it_is_cut_every_page_is_read_once() {
        for seed in 0..500 {
            let mut rng = StdRng::seed_from_u64(seed);
            let pages = [0, 1, 2, 5, 100, 4097][rng.random_range(0..6)];
            let mut done: Vec<Span> = Vec::new();
            for _ in 0..10_000 {
                let mut plan = Plan::new(pages, sizes(4096), rng.random_range(1..300), &done);
                if plan.is_empty() {
                    break;
                }
                for _ in 0..rng.random_range(1..20) {
                    let Some(span) = plan.hand_out() else { break };
                    assert!(span.from < span.to, "seed {seed}");
                    // Some are lost, some cannot be read, some are.
                    match rng.random_range(0..4) {
                        0 => {}
                        1 if plan.halve(span) => {}
                        _ => {
                            plan.took(span, Duration::from_millis(rng.random_range(1..5000)));
                            done.push(span);
                        }
                    }
                }
            }
            done.sort_unstable();
            assert_eq!((done[0].from, done[done.len() - 1].to), (0, END), "seed {seed}");
            assert!(done.windows(2).all(|pair| pair[0].to == pair[1].from), "seed {seed}: {done:?}");
            assert_eq!(joined(&done), [Span::ALL]);
        }
    }

    #[test]
    fn a_window_that_was_fast_is_followed_by_a_larger_one_and_within_bounds() {
        let mut plan = Plan::new(1 << 30, sizes(100), 100, &[]);
        let span = plan.hand_out().expect("a window");
        plan.took(span, Duration::from_millis(10));
        let next = plan.hand_out().expect("a window");
        assert_eq!((span, next), (Span { from: 0, to: 100 }, Span { from: 100, to: 500 }));
        plan.took(next, Duration::from_mins(10));
        let slow = plan.hand_out().expect("a window");
        assert_eq!(slow.to - slow.from, 100);
        for _ in 0..100 {
            plan.took(slow, Duration::ZERO);
        }
        let large = plan.hand_out().expect("a window");
        assert_eq!(large.to - large.from, 1 << 16);
    }

    #[test]
    fn a_damaged_page_is_found_by_halving() {
        let mut plan = Plan::new(1000, sizes(1000), 1000, &[]);
        let (mut bad, mut reads) = (Vec::new(), 0);
        while let Some(span) = plan.hand_out() {
            reads += 1;
            if (span.from..span.to).contains(&617) && !plan.halve(span) {
                bad.push(span);
            }
        }
        assert_eq!(bad, [Span { from: 617, to: 618 }]);
        assert!(reads < 25, "{reads}");
    }

    #[test]
    fn a_span_is_said_and_selected() {
        assert_eq!(Span { from: 3, to: 4 }.pages(), "page 3");
        assert_eq!(Span { from: 3, to: 9 }.pages(), "pages 3 to 8");
        assert_eq!(Span { from: 3, to: END }.pages(), "pages 3 to the end");
        assert_eq!(Span { from: 3, to: 9 }.condition(), "ctid >= '(3,0)'::pg_catalog.tid AND ctid < '(9,0)'::pg_catalog.tid");
        assert!(!Span { from: 3, to: END }.condition().contains('<'));
    }
}
