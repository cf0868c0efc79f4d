//! Feature flags that do nothing any more: on for everybody, or for nobody, for so long that the code around them can go. What a flag is now comes from the
//! team's table; since when, from the table's dates or else from what earlier nights saw. Pure, but for the query in `look`.
//!
//! It never says that a flag is stale sooner than it is known to be.

pub mod look;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::finding::{Finding, FindingKind};

use crate::checks::check::{Sql, TableName};
use crate::checks::kinds::{fragment, table};
use crate::checks::reading::Reader;

/// Flags that are looked at.
pub const FLAGS_MAX: usize = 5000;
/// Flags that are named; the rest is counted.
const NAMED_MAX: usize = 20;
/// Longest name that is kept, in characters.
const NAME_CHARACTERS_MAX: usize = 200;

/// What the team says about its flags: `[flags]` of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The database that they are in.
    pub database: Option<String>,
    /// Where they are.
    pub source: Source,
    /// The columns, by what they mean.
    pub columns: Columns,
    /// After how many days of being on for everybody a flag is stale.
    pub on_days: u32,
    /// After how many days of being on for nobody.
    pub off_days: u32,
    /// The flags that the team's code asks for, where the team lists them.
    pub known: Option<Vec<String>>,
    /// Kinds of flags that are meant to stay.
    pub permanent_kinds: Vec<String>,
}

/// Where flags are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a table.
    Table(TableName),
    /// In what a query gives.
    Query(Sql),
}

/// Names of columns. What is `None` was not named: the usual name is tried, and nothing is wrong if it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Its name.
    pub name: String,
    /// Whether it is on.
    pub enabled: String,
    /// For what share it is on, 0 to 100.
    pub rollout: Option<String>,
    /// When it was made.
    pub created: Option<String>,
    /// When it was changed last.
    pub updated: Option<String>,
    /// What sort of flag it is.
    pub kind: Option<String>,
    /// Whether it is meant to stay.
    pub permanent: Option<String>,
}

const USUAL: [&str; 5] = ["rollout_percentage", "created_at", "updated_at", "kind", "permanent"];

impl Columns {
    fn optional(&self) -> [&str; 5] {
        let named = [&self.rollout, &self.created, &self.updated, &self.kind, &self.permanent];
        std::array::from_fn(|place| named[place].as_deref().unwrap_or(USUAL[place]))
    }

    /// Every column that is read.
    pub fn all(&self) -> Vec<&str> {
        [self.name.as_str(), self.enabled.as_str()].into_iter().chain(self.optional()).collect()
    }

    /// Those that the team named: they must be there.
    fn needed(&self) -> Vec<&str> {
        let named = [&self.rollout, &self.created, &self.updated, &self.kind, &self.permanent];
        [self.name.as_str(), self.enabled.as_str()].into_iter().chain(named.into_iter().flatten().map(String::as_str)).collect()
    }
}

impl Settings {
    /// Reads `[flags]`. `None`: it cannot be put together; what is wrong is in the reader.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let database = reader.text("database");
        let source = match (reader.has("table"), reader.has("query")) {
            (true, false) => table(reader, "table").map(Source::Table),
            (false, true) => fragment(reader, "query").map(Source::Query),
            _ => {
                let _ = (reader.text("table"), reader.text("query"));
                reader.wrong("query", "either `table` or `query` says where the flags are");
                None
            }
        };
        let columns = Columns {
            name: reader.text("name-column").unwrap_or_else(|| "name".to_owned()),
            enabled: reader.text("enabled-column").unwrap_or_else(|| "enabled".to_owned()),
            rollout: reader.text("rollout-column"),
            created: reader.text("created-column"),
            updated: reader.text("updated-column"),
            kind: reader.text("kind-column"),
            permanent: reader.text("permanent-column"),
        };
        let (on_days, off_days) = (reader.whole("on-days", 30, 1, 3650), reader.whole("off-days", 30, 1, 3650));
        let (known, permanent_kinds) = (reader.texts("known"), reader.texts("permanent-kinds").unwrap_or_default());
        Some(Self { database, source: source?, columns, on_days, off_days, known, permanent_kinds })
    }
}

/// A flag as the table has it tonight.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// Its name.
    pub name: String,
    /// For whom it is on.
    pub state: FlagState,
    /// When it was made.
    pub created: Option<DateTime<Utc>>,
    /// When it was changed last: it is what it is at least since then.
    pub updated: Option<DateTime<Utc>>,
    /// Whether it is meant to stay.
    pub is_permanent: bool,
}

/// For whom a flag is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FlagState {
    /// For everybody.
    On,
    /// For nobody.
    Off,
    /// For some.
    Partly,
}

/// What the nights know of flags, by name: kept in the history.
pub type Memory = BTreeMap<String, Remembered>;

/// What the nights know of a flag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    /// What it is.
    pub state: FlagState,
    /// Since when it is known to be so.
    pub since: DateTime<Utc>,
    /// The last night that saw it.
    pub seen_at: DateTime<Utc>,
    /// The last night that saw it otherwise: no date of the table makes it older than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise_at: Option<DateTime<Utc>>,
    /// Whether any night saw it on, for some at least.
    #[serde(default)]
    pub was_on: bool,
}

/// What is known of the flags of a night.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The flags.
    pub flags: Vec<Flag>,
    /// What is wrong with the mapping: a column that is not there, say.
    pub wrong: Vec<String>,
    /// Rows that could not be read as a flag.
    pub unreadable: u64,
    /// Whether there are more than [`FLAGS_MAX`].
    pub is_cut: bool,
}

/// Reads rows, each a JSON object of the columns that are there.
pub fn read(settings: &Settings, rows: &[Map<String, Value>]) -> Seen {
    let columns = &settings.columns;
    let mut seen = Seen { is_cut: rows.len() > FLAGS_MAX, ..Seen::default() };
    if let Some(first) = rows.first() {
        seen.wrong =
            columns.needed().into_iter().filter(|column| !first.contains_key(*column)).map(|column| format!("there is no column {column}")).collect();
    }
    if !seen.wrong.is_empty() {
        return seen;
    }
    let [rollout, created, updated, kind, permanent] = columns.optional();
    for row in rows.iter().take(FLAGS_MAX) {
        let get = |column: &str| row.get(column).filter(|value| !value.is_null());
        let (name, enabled) = (get(&columns.name).and_then(text), get(&columns.enabled).and_then(boolean));
        let share = get(rollout).map(number);
        let (Some(name), Some(enabled), false) = (name, enabled, share == Some(None)) else {
            seen.unreadable += 1;
            continue;
        };
        let state = match (enabled, share.flatten()) {
            (false, _) => FlagState::Off,
            (true, Some(share)) if share <= 0.0 => FlagState::Off,
            (true, Some(share)) if share < 100.0 => FlagState::Partly,
            (true, _) => FlagState::On,
        };
        let is_permanent = get(permanent).and_then(boolean).unwrap_or(false)
            || get(kind).and_then(text).is_some_and(|kind| settings.permanent_kinds.contains(&kind));
        seen.flags.push(Flag { name, state, created: get(created).and_then(time), updated: get(updated).and_then(time), is_permanent });
    }
    seen
}

/// What is known after tonight. A flag that is gone is forgotten.
pub fn remember(before: &Memory, flags: &[Flag], now: DateTime<Utc>) -> Memory {
    let remembered = flags.iter().map(|flag| {
        let before = before.get(&flag.name);
        let (same, otherwise_at) = match before {
            Some(before) if before.state == flag.state => (Some(before.since), before.otherwise_at),
            Some(before) => (None, Some(before.seen_at)),
            None => (None, None),
        };
        // A change of the row is at the change of its state or after it, where the application keeps that date; nights that saw it before know better.
        let since = [same, flag.updated].into_iter().flatten().chain([now]).min().unwrap_or(now);
        let since = otherwise_at.map_or(since, |otherwise| since.max(otherwise));
        let was_on = flag.state != FlagState::Off || before.is_some_and(|before| before.was_on);
        (flag.name.clone(), Remembered { state: flag.state, since, seen_at: now, otherwise_at, was_on })
    });
    remembered.collect()
}

/// What is stale. `memory` is that of [`remember`], of tonight.
pub fn judge(settings: &Settings, flags: &[Flag], memory: &Memory, now: DateTime<Utc>) -> Vec<Finding> {
    let mut found: Vec<(i64, Finding)> = Vec::new();
    for flag in flags.iter().filter(|flag| !flag.is_permanent) {
        let subject = format!("flag {}", shown(&flag.name));
        if let Some(known) = &settings.known
            && !known.contains(&flag.name)
        {
            let seen = "it is in the table, and not in the team's list: no code asks for it";
            found.push((i64::MAX, Finding::new(FindingKind::FlagStale, subject, seen).hint("delete it, or add it to `known` in [flags]")));
            continue;
        }
        let Some(known) = memory.get(&flag.name) else { continue };
        let days = (now - known.since).num_days();
        let (limit, seen) = match (known.state, known.was_on) {
            (FlagState::On, _) => (settings.on_days, format!("on for everybody for {days} days")),
            (FlagState::Off, true) => (settings.off_days, format!("off again for {days} days")),
            // Made at that time, and never changed since.
            (FlagState::Off, false)
                if flag.created.zip(flag.updated).is_some_and(|(made, changed)| changed - made < chrono::TimeDelta::minutes(1)) =>
            {
                (settings.off_days, format!("never on since it was made, {days} days ago"))
            }
            (FlagState::Off, false) => (settings.off_days, format!("on for nobody for {days} days")),
            (FlagState::Partly, _) => continue,
        };
        if days >= i64::from(limit) {
            let finding = Finding::new(FindingKind::FlagStale, subject, seen)
                .expected(format!("a flag is one thing for less than {limit} days"))
                .hint("take the flag and the branch that nobody takes out of the code; if it is meant to stay, say so by `permanent-column` or `permanent-kinds`");
            found.push((days, finding));
        }
    }
    // The oldest first.
    found.sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.subject.cmp(&b.subject)));
    let more = found.len().saturating_sub(NAMED_MAX);
    let mut findings: Vec<Finding> = found.into_iter().take(NAMED_MAX).map(|(_, finding)| finding).collect();
    if let Some(last) = findings.last_mut().filter(|_| more > 0) {
        last.seen = format!("{} (and {more} more flags like it)", last.seen);
    }
    findings
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_CHARACTERS_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => number.as_f64().map(|number| number > 0.0),
        Value::String(text) => match text.to_lowercase().as_str() {
            "t" | "true" | "on" | "yes" | "y" | "1" | "enabled" | "active" => Some(true),
            "f" | "false" | "off" | "no" | "n" | "0" | "disabled" | "inactive" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().trim_end_matches('%').trim().parse().ok(),
        _ => None,
    }
}

/// Times as PostgreSQL writes them into JSON; one without a zone is taken as UTC, and an infinite one is none.
fn time(value: &Value) -> Option<DateTime<Utc>> {
    let text = value.as_str()?;
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let naive = || text.parse::<NaiveDateTime>().ok().map(|time| time.and_utc());
    let date = || text.parse::<NaiveDate>().ok().and_then(|date| date.and_hms_opt(0, 0, 0)).map(|time| time.and_utc());
    zoned.or_else(naive).or_else(date)
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod tests;
