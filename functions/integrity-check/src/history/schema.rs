//! What came, went, or changed its type since the night before. By names and types alone: a table that no scan reached has not gone.

use shared::finding::{Finding, FindingKind};

use super::{Past, PastTable, TableTonight};
use crate::model::TypeClass;

/// Tables that are named; the last says how many more.
const NAMED_MAX: usize = 20;
/// Columns of a table that are named.
const COLUMNS_MAX: usize = 5;

/// Compares tonight's tables with those of the newest night before. Without such a night nothing is new.
pub fn changes(past: &Past, tables: &[TableTonight]) -> Vec<Finding> {
    if !past.tables.values().any(|table| table.was_there) && past.gone.is_empty() {
        return Vec::new();
    }
    let mut changed: Vec<(String, String)> = past.gone.iter().map(|table| (table.clone(), "the table is gone".to_owned())).collect();
    for table in tables {
        let text = match past.table(&table.table) {
            Some(before) if before.was_there => columns(before),
            Some(_) => Some("the table is new".to_owned()),
            None => None,
        };
        changed.extend(text.map(|text| (table.table.clone(), text)));
    }
    changed.sort();
    let more = changed.len().saturating_sub(NAMED_MAX);
    changed.truncate(NAMED_MAX);
    let last = changed.len().saturating_sub(1);
    let finding = |(place, (table, text)): (usize, (String, String))| {
        let seen = if place == last && more > 0 { format!("{text}; {more} more tables changed") } else { text };
        Finding::new(FindingKind::SchemaChanged, table, seen).expected("what the night before saw")
    };
    changed.into_iter().enumerate().map(finding).collect()
}

fn columns(before: &PastTable) -> Option<String> {
    let mut parts: Vec<String> = before.gone.iter().map(|column| format!("column {column} is gone")).collect();
    for column in before.columns() {
        match column.was {
            None => parts.push(format!("column {} is new ({})", column.name, name(column.class))),
            Some(was) if was != column.class => parts.push(format!("column {} was {} and is {}", column.name, name(was), name(column.class))),
            Some(_) => {}
        }
    }
    let more = parts.len().saturating_sub(COLUMNS_MAX);
    parts.truncate(COLUMNS_MAX);
    if more > 0 {
        parts.push(format!("{more} more columns"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn name(class: TypeClass) -> &'static str {
    match class {
        TypeClass::Integer => "an integer",
        TypeClass::Number => "a number",
        TypeClass::Time => "a time",
        TypeClass::Text => "text",
        TypeClass::Bytes => "bytes",
        TypeClass::Boolean => "a boolean",
        TypeClass::Hashable => "another type",
        TypeClass::Opaque => "a type that is only counted",
    }
}
