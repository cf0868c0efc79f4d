//! The team's file: TOML, read as a whole, every mistake named with its line. A check that is written wrong is left out and said; the others are not
//! disturbed. Pure.

use std::collections::BTreeMap;

use shared::finding::{Finding, FindingKind};
use toml::de::{DeTable, DeValue};

use super::check::Check;
use super::kinds::read_check;
use super::reading::{Lines, Mistake, Reader, did_you_mean, shown};
use crate::anomaly::Calendar;
use crate::flags::Settings;

/// Checks that a file may have.
const CHECKS_MAX: usize = 1000;
/// Mistakes of a check, or of the file, that are named.
const NAMED_MAX: usize = 20;

/// What the team asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TeamFile {
    /// Checks that are written right, in the order of the file.
    pub checks: Vec<Check>,
    /// Feature flags.
    pub flags: Option<Settings>,
    /// Days that are not like others.
    pub calendar: Calendar,
    /// What is written wrong, and so is not asked for.
    pub wrong: Vec<Wrong>,
}

/// A part of the file that is written wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Name of the check; `check 3`, where it has none; `flags`; `None`: the file itself.
    pub name: Option<String>,
    /// The database that it is for, if that can be read.
    pub database: Option<String>,
    /// What is wrong, in the order of the lines.
    pub mistakes: Vec<Mistake>,
}

impl Wrong {
    /// `line 12: check "paid orders": severity must be …; line 14: …`.
    pub fn said(&self) -> String {
        let about = self.name.as_ref().map(|name| format!("{}: ", quoted(name))).unwrap_or_default();
        let named: Vec<String> =
            self.mistakes.iter().take(NAMED_MAX).map(|mistake| format!("line {}: {about}{}", mistake.line, mistake.what)).collect();
        let more = self.mistakes.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!("; and {more} more mistakes") } else { String::new() };
        format!("{}{more}", named.join("; "))
    }

    /// As a finding. `source` is where the file is.
    pub fn finding(&self, source: &str) -> Finding {
        let subject = self.name.clone().unwrap_or_else(|| source.to_owned());
        Finding::new(FindingKind::CheckInvalid, subject, self.said())
            .expected("every part of the file can be read; what cannot, checks nothing")
            .hint(format!("correct {source}; the next night reads it again"))
    }
}

/// `[calendar]`: `days = ["2026-12-25"]`, `month-ends = true`.
fn calendar(reader: &mut Reader<'_>) -> Calendar {
    let mut calendar = Calendar { month_ends: reader.flag("month-ends", false), ..Calendar::default() };
    for day in reader.texts("days").unwrap_or_default() {
        match day.parse() {
            Ok(day) => drop(calendar.days.insert(day)),
            Err(_) => reader.wrong("days", format!("{day:?} is no date: it is written \"2026-12-25\"")),
        }
    }
    calendar
}

fn quoted(name: &str) -> String {
    if [FLAGS, CALENDAR].contains(&name) || name.starts_with("check number ") { name.to_owned() } else { format!("check {name:?}") }
}

const FLAGS: &str = "flags";
const CALENDAR: &str = "calendar";

impl TeamFile {
    /// Reads a file.
    pub fn read(text: &str) -> Self {
        let lines = Lines::new(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut mistakes: Vec<Mistake> = errors
            .iter()
            .map(|error| Mistake {
                line: error.span().map_or(1, |span| lines.of(span.start)),
                what: format!("this is not TOML: {}", one_line(error.message())),
            })
            .collect();
        mistakes.sort();
        mistakes.dedup();
        if !mistakes.is_empty() {
            // What stands behind a quotation that does not end is anything: nothing of such a file is believed.
            return Self { wrong: vec![Wrong { name: None, database: None, mistakes }], ..Self::default() };
        }
        let mut file = Self::default();
        for (key, value) in table.get_ref() {
            let line = lines.of(key.span().start);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("check", DeValue::Array(list)) => {
                    for (place, one) in list.iter().enumerate().take(CHECKS_MAX) {
                        match one.get_ref() {
                            DeValue::Table(table) => file.add_check(Reader::new(table, &lines, &one.span()), place),
                            _ => mistakes.push(Mistake { line: lines.of(one.span().start), what: "a check is written below [[check]]".to_owned() }),
                        }
                    }
                    if list.len() > CHECKS_MAX {
                        mistakes.push(Mistake { line, what: format!("there are {} checks; only the first {CHECKS_MAX} are read", list.len()) });
                    }
                }
                (FLAGS, DeValue::Table(table)) => {
                    let mut reader = Reader::new(table, &lines, &value.span());
                    let settings = Settings::read(&mut reader);
                    let database = reader.text("database");
                    let mistakes = reader.finish();
                    match settings {
                        Some(settings) if mistakes.is_empty() => file.flags = Some(settings),
                        _ => file.wrong.push(Wrong { name: Some(FLAGS.to_owned()), database, mistakes }),
                    }
                }
                (CALENDAR, DeValue::Table(table)) => {
                    let mut reader = Reader::new(table, &lines, &value.span());
                    let calendar = calendar(&mut reader);
                    let mistakes = reader.finish();
                    if mistakes.is_empty() {
                        file.calendar = calendar;
                    } else {
                        file.wrong.push(Wrong { name: Some(CALENDAR.to_owned()), database: None, mistakes });
                    }
                }
                (CALENDAR, _) => mistakes.push(Mistake { line, what: "the calendar is written below [calendar], with one bracket".to_owned() }),
                ("check", _) => mistakes.push(Mistake { line, what: "checks are written below [[check]], with two brackets".to_owned() }),
                (FLAGS, _) => mistakes.push(Mistake { line, what: "feature flags are written below [flags], with one bracket".to_owned() }),
                (other, _) => {
                    mistakes.push(Mistake {
                        line,
                        what: format!("`{}` is not known here{}", shown(other), did_you_mean(other, &["check", FLAGS, CALENDAR])),
                    });
                }
            }
        }
        file.refuse_duplicates();
        file.checks.sort_by_key(|check| check.line);
        if !mistakes.is_empty() {
            mistakes.sort();
            file.wrong.push(Wrong { name: None, database: None, mistakes });
        }
        file
    }

    fn add_check(&mut self, mut reader: Reader<'_>, place: usize) {
        let check = read_check(&mut reader);
        let (name, database) = (reader.text("name"), reader.text("database"));
        let mut mistakes = reader.finish();
        mistakes.dedup();
        match check {
            Some(check) if mistakes.is_empty() => self.checks.push(check),
            _ => self.wrong.push(Wrong { name: Some(name.unwrap_or_else(|| format!("check number {}", place + 1))), database, mistakes }),
        }
    }

    /// A name is an identity: of two checks of one name neither is believed, for the findings of one would hide those of the other.
    fn refuse_duplicates(&mut self) {
        let mut lines: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for check in &self.checks {
            lines.entry(&check.name).or_default().push(check.line);
        }
        let twice: Vec<(String, Vec<usize>)> =
            lines.into_iter().filter(|(_, lines)| lines.len() > 1).map(|(name, lines)| (name.to_owned(), lines)).collect();
        for (name, lines) in twice {
            self.checks.retain(|check| check.name != name);
            let first = lines.iter().min().copied().unwrap_or_default();
            let mistakes = lines.iter().filter(|line| **line != first);
            let mistakes = mistakes.map(|line| Mistake { line: *line, what: format!("line {first} has a check of this name already") }).collect();
            self.wrong.push(Wrong { name: Some(name), database: None, mistakes });
        }
    }

    /// The part of the file that is for a database. What names no database is for each.
    #[must_use]
    pub fn for_database(&self, database: &str) -> Self {
        let is_for = |named: &Option<String>| named.as_deref().is_none_or(|named| named == database);
        Self {
            checks: self.checks.iter().filter(|check| is_for(&check.database)).cloned().collect(),
            calendar: self.calendar.clone(),
            flags: self.flags.clone().filter(|flags| is_for(&flags.database)),
            wrong: self.wrong.iter().filter(|wrong| is_for(&wrong.database)).cloned().collect(),
        }
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
