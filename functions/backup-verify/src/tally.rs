//! The run in figures and in one sentence: pure.

use chrono::TimeDelta;
use shared::finding::Severity;
use shared::report::{Report, Unit};

use crate::deep::Verified;
use shared::human::{bytes, count, duration};

/// What was looked at and read.
pub struct Tally {
    databases: u64,
    archives: u64,
    age_max: Option<TimeDelta>,
    verified: u64,
    objects: u64,
    bytes: u64,
    rows: u64,
    /// Backups that a dry run would have read.
    pub would_read: usize,
}

impl Tally {
    /// Begins with what was seen in the listing.
    pub fn new(databases: &[String], archives: usize, age_max: Option<TimeDelta>) -> Self {
        let (databases, archives) = (databases.len() as u64, archives as u64);
        Self { databases, archives, age_max, verified: 0, objects: 0, bytes: 0, rows: 0, would_read: 0 }
    }

    /// Adds a backup that was read, to the end or not.
    pub fn add(&mut self, verified: &Verified) {
        self.verified += u64::from(verified.finished && verified.manifest_checksum.is_some());
        self.objects += verified.objects;
        self.bytes += verified.bytes;
        self.rows += verified.rows;
    }

    /// Writes facts and summary; the findings are there already.
    pub fn describe(&self, report: &mut Report) {
        report.count("databases", self.databases, Unit::Count);
        report.count("archives", self.archives, Unit::Count);
        report.count("archivesVerified", self.verified, Unit::Count);
        report.count("objectsVerified", self.objects, Unit::Count);
        report.count("bytesRead", self.bytes, Unit::Bytes);
        report.count("rowsCounted", self.rows, Unit::Count);
        if let Some(age) = self.age_max {
            report.seconds("backupAgeSecondsMax", age.as_seconds_f64());
        }
        let things = |number: u64, one: &str, many: &str| if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number)) };
        let age = self.age_max.map_or_else(String::new, |age| format!(", the newest at most {} old", duration(age.max(TimeDelta::zero()))));
        let what = format!("{} of {}{age}", things(self.archives, "backup", "backups"), things(self.databases, "database", "databases"));
        let read = match self.would_read {
            0 => format!("{} read to the last byte ({}, {})", count(self.verified), bytes(self.bytes), things(self.rows, "row", "rows")),
            would => format!("dry run: {} would be read", count(would as u64)),
        };
        let serious = report.findings.iter().filter(|finding| finding.severity > Severity::Note).count() as u64;
        let verdict = if serious == 0 { "all is as written".to_owned() } else { things(serious, "finding", "findings") };
        report.summary = format!("{what}; {read}; {verdict}");
    }
}
