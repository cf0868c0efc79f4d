//! A table of a TOML file, read key by key: what is missing, of the wrong type, or not known is written down with its line, and reading goes on, so that
//! one look shows everything that is wrong. Pure.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Line of the file, from 1.
    pub line: usize,
    /// In words.
    pub what: String,
}

/// Where lines begin.
pub struct Lines<'t> {
    /// The text.
    pub text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    /// Of a text.
    pub fn new(text: &'t str) -> Self {
        Self { text, starts: std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect() }
    }

    /// The line of a byte, from 1.
    pub fn of(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte)
    }
}

/// Longest text of a value, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Values of a list at most.
const LIST_MAX: usize = 1000;

/// A table that is being read.
pub struct Reader<'a> {
    table: &'a DeTable<'a>,
    lines: &'a Lines<'a>,
    known: BTreeSet<&'static str>,
    /// Line that the table begins in.
    pub line: usize,
    /// What is wrong so far.
    pub mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    /// Of a table that begins at a byte of the text.
    pub fn new(table: &'a DeTable<'a>, lines: &'a Lines<'a>, span: &Range<usize>) -> Self {
        Self { table, lines, known: BTreeSet::new(), line: lines.of(span.start), mistakes: Vec::new() }
    }

    /// Writes a mistake down at the line of a key, or of the table where the key is not there.
    pub fn wrong(&mut self, key: &str, what: impl Into<String>) {
        let line = self.value(key).map_or(self.line, |value| self.lines.of(value.span().start));
        self.mistakes.push(Mistake { line, what: what.into() });
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.iter().find(|(known, _)| known.get_ref() == key).map(|(_, value)| value)
    }

    fn take<T>(&mut self, key: &'static str, wanted: &str, read: impl Fn(&'a DeValue<'a>) -> Option<T>) -> Option<T> {
        self.known.insert(key);
        let value = self.value(key)?;
        let taken = read(value.get_ref());
        if taken.is_none() {
            self.wrong(key, format!("`{key}` must be {wanted}, not {} {}", article(value.get_ref()), value.get_ref().type_str()));
        }
        taken
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A text, if it is there: neither empty, nor too long, nor with a NUL, which PostgreSQL has no text for.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let text = self.take(key, "a text", |value| value.as_str().map(str::to_owned))?;
        let fault = if text.trim().is_empty() {
            "is empty"
        } else if text.len() > TEXT_BYTES_MAX {
            "is too long"
        } else if text.contains('\0') {
            "has a NUL character"
        } else {
            return Some(text);
        };
        self.wrong(key, format!("`{key}` {fault}"));
        None
    }

    /// A text that must be there.
    pub fn needed_text(&mut self, key: &'static str) -> Option<String> {
        self.need(key);
        self.text(key)
    }

    /// Says that a key is missing, if it is.
    pub fn need(&mut self, key: &'static str) {
        if !self.has(key) {
            self.wrong(key, format!("`{key}` is missing"));
        }
    }

    /// A yes or no.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key, "true or false", DeValue::as_bool).unwrap_or(default)
    }

    /// A whole number between bounds.
    pub fn whole(&mut self, key: &'static str, default: u32, min: u32, max: u32) -> u32 {
        let wanted = format!("a whole number from {min} to {max}");
        let Some(number) =
            self.take(key, &wanted, |value| value.as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok()))
        else {
            return default;
        };
        match u32::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.wrong(key, format!("`{key}` must be {wanted}, not {number}"));
                default
            }
        }
    }

    /// A number.
    pub fn number(&mut self, key: &'static str) -> Option<f64> {
        self.take(key, "a number", |value| number_text(value)?.parse().ok().filter(|number: &f64| number.is_finite()))
    }

    /// One of some words.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let listed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(key, format!("`{key}` must be {}{}", listed.join(", "), did_you_mean(&text, &listed)));
        }
        found
    }

    /// A list of texts, or one text alone.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let texts = self.take(key, "a text or a list of texts", |value| match value {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(list) => list.iter().map(|one| one.get_ref().as_str().map(str::to_owned)).collect(),
            _ => None,
        })?;
        self.listed(key, texts, |text| text.is_empty() || text.contains('\0'))
    }

    /// A list of anything, read one by one.
    pub fn list<T>(&mut self, key: &'static str, wanted: &str, read: impl Fn(&'a DeValue<'a>) -> Option<T>) -> Option<Vec<T>> {
        let list = self.take(key, wanted, |value| value.as_array()?.iter().map(|one| read(one.get_ref())).collect::<Option<Vec<T>>>())?;
        self.listed(key, list, |_| false)
    }

    fn listed<T>(&mut self, key: &str, list: Vec<T>, is_wrong: impl Fn(&T) -> bool) -> Option<Vec<T>> {
        if list.is_empty() || list.len() > LIST_MAX || list.iter().any(is_wrong) {
            self.wrong(key, format!("`{key}` must have 1 to {LIST_MAX} entries, none of them empty or with a NUL character"));
            return None;
        }
        Some(list)
    }

    /// Any single value.
    pub fn one<T>(&mut self, key: &'static str, wanted: &str, read: impl Fn(&'a DeValue<'a>) -> Option<T>) -> Option<T> {
        self.take(key, wanted, read)
    }

    /// The line that the text of a key begins in, and whether its lines are lines of the file: of a text between three quotation marks they are, and it
    /// begins after the line break that follows them.
    pub fn text_line(&self, key: &str) -> (usize, bool) {
        let Some(value) = self.value(key) else { return (self.line, false) };
        let start = value.span().start;
        let source = &self.lines.text[start..];
        let is_block = source.starts_with("\"\"\"") || source.starts_with("'''");
        let begins_below = is_block && (source[3..].starts_with('\n') || source[3..].starts_with("\r\n"));
        (self.lines.of(start) + usize::from(begins_below), is_block)
    }

    /// Names every key that nobody asked for.
    pub fn finish(mut self) -> Vec<Mistake> {
        let known: Vec<&str> = self.known.iter().copied().collect();
        for (key, _) in self.table {
            if !self.known.contains(key.get_ref().as_ref()) {
                let line = self.lines.of(key.span().start);
                self.mistakes
                    .push(Mistake { line, what: format!("`{}` is not known here{}", shown(key.get_ref()), did_you_mean(key.get_ref(), &known)) });
            }
        }
        self.mistakes.sort();
        self.mistakes
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    if value.is_integer() || value.is_array() { "an" } else { "a" }
}

/// A number as PostgreSQL reads it, too; what is neither finite nor decimal is none.
pub fn number_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()).filter(|text| text.parse().is_ok_and(f64::is_finite)),
        _ => None,
    }
}

/// A name of the file in a message: cut, and on one line.
pub fn shown(name: &str) -> String {
    name.chars().take(80).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// `: did you mean …?`, where something is near.
pub fn did_you_mean(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|word| (distance(name, word), word)).min();
    match near {
        Some((distance, word)) if distance <= 1 + word.chars().count() / 4 => format!("; did you mean `{word}`?"),
        _ => String::new(),
    }
}

/// How many letters must be changed, added, taken away or swapped with their neighbour (restricted Damerau-Levenshtein). Of long names only the beginning.
fn distance(one: &str, other: &str) -> usize {
    let letters = |text: &str| -> Vec<char> { text.chars().take(60).collect() };
    let (one, other) = (letters(one), letters(other));
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_offered_and_what_is_far_is_not() {
        let known = ["severity", "table", "column", "where"];
        assert_eq!(did_you_mean("severty", &known), "; did you mean `severity`?");
        assert_eq!(did_you_mean("tabel", &known), "; did you mean `table`?");
        assert_eq!(did_you_mean("pizza", &known), "");
        assert_eq!((distance("", "abc"), distance("abc", "abc"), distance("ab", "ba")), (3, 0, 1));
    }

    #[test]
    fn lines_are_counted_from_one() {
        let lines = Lines::new("a\nb\n\nc");
        assert_eq!([lines.of(0), lines.of(1), lines.of(2), lines.of(4), lines.of(5), lines.of(99)], [1, 1, 2, 3, 4, 4]);
    }
}
