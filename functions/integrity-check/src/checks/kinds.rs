//! One check of the team's file: what every kind has in common, and what each kind asks for. Pure.

use std::time::Duration;

use toml::de::DeValue;

use super::check::{Check, Holds, Kind, Level, Literal, Measure, Metric, Objects, Operator, Promise, Reference, Rule, Sql, TableName};
use super::reading::{Reader, number_text};
use crate::sql_text;

const TIMEOUT_SECONDS_DEFAULT: u32 = 30;
const TIMEOUT_SECONDS_MAX: u32 = 600;
const NAME_CHARACTERS_MAX: usize = 120;
const SAMPLE_DEFAULT: u32 = 100;
const SAMPLE_MAX: u32 = 10_000;
const COLUMNS_MAX: usize = 32;
/// PostgreSQL cuts longer names (NAMEDATALEN), and would then check something else.
const NAME_BYTES_MAX: usize = 63;

#[derive(Clone, Copy)]
enum Word {
    Sql,
    Values,
    Fresh,
    Unique,
    References,
    Threshold,
    NotNull,
    Range,
    Pattern,
    Objects,
}

const KINDS: [(&str, Word); 10] = [
    ("sql", Word::Sql),
    ("values", Word::Values),
    ("fresh", Word::Fresh),
    ("unique", Word::Unique),
    ("references", Word::References),
    ("threshold", Word::Threshold),
    ("not-null", Word::NotNull),
    ("range", Word::Range),
    ("pattern", Word::Pattern),
    ("s3-objects", Word::Objects),
];

const LEVELS: [(&str, Level); 3] = [("note", Level::Note), ("warning", Level::Warning), ("critical", Level::Critical)];

const METRICS: [(&str, Metric); 5] =
    [("rows", Metric::Rows), ("null-share", Metric::NullShare), ("min", Metric::Min), ("max", Metric::Max), ("distinct", Metric::Distinct)];

/// Reads a check. `None`: it cannot be put together; what is wrong is in the reader.
pub fn read_check(reader: &mut Reader<'_>) -> Option<Check> {
    let name = reader.needed_text("name");
    if name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARACTERS_MAX || name.chars().any(char::is_control)) {
        reader.wrong("name", format!("`name` must have at most {NAME_CHARACTERS_MAX} characters, on one line"));
    }
    let database = reader.text("database");
    let level = reader.word("severity", &LEVELS).unwrap_or(Level::Warning);
    let owner = reader.text("owner");
    let runbook = reader.text("runbook");
    if runbook.as_ref().is_some_and(|url| !(url.starts_with("https://") || url.starts_with("http://")) || url.contains(char::is_whitespace)) {
        reader.wrong("runbook", "`runbook` must be a URL that begins with https://");
    }
    let show_values = reader.flag("show-values", false);
    let timeout = Duration::from_secs(reader.whole("timeout-seconds", TIMEOUT_SECONDS_DEFAULT, 1, TIMEOUT_SECONDS_MAX).into());
    reader.need("kind");
    let word = reader.word("kind", &KINDS);
    let filter = match word {
        // A query has its own, and a scan has none.
        Some(Word::Sql | Word::Threshold) => None,
        _ => fragment(reader, "where"),
    };
    let kind = if let Some(word) = word {
        read_kind(reader, word)
    } else {
        // What a kind would ask for cannot be told apart from what nobody knows: only the kind is said to be wrong.
        for key in KEYS_OF_KINDS {
            let _ = reader.one(key, "anything", |_| Some(()));
        }
        None
    };
    Some(Check { name: name?, line: reader.line, database, level, owner, runbook, show_values, timeout, filter, kind: kind? })
}

const KEYS_OF_KINDS: [&str; 20] = [
    "sql",
    "table",
    "column",
    "columns",
    "parent",
    "parent-columns",
    "accepted",
    "allow-null",
    "max-age",
    "metric",
    "operator",
    "value",
    "min",
    "max",
    "regex",
    "bucket",
    "prefix",
    "sample",
    "percent-encoded",
    "where",
];

fn read_kind(reader: &mut Reader<'_>, word: Word) -> Option<Kind> {
    Some(match word {
        Word::Sql => {
            reader.need("sql");
            let sql = fragment(reader, "sql");
            if reader.has("operator") || reader.has("value") {
                let promise = promise(reader);
                Kind::Scalar(sql?, promise?)
            } else {
                Kind::Rows(sql?)
            }
        }
        Word::Threshold => {
            let table = table(reader, "table");
            reader.need("metric");
            let metric = reader.word("metric", &METRICS);
            let column = match metric {
                Some(Metric::Rows) => None,
                _ => Some(column(reader, "column")),
            };
            let promise = promise(reader);
            let column = match column {
                Some(column) => Some(column?),
                None => None,
            };
            Kind::Threshold(Measure { table: table?, column, metric: metric? }, promise?)
        }
        Word::Unique => {
            let (table, columns) = (table(reader, "table"), columns(reader, "columns"));
            Kind::Unique(table?, columns?)
        }
        Word::References => {
            let (table, columns) = (table(reader, "table"), columns(reader, "columns"));
            let (parent, parent_columns) = (self::table(reader, "parent"), self::columns(reader, "parent-columns"));
            if columns.as_ref().zip(parent_columns.as_ref()).is_some_and(|(one, other)| one.len() != other.len()) {
                reader.wrong("parent-columns", "`columns` and `parent-columns` must be of the same number");
            }
            Kind::References(Reference { table: table?, columns: columns?, parent: parent?, parent_columns: parent_columns? })
        }
        Word::Objects => {
            let (table, column) = (table(reader, "table"), column(reader, "column"));
            let bucket = reader.needed_text("bucket");
            if bucket.as_ref().is_some_and(|bucket| !is_bucket(bucket)) {
                reader.wrong("bucket", "`bucket` must be the name of a bucket: lower case letters, digits, - and .");
            }
            let prefix = reader.text("prefix").unwrap_or_default();
            let sample = reader.whole("sample", SAMPLE_DEFAULT, 1, SAMPLE_MAX);
            let percent_encoded = reader.flag("percent-encoded", false);
            Kind::Objects(Objects { table: table?, column: column?, bucket: bucket?, prefix, sample, percent_encoded })
        }
        Word::Values | Word::Fresh | Word::NotNull | Word::Range | Word::Pattern => {
            let (table, column) = (table(reader, "table"), column(reader, "column"));
            let holds = holds(reader, word);
            Kind::Each(table?, Rule { column: column?, holds: holds? })
        }
    })
}

fn holds(reader: &mut Reader<'_>, word: Word) -> Option<Holds> {
    Some(match word {
        Word::Values => {
            reader.need("accepted");
            let values = reader.list("accepted", "a list of texts, numbers or booleans", literal);
            let allow_null = reader.flag("allow-null", true);
            let is_number = |value: &Literal| matches!(value, Literal::Number(_));
            if values.as_ref().is_some_and(|values| values.iter().any(is_number) && !values.iter().all(is_number)) {
                reader.wrong("accepted", "`accepted` must have either numbers or texts");
            }
            Holds::Accepted { values: values?, allow_null }
        }
        Word::Fresh => {
            let max_age = reader.needed_text("max-age");
            let age = max_age.as_deref().and_then(age);
            if max_age.is_some() && age.is_none() {
                reader.wrong("max-age", "`max-age` must be a number of minutes, hours or days, such as 90m, 26h or 7d");
            }
            Holds::Fresh(age?)
        }
        Word::Range => {
            let wanted = "a number, a date or a time";
            let (min, max) = (reader.one("min", wanted, bound), reader.one("max", wanted, bound));
            if !reader.has("min") && !reader.has("max") {
                reader.wrong("min", "`min`, `max` or both must be there");
                return None;
            }
            if min.as_ref().zip(max.as_ref()).is_some_and(|(min, max)| std::mem::discriminant(min) != std::mem::discriminant(max)) {
                reader.wrong("max", "`min` and `max` must both be numbers, or both be times");
            }
            Holds::Range(min, max)
        }
        Word::Pattern => Holds::Pattern(reader.needed_text("regex")?),
        _ => Holds::NotNull,
    })
}

fn promise(reader: &mut Reader<'_>) -> Option<Promise> {
    reader.need("operator");
    reader.need("value");
    let (operator, value) = (reader.word("operator", &Operator::ALL), reader.number("value"));
    Some(Promise { operator: operator?, value: value? })
}

fn literal(value: &DeValue<'_>) -> Option<Literal> {
    match value {
        DeValue::String(text) if !text.contains('\0') => Some(Literal::Text(text.to_string())),
        DeValue::Boolean(value) => Some(Literal::Text(value.to_string())),
        other => number_text(other).map(Literal::Number),
    }
}

fn bound(value: &DeValue<'_>) -> Option<Literal> {
    match value.as_datetime() {
        // A time of day alone is no point in time.
        Some(time) => time.date.map(|_| Literal::Time(time.to_string())),
        None => number_text(value).map(Literal::Number),
    }
}

/// SQL of the team's, which must stand between parentheses.
pub fn fragment(reader: &mut Reader<'_>, key: &'static str) -> Option<Sql> {
    let text = reader.text(key)?;
    let text = sql_text::without_end(&text).to_owned();
    if let Some(what) = sql_text::mistake(&text) {
        reader.wrong(key, format!("`{key}` cannot be read as SQL: {what}"));
        return None;
    }
    let (line, is_block) = reader.text_line(key);
    Some(Sql { text, line, is_block })
}

/// A table: `schema.table`, each part as the catalogs have it, or in double quotation marks as SQL writes it.
pub fn table(reader: &mut Reader<'_>, key: &'static str) -> Option<TableName> {
    let text = reader.needed_text(key)?;
    let named = match &names(&text).unwrap_or_default()[..] {
        [schema, name] if [schema, name].iter().all(|part| (1..=NAME_BYTES_MAX).contains(&part.len())) => {
            Some(TableName { schema: schema.clone(), name: name.clone() })
        }
        _ => None,
    };
    if named.is_none() {
        reader.wrong(key, format!("`{key}` must be schema.table, such as public.orders; a name with a dot in it in double quotation marks"));
    }
    named
}

/// Parts of a name between dots; `None`: a quotation mark is wrong.
fn names(text: &str) -> Option<Vec<String>> {
    let (mut names, mut rest) = (Vec::new(), text);
    loop {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut end = 0;
            let bytes = quoted.as_bytes();
            while bytes.get(end)? != &b'"' || bytes.get(end + 1) == Some(&b'"') {
                end += if bytes[end] == b'"' { 2 } else { 1 };
            }
            (quoted[..end].replace("\"\"", "\""), &quoted[end + 1..])
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (rest[..end].to_owned(), &rest[end..])
        };
        names.push(name);
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(names),
        }
    }
}

fn column(reader: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let column = reader.needed_text(key)?;
    if column.len() > NAME_BYTES_MAX {
        reader.wrong(key, format!("`{key}` must have at most {NAME_BYTES_MAX} bytes, as every name"));
    }
    Some(column)
}

fn columns(reader: &mut Reader<'_>, key: &'static str) -> Option<Vec<String>> {
    reader.need(key);
    let columns = reader.texts(key)?;
    let mut sorted = columns.clone();
    sorted.sort();
    sorted.dedup();
    if columns.len() > COLUMNS_MAX || sorted.len() < columns.len() || columns.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        reader.wrong(key, format!("`{key}` must have at most {COLUMNS_MAX} names, each once and of at most {NAME_BYTES_MAX} bytes"));
    }
    Some(columns)
}

fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

/// `90m`, `26h`, `7d`: at least a minute, at most ten years.
pub fn age(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.char_indices().next_back()?.0);
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = number.trim().parse().ok()?;
    let seconds = number.checked_mul(seconds)?;
    (60..=3650 * 86_400).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_two_names_and_nothing_else() {
        let of = |text: &str| names(text);
        assert_eq!(of("public.orders"), Some(vec!["public".to_owned(), "orders".to_owned()]));
        assert_eq!(of("\"a.b\".\"c\"\"d\""), Some(vec!["a.b".to_owned(), "c\"d".to_owned()]));
        assert_eq!(of("public.Or ders; DROP"), Some(vec!["public".to_owned(), "Or ders; DROP".to_owned()]));
        assert_eq!(of("\"a"), None);
        assert_eq!(of("\"a\"b.c"), None);
        assert_eq!(of("\"ü\".\"\"\"\""), Some(vec!["ü".to_owned(), "\"".to_owned()]));
        assert_eq!(of("a.b.c").map(|names| names.len()), Some(3));
    }

    #[test]
    fn an_age_has_a_unit_and_bounds() {
        assert_eq!(age("90m"), Some(Duration::from_mins(90)));
        assert_eq!(age("26h"), Some(Duration::from_hours(26)));
        assert_eq!(age("7 d"), Some(Duration::from_hours(7 * 24)));
        for wrong in ["", "h", "7", "0m", "-1h", "1.5h", "99999d", "ü", "7ü"] {
            assert_eq!(age(wrong), None, "{wrong}");
        }
    }
}
