//! Two nights' counters against each other: what took the time between them, what is new and heavy, what became slower. Pure.
//!
//! A counter that was reset in between begins at zero; an entry that the server threw away and made again is not called new.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::finding::{Finding, FindingKind};
use shared::human;

use super::counters::{Counters, Entry};

/// Queries that are shown by their share of the time.
const TOP_MAX: usize = 10;
/// Queries that are found to be new or slower.
const FOUND_MAX: usize = 5;
/// A new query is worth a word from this share of the time on, and from so many seconds on.
const NEW_SHARE_MIN: f64 = 0.05;
const NEW_SECONDS_MIN: f64 = 60.0;
/// A query became slower when its mean is so many times what it was, over so many calls before and since.
const SLOWER_TIMES_MIN: f64 = 2.0;
const CALLS_MIN: f64 = 100.0;
/// And that costs at least so many seconds.
const LOST_SECONDS_MIN: f64 = 10.0;

/// What a night says about queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Hours that it is about; 0: there is nothing to compare with, and the figures are since the counters began.
    pub hours: f64,
    /// Seconds that all queries took together.
    pub seconds: f64,
    /// How many there are.
    pub queries: u64,
    /// Whether counters began anew in between, so that what was before is not in the figures.
    #[serde(default)]
    pub was_reset: bool,
    /// How often the server threw entries away in between: `pg_stat_statements.max` is too small then.
    #[serde(default)]
    pub thrown_away: u64,
    /// What took the most time, most first.
    pub top: Vec<Reviewed>,
    /// New and heavy.
    #[serde(default)]
    pub new: Vec<Reviewed>,
    /// Slower than before.
    #[serde(default)]
    pub slower: Vec<Reviewed>,
}

/// A query in a review.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reviewed {
    /// Its id on this server.
    pub query: i64,
    /// Its text, redacted and cut; filled in by whoever has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Calls.
    pub calls: f64,
    /// Seconds, all calls together.
    pub seconds: f64,
    /// Share of all queries' time, 0 to 1.
    pub share: f64,
    /// Milliseconds of a call, on average.
    pub mean_milliseconds: f64,
    /// The same before, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_milliseconds_before: Option<f64>,
    /// Rows.
    pub rows: f64,
    /// Blocks that were read from disk or the system's cache.
    pub blocks_read: f64,
    /// Temporary blocks that were written.
    pub temporary_blocks: f64,
    /// Bytes of WAL.
    pub wal_bytes: f64,
}

/// What an entry did between two nights.
struct Delta {
    reviewed: Reviewed,
    is_new: bool,
    calls_before: f64,
    /// Seconds of what was called from outside: a function's time holds that of its queries, so only this adds up to the whole.
    outer_seconds: f64,
}

/// Compares with an earlier night; without one, what there is since the counters began.
pub fn review(before: Option<&Counters>, now: &Counters) -> Review {
    let known: BTreeMap<_, &Entry> = before.iter().flat_map(|before| &before.entries).map(|entry| (entry.key(), entry)).collect();
    let thrown_away =
        before.and_then(|before| before.thrown_away.zip(now.thrown_away)).map_or(0, |(one, other)| u64::try_from(other - one).unwrap_or(0));
    let all_reset = before.is_some_and(|before| now.reset_at > before.reset_at && now.reset_at.is_some_and(|reset| reset > before.at));
    // An entry that is not known may be one that was not kept, or was thrown away and came back.
    let is_complete = before.is_some_and(|before| !before.is_cut) && thrown_away == 0 && !all_reset;
    let mut was_reset = all_reset;
    let mut deltas: BTreeMap<i64, Delta> = BTreeMap::new();
    for entry in &now.entries {
        let since = entry.9;
        let is_younger = before.is_some_and(|before| since.is_some_and(|since| since > seconds(before.at)));
        let old = known.get(&entry.key()).copied();
        let base = match old {
            Some(old) if !all_reset && !is_younger && entry.3 >= old.3 && entry.4 >= old.4 => Some(old),
            Some(_) => {
                was_reset |= !all_reset;
                None
            }
            // Nothing says what it did before: it is left out rather than blamed for all its life.
            None if before.is_some() && !is_complete && !is_younger && !all_reset => continue,
            None => None,
        };
        let minus = |now: f64, part: fn(&Entry) -> f64| (now - base.map_or(0.0, part)).max(0.0);
        let calls = minus(entry.3, |entry| entry.3);
        if calls <= 0.0 {
            continue;
        }
        // Older than the last night, by its own clock, it is not new, even if that night did not have it.
        let is_new = before.is_some() && old.is_none() && if since.is_some() { is_younger } else { is_complete };
        let before_mean = old.filter(|old| old.3 > 0.0).map(|old| (old.3, old.4));
        let delta = deltas.entry(entry.0).or_insert_with(|| Delta {
            reviewed: Reviewed { query: entry.0, ..Reviewed::default() },
            is_new: true,
            calls_before: 0.0,
            outer_seconds: 0.0,
        });
        delta.is_new &= is_new;
        let reviewed = &mut delta.reviewed;
        reviewed.calls += calls;
        let took = minus(entry.4, |entry| entry.4) / 1000.0;
        reviewed.seconds += took;
        delta.outer_seconds += if entry.2 { took } else { 0.0 };
        reviewed.rows += minus(entry.5, |entry| entry.5);
        reviewed.blocks_read += minus(entry.6, |entry| entry.6);
        reviewed.temporary_blocks += minus(entry.7, |entry| entry.7);
        reviewed.wal_bytes += minus(entry.8, |entry| entry.8);
        if let Some((calls, milliseconds)) = before_mean {
            let sum = reviewed.mean_milliseconds_before.unwrap_or(0.0) * delta.calls_before + milliseconds;
            delta.calls_before += calls;
            reviewed.mean_milliseconds_before = Some(sum / delta.calls_before);
        }
    }
    let total: f64 = deltas.values().map(|delta| delta.outer_seconds).sum();
    for delta in deltas.values_mut() {
        let reviewed = &mut delta.reviewed;
        reviewed.mean_milliseconds = reviewed.seconds * 1000.0 / reviewed.calls;
        reviewed.share = if total > 0.0 { (reviewed.seconds / total).min(1.0) } else { 0.0 };
    }
    let mut sorted: Vec<&Delta> = deltas.values().collect();
    sorted.sort_by(|one, other| other.reviewed.seconds.total_cmp(&one.reviewed.seconds).then(one.reviewed.query.cmp(&other.reviewed.query)));
    let taken = |chosen: &dyn Fn(&Delta) -> bool, max: usize| -> Vec<Reviewed> {
        sorted.iter().filter(|delta| chosen(delta)).take(max).map(|delta| delta.reviewed.clone()).collect()
    };
    Review {
        hours: before.map_or(0.0, |before| (seconds(now.at) - seconds(before.at)).max(0.0) / 3600.0),
        seconds: total,
        queries: deltas.len() as u64,
        was_reset,
        thrown_away,
        top: taken(&|_| true, TOP_MAX),
        new: taken(&|delta| delta.is_new && delta.reviewed.share >= NEW_SHARE_MIN && delta.reviewed.seconds >= NEW_SECONDS_MIN, FOUND_MAX),
        slower: taken(&is_slower, FOUND_MAX),
    }
}

fn is_slower(delta: &Delta) -> bool {
    let Reviewed { calls, mean_milliseconds, .. } = delta.reviewed;
    delta.reviewed.mean_milliseconds_before.is_some_and(|before| {
        let lost_seconds = calls * (mean_milliseconds - before) / 1000.0;
        calls >= CALLS_MIN && delta.calls_before >= CALLS_MIN && mean_milliseconds >= SLOWER_TIMES_MIN * before && lost_seconds >= LOST_SECONDS_MIN
    })
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
fn seconds(time: chrono::DateTime<chrono::Utc>) -> f64 {
    time.timestamp_micros() as f64 / 1e6
}

impl Review {
    /// Ids of all queries that are shown: the text of these is needed.
    pub fn shown(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = [&self.top, &self.new, &self.slower].into_iter().flatten().map(|reviewed| reviewed.query).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Puts texts to the queries.
    pub fn with_texts(&mut self, texts: &BTreeMap<i64, String>) {
        for reviewed in self.top.iter_mut().chain(&mut self.new).chain(&mut self.slower) {
            reviewed.text = texts.get(&reviewed.query).cloned();
        }
    }

    /// What became slower, or is new and heavy.
    pub fn findings(&self) -> Vec<Finding> {
        let subject = |reviewed: &Reviewed| format!("query {}", reviewed.query);
        let text = |reviewed: &Reviewed| reviewed.text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        let milliseconds = |number: f64| if number < 10.0 { format!("{number:.2} ms") } else { format!("{number:.0} ms") };
        let calls = |reviewed: &Reviewed| human::count(human::whole(reviewed.calls));
        let slower = self.slower.iter().map(|reviewed| {
            let before = reviewed.mean_milliseconds_before.unwrap_or_default();
            let seen = format!("{} on average over {} calls{}", milliseconds(reviewed.mean_milliseconds), calls(reviewed), text(reviewed));
            Finding::new(FindingKind::QueryRegressed, subject(reviewed), seen)
                .expected(format!("less than {SLOWER_TIMES_MIN} times what it took before, {}", milliseconds(before)))
                .hint(EXPLAIN)
        });
        let new = self.new.iter().map(|reviewed| {
            let seen = format!(
                "a new query with {:.0} % of all queries' time, {} in {} calls{}",
                reviewed.share * 100.0,
                human::seconds(reviewed.seconds),
                calls(reviewed),
                text(reviewed)
            );
            Finding::new(FindingKind::QueryRegressed, subject(reviewed), seen).hint(EXPLAIN)
        });
        slower.chain(new).collect()
    }
}

const EXPLAIN: &str =
    "SELECT query FROM pg_stat_statements WHERE queryid = the number above; then, from PostgreSQL 16 on, EXPLAIN (GENERIC_PLAN) of that text";

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
