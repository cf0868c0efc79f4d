//! Collects a generated database: its statements, its names, and which features really went in.
//!
//! Knows no feature itself; never talks to a database.

use super::{Generated, TableShape, features::FEATURES};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{collections::BTreeSet, fmt::Write};

pub(super) struct Builder {
    pub(super) rng: StdRng,
    chosen: BTreeSet<&'static str>,
    used: BTreeSet<&'static str>,
    sql: String,
    tables: Vec<TableShape>,
    names: usize,
    /// Statements that must come after all data, in order.
    later: Vec<String>,
}

impl Builder {
    pub(super) fn new(seed: u64, major: u16) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // Every feature takes one draw, also those this major lacks: a seed then looks alike on all majors.
        let chosen =
            FEATURES.iter().filter(|feature| rng.random_bool(feature.probability) && feature.since <= major).map(|feature| feature.name).collect();
        Self { rng, chosen, used: BTreeSet::new(), sql: String::new(), tables: Vec::new(), names: 0, later: Vec::new() }
    }

    /// Whether this seed holds the feature; the caller then puts it in.
    pub(super) fn wants(&mut self, feature: &'static str) -> bool {
        assert!(FEATURES.iter().any(|known| known.name == feature), "{feature} is not in FEATURES");
        let wanted = self.chosen.contains(feature);
        if wanted {
            self.used.insert(feature);
        }
        wanted
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        self.rng.random_range(low..=high)
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// A new identifier, already quoted; as odd as this seed's features allow.
    pub(super) fn name(&mut self, stem: &str) -> String {
        self.names += 1;
        let mut name = format!("{stem}_{}", self.names);
        if self.wants("quoted identifiers") {
            let odd = ["Upper", " \"q\"", " 'x'", " %s", "; --", " select", "\\", " $1", ":v", ""];
            name += self.pick(&odd);
        }
        if self.wants("non-ASCII identifiers") {
            let odd = ["é", "ß漢", "☃", "Ω", ""];
            name = self.pick(&odd).to_owned() + &name;
        }
        if self.wants("newlines, dots and stars in names") {
            let odd = ["\n", "..", "*", "../x", ".", "a|b?", "\t", ""];
            name += self.pick(&odd);
        }
        if self.names.is_multiple_of(6) && self.wants("names of 63 bytes") {
            while name.len() < 63 {
                name.push('_');
            }
        }
        quote(&name)
    }

    pub(super) fn say(&mut self, statement: &str) {
        self.sql.push_str(statement);
        self.sql.push_str(";\n");
    }

    pub(super) fn say_later(&mut self, statement: String) {
        self.later.push(statement);
    }

    /// Notes a table that holds rows, with the least number of bytes that its pages take.
    pub(super) fn holds(&mut self, name: &str, rows: usize, bytes_min: usize) {
        self.tables.push(TableShape { name: name.to_owned(), rows, bytes_min });
    }

    pub(super) fn finish(mut self) -> Generated {
        for statement in std::mem::take(&mut self.later) {
            self.say(&statement);
        }
        debug_assert_eq!(self.chosen, self.used, "a feature was drawn and not put in");
        Generated { sql: self.sql, features: self.used, tables: self.tables }
    }
}

/// An identifier as SQL.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal as SQL, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    let mut sql = String::from("E'");
    for character in text.chars() {
        match character {
            '\'' => sql.push_str("''"),
            '\\' => sql.push_str("\\\\"),
            other if other.is_control() => {
                let _ = write!(sql, "\\u{:04x}", u32::from(other));
            }
            other => sql.push(other),
        }
    }
    sql.push('\'');
    sql
}
