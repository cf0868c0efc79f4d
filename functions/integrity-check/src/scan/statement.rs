//! The one statement that reads a window, and its answer. Pure.
//!
//! Everything that is asked of all columns comes back as one array of texts, so that a table of 1,600 columns is read once, as any other is. Only aggregates
//! come back: counts, sketches, the smallest and the largest number.

use std::collections::HashMap;

use shared_postgres::proof::quote;
use shared_postgres::windows::Span;

use super::kind::{Detail, Details, Kind};
use super::totals::{ColumnTotals, Distinct, Totals};
use crate::model::Table;

/// A statement has at most 1,664 columns, also inside.
const INNER_MAX: usize = 1_600;
/// Characters of a number: beyond this it is larger than any double.
const NUMBER_CHARACTERS: usize = 400;

/// Which pages are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// All of them.
    Whole,
    /// A range.
    Window(Span),
    /// A share of them, in percent, chosen by a seed: the same pages again for the same seed.
    Sample(f64, u32),
}

/// What is asked of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Values,
    Min,
    Max,
    Empty,
    Trues,
    Sketch,
}

/// A column that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    name: String,
    detail: Detail,
    items: Vec<Item>,
}

/// What is asked of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    quoted: String,
    has_toast: bool,
    distinct: bool,
    columns: Vec<Asked>,
}

/// What an answer says about the table itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its `oid`: another one, when it was dropped and made anew.
    pub oid: u32,
    /// Its file: another one, when it was rewritten or emptied.
    pub filenode: u32,
    /// Its pages now.
    pub pages: u64,
}

impl Question {
    /// What to ask of the columns that the role may read. `only_nulls`: nothing that looks at a value.
    pub fn new(table: &Table, details: &Details, distinct: bool, only_nulls: bool) -> Self {
        let may = |may_select: bool| table.may_select || may_select;
        let columns = table.columns.iter().zip(&details.columns).filter(|(column, _)| may(column.may_select)).filter_map(|(column, detail)| {
            let mut detail = (*detail)?;
            if only_nulls && detail.kind != Kind::Virtual {
                detail.kind = Kind::Opaque;
            }
            (detail.kind != Kind::Virtual).then(|| Asked { name: column.name.clone(), detail, items: items(detail, distinct) })
        });
        Self { quoted: table.quoted(), has_toast: details.has_toast, distinct, columns: columns.collect() }
    }

    /// Nothing seen yet.
    pub fn totals(&self) -> Totals {
        let columns = self.columns.iter().map(|asked| {
            let counted = |item: Item| asked.items.contains(&item).then_some(0);
            let distinct = match asked.detail.kind {
                Kind::Boolean => Distinct::Boolean,
                Kind::Opaque => Distinct::Unknown,
                _ if self.distinct && asked.detail.is_unique => Distinct::Unique,
                _ if asked.items.contains(&Item::Sketch) => Distinct::Sketch(super::sketch::Sketch::default()),
                _ => Distinct::Unknown,
            };
            ColumnTotals { column: asked.name.clone(), empty: counted(Item::Empty), trues: counted(Item::Trues), distinct, ..ColumnTotals::default() }
        });
        Totals { columns: columns.collect(), ..Totals::default() }
    }

    /// Whether sums are sums of what is asked here: otherwise the columns were changed in between.
    pub fn fits(&self, totals: &Totals) -> bool {
        let shape =
            |column: &ColumnTotals| (column.column.clone(), column.empty.is_some(), column.trues.is_some(), std::mem::discriminant(&column.distinct));
        totals.columns.iter().map(shape).eq(self.totals().columns.iter().map(shape))
    }

    /// The statement. `is_short`: it reads few rows.
    pub fn sql(&self, source: Source, is_short: bool, totals: &Totals) -> String {
        // The same expression in several aggregates would be computed for each: so they are computed once, inside.
        let inner: Vec<(String, String)> = self.columns.iter().enumerate().flat_map(|(place, asked)| asked.inner(place, self.has_toast)).collect();
        let is_nested = inner.len() <= INNER_MAX;
        let outside: HashMap<&str, &str> =
            if is_nested { HashMap::new() } else { inner.iter().map(|(alias, expression)| (alias.as_str(), expression.as_str())).collect() };
        let name = |alias: String| outside.get(alias.as_str()).map_or(alias, |expression| format!("({expression})"));
        let literal = self.quoted.replace('\\', "\\\\").replace('\'', "''");
        let table = format!("E'{literal}'::regclass");
        let mut values = vec![
            format!("{table}::oid::text"),
            format!("pg_relation_filenode({table})::text"),
            format!("(pg_relation_size({table}) / current_setting('block_size')::int8)::text"),
            "count(*)::text".to_owned(),
        ];
        for (place, (asked, totals)) in self.columns.iter().zip(&totals.columns).enumerate() {
            values.extend(asked.items.iter().map(|item| asked.outer(*item, place, is_short, totals, &name)));
        }
        let (sample, condition) = match source {
            Source::Whole => (String::new(), String::new()),
            Source::Window(span) => (String::new(), format!(" WHERE {}", span.condition())),
            Source::Sample(percent, seed) => (format!(" TABLESAMPLE SYSTEM ({percent:.9}) REPEATABLE ({seed})"), String::new()),
        };
        let from = format!("ONLY {}{sample}{condition}", self.quoted);
        let from = if is_nested {
            let list: Vec<String> = inner.iter().map(|(alias, expression)| format!("{expression} AS {alias}")).collect();
            // `OFFSET 0` keeps the planner from putting the expressions back into the aggregates.
            format!("(SELECT {} FROM {from} OFFSET 0) AS inside", list.join(", "))
        } else {
            from
        };
        format!("SELECT ARRAY[{}] FROM {from}", values.join(", "))
    }

    /// Adds an answer to what was seen. `None`: that is no answer to this question.
    pub fn add(&self, answer: &[Option<String>], totals: &mut Totals) -> Option<Facts> {
        let mut answer = answer.iter().map(Option::as_deref);
        let mut number = || answer.next().flatten().and_then(|text| text.parse::<u64>().ok());
        let (oid, filenode, pages, rows) = (number()?, number().unwrap_or(0), number()?, number()?);
        for (asked, column) in self.columns.iter().zip(&mut totals.columns) {
            let (mut values, mut min, mut max) = (rows, None, None);
            for item in &asked.items {
                let text = answer.next()?;
                match item {
                    Item::Values => values = text?.parse().ok()?,
                    Item::Min => min = text.map(str::parse).transpose().ok()?,
                    Item::Max => max = text.map(str::parse).transpose().ok()?,
                    Item::Empty => column.empty = Some(column.empty.unwrap_or(0) + text?.parse::<u64>().ok()?),
                    Item::Trues => column.trues = Some(column.trues.unwrap_or(0) + text?.parse::<u64>().ok()?),
                    Item::Sketch => {
                        let Distinct::Sketch(sketch) = &mut column.distinct else { return None };
                        if text.is_some_and(|text| !text.is_empty() && !sketch.add(text)) {
                            return None;
                        }
                    }
                }
            }
            column.nulls += rows.checked_sub(values)?;
            column.add_range(min, max);
        }
        totals.seen += rows;
        answer.next().is_none().then_some(Facts { oid: u32::try_from(oid).ok()?, filenode: u32::try_from(filenode).ok()?, pages })
    }
}

fn items(detail: Detail, distinct: bool) -> Vec<Item> {
    let mut items = Vec::new();
    if !detail.not_null {
        items.push(Item::Values);
    }
    match detail.kind {
        Kind::Integer | Kind::Numeric | Kind::Float | Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Bytes => {
            items.extend([Item::Min, Item::Max]);
        }
        Kind::Text | Kind::Char => items.extend([Item::Min, Item::Max, Item::Empty]),
        Kind::Boolean => items.push(Item::Trues),
        Kind::Uuid | Kind::Enum | Kind::Hashable | Kind::Opaque | Kind::Virtual => {}
    }
    if distinct && !detail.is_unique && detail.kind.hash_sql("", false).is_some() {
        items.push(Item::Sketch);
    }
    items
}

impl Asked {
    /// What is computed once for each row: names, and expressions over the column.
    fn inner(&self, place: usize, has_toast: bool) -> Vec<(String, String)> {
        let (column, mut inner) = (quote(&self.name), Vec::new());
        if self.is_by_length() {
            inner.push((format!("v{place}"), format!("octet_length({column})")));
        } else if self.items.iter().any(|item| *item != Item::Sketch) {
            inner.push((format!("v{place}"), column.clone()));
        }
        if self.detail.kind == Kind::Char {
            inner.push((format!("e{place}"), format!("{column} = ''::bpchar")));
        }
        if self.items.contains(&Item::Sketch) {
            inner.extend(self.detail.kind.hash_sql(&column, has_toast).map(|hash| (format!("h{place}"), hash)));
        }
        inner
    }

    fn is_by_length(&self) -> bool {
        matches!(self.detail.kind, Kind::Text | Kind::Char | Kind::Bytes)
    }

    fn outer(&self, item: Item, place: usize, is_short: bool, totals: &ColumnTotals, name: &impl Fn(String) -> String) -> String {
        let value = name(format!("v{place}"));
        let range = |aggregate: &str| match self.detail.kind {
            Kind::Numeric => format!("left({aggregate}({value})::text, {NUMBER_CHARACTERS})"),
            Kind::Date | Kind::Timestamp | Kind::TimestampTz => format!("extract(epoch FROM {aggregate}({value}))::text"),
            _ => format!("{aggregate}({value})::text"),
        };
        match item {
            Item::Values => format!("count({value})::text"),
            Item::Min => range("min"),
            Item::Max => range("max"),
            Item::Empty if self.detail.kind == Kind::Char => format!("count(*) FILTER (WHERE {})::text", name(format!("e{place}"))),
            Item::Empty => format!("count(*) FILTER (WHERE {value} = 0)::text"),
            Item::Trues => format!("count(*) FILTER (WHERE {value})::text"),
            Item::Sketch => match &totals.distinct {
                Distinct::Sketch(sketch) => sketch.aggregate_sql(&name(format!("h{place}")), is_short),
                Distinct::Unknown | Distinct::Unique | Distinct::Boolean => "NULL".to_owned(),
            },
        }
    }
}
