//! What is known of each table and index, from night to night: which pages were checked when, what was corrupt, what could not be checked. Pure, and small
//! enough to be kept as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared_postgres::amcheck::{Place, Target};

/// Corrupt blocks that are kept of a table.
const BLOCKS_MAX: usize = 1000;
/// Longest message that is kept, in characters.
const SAID_MAX: usize = 400;

/// Everything that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// The night that it was last used in, in days since 1970.
    night: i32,
    /// Pages read in that night.
    spent: u64,
    /// Those of them that were read again because they were corrupt before.
    #[serde(default)]
    suspects: u64,
    /// By oid.
    relations: BTreeMap<u32, Known>,
}

/// What is known of a table or an index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its file: what is known of another one says nothing.
    #[serde(rename = "f")]
    file: u32,
    /// First page, page after the last, and the day that they were checked on; in order, without overlaps.
    #[serde(default, rename = "s", skip_serializing_if = "Vec::is_empty")]
    spans: Vec<(u64, u64, i32)>,
    /// What was corrupt when it was last looked at.
    #[serde(default, rename = "c", skip_serializing_if = "Option::is_none")]
    corrupt: Option<Corrupt>,
    /// Nights in a row in which it could not be checked, the last of them, and why.
    #[serde(default, rename = "m", skip_serializing_if = "Option::is_none")]
    missed: Option<(u32, i32, Miss)>,
}

/// What is corrupt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrupt {
    /// Blocks of a table; none of an index.
    #[serde(default, rename = "b", skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<u64>,
    /// What was said of the first.
    #[serde(rename = "t")]
    pub said: String,
    /// When it was last seen.
    #[serde(rename = "d")]
    pub day: i32,
}

/// Why something could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Miss {
    /// Somebody held a lock on it, or waited for one that we were in the way of.
    Locked,
    /// It did not end in time.
    TooLong,
    /// The server refused, with this SQLSTATE.
    Refused(String),
    /// Our role may not.
    Denied,
}

impl Cursor {
    /// Begins a night, or goes on with it: forgets what is not there any more, and what has another file now.
    pub fn begin(&mut self, night: i32, targets: &[Target]) {
        if self.night != night {
            (self.night, self.spent, self.suspects) = (night, 0, 0);
        }
        let files: BTreeMap<u32, u32> = targets.iter().map(|target| (target.oid, target.file)).collect();
        self.relations.retain(|oid, known| files.get(oid) == Some(&known.file));
    }

    /// The night.
    pub fn night(&self) -> i32 {
        self.night
    }

    /// Pages read this night.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// Pages of them that were read again because they were corrupt before.
    pub fn spent_on_suspects(&self) -> u64 {
        self.suspects
    }

    /// Counts pages as read this night, whatever came of it.
    pub fn spend(&mut self, pages: u64, on_suspect: bool) {
        self.spent += pages;
        self.suspects += if on_suspect { pages } else { 0 };
    }

    /// What is known of one.
    pub fn known(&self, oid: u32) -> Option<&Known> {
        self.relations.get(&oid)
    }

    fn of(&mut self, target: &Target) -> &mut Known {
        let known = self.relations.entry(target.oid).or_default();
        if known.file != target.file {
            *known = Known { file: target.file, ..Known::default() };
        }
        known
    }

    /// Pages were checked and nothing was wrong with them. Of an index: all of them.
    pub fn sound(&mut self, target: &Target, from: u64, to: u64) {
        let night = self.night;
        let known = self.of(target);
        known.cover(from, to, night);
        if let Some(corrupt) = &mut known.corrupt {
            corrupt.blocks.retain(|block| !(from..to).contains(block));
            if corrupt.blocks.is_empty() {
                known.corrupt = None;
            }
        }
    }

    /// Pages were checked, and these are corrupt.
    pub fn corrupt(&mut self, target: &Target, from: u64, to: u64, places: &[Place]) {
        let night = self.night;
        let known = self.of(target);
        known.cover(from, to, night);
        let corrupt = known.corrupt.get_or_insert_with(Corrupt::default);
        if target.method == "heap" {
            corrupt.blocks.retain(|block| !(from..to).contains(block));
            corrupt.blocks.extend(places.iter().map(|place| place.block));
            corrupt.blocks.sort_unstable();
            corrupt.blocks.dedup();
            corrupt.blocks.truncate(BLOCKS_MAX);
        }
        corrupt.said = places.first().map(|place| place.said.chars().take(SAID_MAX).collect()).unwrap_or_default();
        corrupt.day = night;
    }

    /// It could not be checked this night.
    pub fn missed(&mut self, target: &Target, why: Miss) {
        let night = self.night;
        let known = self.of(target);
        let nights = match &known.missed {
            Some((nights, last, _)) if *last == night => *nights,
            Some((nights, ..)) => nights + 1,
            None => 1,
        };
        known.missed = Some((nights, night, why));
    }
}

impl Known {
    /// What is corrupt.
    pub fn is_corrupt(&self) -> Option<&Corrupt> {
        self.corrupt.as_ref()
    }

    /// Nights in a row in which it could not be checked, the last of them, and why.
    pub fn misses(&self) -> Option<&(u32, i32, Miss)> {
        self.missed.as_ref()
    }

    fn cover(&mut self, from: u64, to: u64, day: i32) {
        self.missed = None;
        let mut spans: Vec<(u64, u64, i32)> = Vec::with_capacity(self.spans.len() + 2);
        for &(a, b, old) in &self.spans {
            // What is left of an older span on both sides.
            spans.extend((a < from).then_some((a, b.min(from), old)));
            spans.extend((b > to).then_some((a.max(to), b, old)));
        }
        if from < to {
            spans.push((from, to, day));
        }
        spans.sort_unstable();
        self.spans.clear();
        for span in spans {
            match self.spans.last_mut() {
                Some(last) if last.1 == span.0 && last.2 == span.2 => last.1 = span.1,
                _ => self.spans.push(span),
            }
        }
    }

    /// All pages of a table, in order, with the day that they were checked on; `None`: never.
    pub fn ages(&self, pages: u64) -> Vec<(u64, u64, Option<i32>)> {
        let (mut ages, mut at) = (Vec::new(), 0);
        for &(from, to, day) in &self.spans {
            let (from, to) = (from.min(pages), to.min(pages));
            ages.extend((at < from).then_some((at, from, None)));
            ages.extend((from < to).then_some((from, to, Some(day))));
            at = at.max(to);
        }
        ages.extend((at < pages).then_some((at, pages, None)));
        ages
    }

    /// The day that an index was checked on.
    pub fn day(&self) -> Option<i32> {
        self.spans.first().map(|span| span.2)
    }
}
