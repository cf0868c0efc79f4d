//! What was read so far: the ledger's steps as numbers, and numbers as steps. Pure.
//!
//! A step's name is a JSON list, so that any name of a database fits into it: `["read", DATABASE, "table", OID, FROM, TO]`, and so on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::digest::Content;
use shared::failure::{Failure, FailureKind};
use shared::finding::Finding;
use shared::manifest::LargeObjects;

use super::piece::Rows;
use super::sequences::Position;
use shared_postgres::windows::{Span, joined};

/// Damaged ranges of a table that are narrowed down to single pages; a table with more of them is lost anyway.
pub const DAMAGED_MAX: usize = 32;
/// A piece that did not end in so many invocations, though each was begun with it, is not checked.
pub const CUTS_MAX: usize = 2;

/// What is known about a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Window {
    /// It was read.
    Read(Rows),
    /// It cannot be read, and what the server said.
    Damaged(String),
}

/// What is known about a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Its windows.
    pub windows: Vec<(Span, Window)>,
    /// Windows that were cut off though an invocation began with them.
    pub cuts: Vec<Span>,
    /// Why it was given up.
    pub given_up: Option<Finding>,
}

/// What is known about the large objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// The sum of the ranges that were read.
    pub sum: LargeObjects,
    /// The last oid that was read.
    pub after: u32,
    /// After which oids one was cut off, each as often as it was.
    pub cuts: Vec<u32>,
    /// Whether all were read, or given up.
    pub is_done: bool,
    /// Why they were given up.
    pub given_up: Option<Finding>,
}

/// Everything that was read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// By oid.
    pub tables: BTreeMap<u32, Table>,
    /// Large objects.
    pub objects: Objects,
    /// Sequences, and what could not be read of them.
    pub sequences: Option<(Vec<Position>, Vec<Finding>)>,
}

/// What is written into the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A window of a table.
    Window(u32, Span, Window),
    /// A window was cut off; its number.
    Cut(u32, Span, usize),
    /// A table was given up.
    GivenUp(u32, Finding),
    /// A range of large objects, from after an oid to an oid.
    Objects(u32, u32, LargeObjects),
    /// The large object after this oid was cut off; its number.
    ObjectsCut(u32, usize),
    /// The end of the large objects, and why they were given up.
    ObjectsDone(Option<Finding>),
    /// The sequences.
    Sequences(Vec<Position>, Vec<Finding>),
}

impl Step {
    /// Name and detail.
    ///
    /// # Errors
    /// Never in practice: no model has a map with odd keys.
    pub fn written(&self, database: &str) -> Result<(Value, Value), Failure> {
        let bad = |error: serde_json::Error| Failure::new(FailureKind::Other, format!("write a step: {error}"));
        let detail = |value: &dyn erased::Detail| value.to_json().map_err(bad);
        let read = "read";
        Ok(match self {
            Self::Window(oid, span, window) => (json!([read, database, "table", oid, span.from, span.to]), detail(window)?),
            Self::Cut(oid, span, number) => (json!([read, database, "cut", oid, span.from, span.to, number]), json!({})),
            Self::GivenUp(oid, finding) => (json!([read, database, "given up", oid]), detail(finding)?),
            Self::Objects(after, last, objects) => (json!([read, database, "large objects", after, last]), detail(objects)?),
            Self::ObjectsCut(after, number) => (json!([read, database, "large objects cut", after, number]), json!({})),
            Self::ObjectsDone(finding) => (json!([read, database, "large objects done"]), detail(finding)?),
            Self::Sequences(positions, findings) => (json!([read, database, "sequences"]), json!([detail(positions)?, detail(findings)?])),
        })
    }
}

/// What can be written as JSON.
mod erased {
    use serde::Serialize;
    use serde_json::Value;

    pub(super) trait Detail {
        fn to_json(&self) -> Result<Value, serde_json::Error>;
    }

    impl<T: Serialize> Detail for T {
        fn to_json(&self) -> Result<Value, serde_json::Error> {
            serde_json::to_value(self)
        }
    }
}

impl Progress {
    /// From the ledger: names without the two first words, and details.
    ///
    /// # Errors
    /// When a detail is not what this version writes.
    pub fn of(steps: &[(Vec<Value>, Value)]) -> Result<Self, Failure> {
        let mut progress = Self::default();
        for (name, detail) in steps {
            progress
                .add_written(name, detail)
                .map_err(|error| Failure::new(FailureKind::Corrupt, format!("ledger, {}: {error}", Value::from(name.clone()))))?;
        }
        Ok(progress)
    }

    fn add_written(&mut self, name: &[Value], detail: &Value) -> Result<(), serde_json::Error> {
        let number = |place: usize| name.get(place).and_then(Value::as_u64).unwrap_or_default();
        let oid = u32::try_from(number(1)).unwrap_or_default();
        let span = Span { from: number(2), to: number(3) };
        let detail = detail.clone();
        match name.first().and_then(Value::as_str).unwrap_or_default() {
            "table" => self.add(Step::Window(oid, span, serde_json::from_value(detail)?)),
            "cut" => self.add(Step::Cut(oid, span, 0)),
            "given up" => self.add(Step::GivenUp(oid, serde_json::from_value(detail)?)),
            "large objects" => self.add(Step::Objects(oid, u32::try_from(number(2)).unwrap_or_default(), serde_json::from_value(detail)?)),
            "large objects cut" => self.add(Step::ObjectsCut(oid, 0)),
            "large objects done" => self.add(Step::ObjectsDone(serde_json::from_value(detail)?)),
            "sequences" => {
                let (positions, findings) = serde_json::from_value(detail)?;
                self.add(Step::Sequences(positions, findings));
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a step.
    pub fn add(&mut self, step: Step) {
        match step {
            Step::Window(oid, span, window) => self.tables.entry(oid).or_default().windows.push((span, window)),
            Step::Cut(oid, span, _) => self.tables.entry(oid).or_default().cuts.push(span),
            Step::GivenUp(oid, finding) => self.tables.entry(oid).or_default().given_up = Some(finding),
            Step::Objects(_, last, objects) => {
                self.objects.sum.content.merge(objects.content);
                self.objects.sum.bytes += objects.bytes;
                self.objects.after = self.objects.after.max(last);
            }
            Step::ObjectsCut(after, _) => self.objects.cuts.push(after),
            Step::ObjectsDone(finding) => {
                self.objects.is_done = true;
                self.objects.given_up = finding;
            }
            Step::Sequences(positions, findings) => self.sequences = Some((positions, findings)),
        }
    }
}

impl Table {
    /// The ranges that are known.
    pub fn spans(&self) -> Vec<Span> {
        self.windows.iter().map(|(span, _)| *span).collect()
    }

    /// Whether all of it is known, or it was given up.
    pub fn is_done(&self) -> bool {
        self.given_up.is_some() || joined(&self.spans()) == [Span::ALL]
    }

    /// What was read of it.
    pub fn rows(&self) -> Rows {
        let mut sum = Rows::default();
        for (_, window) in &self.windows {
            if let Window::Read(rows) = window {
                sum.content.merge(rows.content);
                sum.bytes += rows.bytes;
            }
        }
        sum
    }

    /// Its content, if all of it was read.
    pub fn content(&self) -> Option<Content> {
        let is_whole = self.given_up.is_none() && self.damaged().is_empty() && joined(&self.spans()) == [Span::ALL];
        is_whole.then(|| self.rows().content)
    }

    /// The ranges that cannot be read: where, and what the server said of the first of each.
    pub fn damaged(&self) -> Vec<(Span, &str)> {
        let mut damaged: Vec<(Span, &str)> = self
            .windows
            .iter()
            .filter_map(|(span, window)| if let Window::Damaged(said) = window { Some((*span, said.as_str())) } else { None })
            .collect();
        damaged.sort_unstable();
        let spans: Vec<Span> = damaged.iter().map(|(span, _)| *span).collect();
        joined(&spans)
            .into_iter()
            .filter_map(|range| damaged.iter().find(|(span, _)| span.from >= range.from).map(|(_, said)| (range, *said)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use shared::finding::FindingKind;

    use super::*;
    use shared_postgres::windows::END;

    #[test]
    fn what_is_written_is_read_again() {
        let finding = Finding::new(FindingKind::NotChecked, "a \"b\"", "c");
        let mut content = Content::default();
        content.add_row(b"row");
        let position = Position {
            schema: "s".into(),
            name: "n".into(),
            last_value: i64::MIN,
            is_called: true,
            increment: -1,
            cycles: false,
            is_unlogged: false,
        };
        let steps = [
            Step::Window(7, Span { from: 0, to: 5 }, Window::Read(Rows { content, bytes: 4 })),
            Step::Window(7, Span { from: 5, to: 6 }, Window::Damaged("it's".into())),
            Step::Window(7, Span { from: 6, to: END }, Window::Read(Rows::default())),
            Step::Cut(8, Span::ALL, 0),
            Step::GivenUp(8, finding.clone()),
            Step::Objects(0, 900, LargeObjects { content, bytes: 9 }),
            Step::ObjectsCut(900, 0),
            Step::ObjectsDone(Some(finding.clone())),
            Step::Sequences(vec![position], vec![finding]),
        ];
        let (mut expected, mut written) = (Progress::default(), Vec::new());
        for step in steps {
            let (name, detail) = step.written("a \"database\"").expect("write");
            let name: Vec<Value> = serde_json::from_str(&name.to_string()).expect("a list");
            assert_eq!(name[..2], [json!("read"), json!("a \"database\"")]);
            written.push((name[2..].to_vec(), detail));
            expected.add(step);
        }
        let progress = Progress::of(&written).expect("read");
        assert_eq!(progress, expected);
        assert!(progress.tables[&7].is_done() && progress.tables[&8].is_done() && progress.tables[&7].content().is_none());
        assert_eq!(progress.tables[&7].damaged(), [(Span { from: 5, to: 6 }, "it's")]);
    }
}
