//! The statements of checks. Names are quoted, values are literals, and what the team wrote stands between parentheses that it was seen not to close. Pure.

use shared_postgres::proof::quote;
use shared_postgres::windows::Span;

use super::check::{Check, Holds, Kind, Literal, Reference, Rule, Sql, TableName};
use super::desk::Author;
use crate::sql_text::{literal, on_one_line};

/// Violations that are counted; of more it is said that there are at least so many.
pub const VIOLATIONS_MAX: u64 = 1000;
/// Values that are shown, where a check asks for it, and how long each may be, in characters.
pub const VALUES_MAX: usize = 5;
const VALUE_CHARACTERS_MAX: usize = 200;

/// Where a pass over a table reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From<'a> {
    /// The relation that is read.
    pub relation: TableName,
    /// The name that the team's SQL knows it by.
    pub alias: &'a str,
    /// The pages, where it is read in windows.
    pub span: Option<Span>,
}

/// `"schema"."name"`.
pub fn table(name: &TableName) -> String {
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}

/// Who wrote a part of the statement of a check.
pub fn author(check: &Check) -> Author {
    match &check.kind {
        // An operator of an extension's type is found by the path only.
        Kind::References(_) => Author::Team,
        _ if check.sql().is_some() => Author::Team,
        _ => Author::Ours,
    }
}

fn team(sql: &Sql) -> String {
    // A comment at the end of theirs must not swallow what follows.
    format!("(\n{}\n)", sql.text)
}

fn filter(check: &Check) -> String {
    check.filter.as_ref().map_or_else(|| "true".to_owned(), team)
}

fn value(value: &Literal) -> String {
    match value {
        Literal::Number(number) => format!("{}::pg_catalog.numeric", literal(number)),
        Literal::Text(text) => literal(text),
        Literal::Time(time) => format!("{}::pg_catalog.timestamptz", literal(time)),
    }
}

/// What is true of a row that breaks a rule. Of a newest value there is no such row.
fn broken(rule: &Rule) -> String {
    let column = quote(&rule.column);
    match &rule.holds {
        Holds::NotNull => format!("{column} IS NULL"),
        Holds::Accepted { values, allow_null } => {
            let listed: Vec<String> = values.iter().map(value).collect();
            let are_numbers = values.iter().any(|value| matches!(value, Literal::Number(_)));
            // As text, an enum or a domain is compared with what people write; numbers by their value, whatever their digits.
            let listed = listed.join(", ");
            let is_other = if are_numbers {
                format!("NOT ({column} = ANY (ARRAY[{listed}]))")
            } else {
                format!("NOT ({column}::pg_catalog.text COLLATE \"C\" = ANY (ARRAY[{listed}]::pg_catalog.text[]))")
            };
            if *allow_null { is_other } else { format!("({column} IS NULL OR {is_other})") }
        }
        Holds::Range(min, max) => {
            let below = min.as_ref().map(|min| format!("{column} < {}", value(min)));
            let above = max.as_ref().map(|max| format!("{column} > {}", value(max)));
            format!("({})", [below, above].into_iter().flatten().collect::<Vec<_>>().join(" OR "))
        }
        Holds::Pattern(regex) => format!("{column}::pg_catalog.text !~ {}", literal(regex)),
        Holds::Fresh(_) => "false".to_owned(),
    }
}

/// The number that a rule comes to over the rows that are read: how many break it, or the newest time in seconds since 1970. A time that lies ahead would
/// hide that nothing comes any more.
fn counted(check: &Check, rule: &Rule) -> String {
    match rule.holds {
        Holds::Fresh(_) => format!(
            "extract(epoch FROM max({0}) FILTER (WHERE {1} AND {0} <= pg_catalog.now() + '1 day'::pg_catalog.interval))::pg_catalog.float8",
            quote(&rule.column),
            filter(check)
        ),
        _ => format!("(count(*) FILTER (WHERE {} AND {}))::pg_catalog.float8", filter(check), broken(rule)),
    }
}

/// One pass for several rules of a table: an array of their numbers, and after them the server's time.
pub fn pass(checks: &[(&Check, &Rule)], from: &From<'_>) -> String {
    let numbers: Vec<String> = checks.iter().map(|(check, rule)| counted(check, rule)).collect();
    let (only, condition) = match from.span {
        Some(span) => ("ONLY ", format!(" WHERE {}", span.condition())),
        None => ("", String::new()),
    };
    format!(
        "SELECT ARRAY[{}, extract(epoch FROM pg_catalog.now())::pg_catalog.float8] FROM {only}{} AS {}{condition}",
        numbers.join(", "),
        table(&from.relation),
        quote(from.alias)
    )
}

/// The newest time alone, by an index, as an array like that of [`pass`].
pub fn newest(name: &TableName, column: &str) -> String {
    let column = quote(column);
    format!(
        "SELECT ARRAY[extract(epoch FROM max({column}))::pg_catalog.float8, extract(epoch FROM pg_catalog.now())::pg_catalog.float8] FROM {}
          WHERE {column} <= pg_catalog.now() + '1 day'::pg_catalog.interval",
        table(name)
    )
}

/// How many rows a query gives, and a few of them where they may be shown.
pub fn rows(sql: &Sql, show_values: bool) -> String {
    if !show_values {
        return format!(
            "SELECT count(*), '{{}}'::text[] FROM (SELECT FROM {} AS \"lifeboat row\" LIMIT {}) AS \"lifeboat rows\"",
            team(sql),
            VIOLATIONS_MAX + 1
        );
    }
    format!(
        "SELECT count(*), coalesce(array_agg(shown) FILTER (WHERE shown IS NOT NULL), '{{}}')
           FROM (SELECT CASE WHEN row_number() OVER () <= {VALUES_MAX} THEN left((\"lifeboat row\".*)::text, {VALUE_CHARACTERS_MAX}) END AS shown
                   FROM {} AS \"lifeboat row\" LIMIT {}) AS \"lifeboat rows\"",
        team(sql),
        VIOLATIONS_MAX + 1
    )
}

/// The one value of a query, as text.
pub fn scalar(sql: &Sql) -> String {
    format!("SELECT {}::text", team(sql))
}

/// How many groups of rows are equal in some columns, up to a limit.
pub fn unique(check: &Check, name: &TableName, columns: &[String]) -> String {
    format!("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS \"lifeboat rows\"", doubles(check, name, columns), VIOLATIONS_MAX + 1)
}

fn doubles(check: &Check, name: &TableName, columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    let not_null: Vec<String> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
    format!(
        "{} AS {} WHERE {} AND {} GROUP BY {} HAVING count(*) > 1",
        table(name),
        quote(&name.name),
        filter(check),
        not_null.join(" AND "),
        columns.join(", ")
    )
}

/// Rows that refer to nothing, as `FROM …`: the row is `"lifeboat child"`.
fn dangling(reference: &Reference, filter: &str) -> String {
    let columns: Vec<String> = reference.columns.iter().map(|column| quote(column)).collect();
    let not_null: Vec<String> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
    let pairs: Vec<String> = reference
        .parent_columns
        .iter()
        .zip(&columns)
        .map(|(parent, child)| format!("\"lifeboat parent\".{} = \"lifeboat child\".{child}", quote(parent)))
        .collect();
    format!(
        "(SELECT {} FROM {} AS {} WHERE {filter} AND {}) AS \"lifeboat child\"
          WHERE NOT EXISTS (SELECT FROM {} AS \"lifeboat parent\" WHERE {})",
        columns.join(", "),
        table(&reference.table),
        quote(&reference.table.name),
        not_null.join(" AND "),
        table(&reference.parent),
        pairs.join(" AND ")
    )
}

/// How many rows refer to rows that are not there, up to a limit.
pub fn references(reference: &Reference, filtered: Option<&Sql>) -> String {
    let filter = filtered.map_or_else(|| "true".to_owned(), team);
    format!("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS \"lifeboat rows\"", dangling(reference, &filter), VIOLATIONS_MAX + 1)
}

/// Rows that refer to nothing, for a person to look at.
pub fn references_for_a_person(reference: &Reference) -> String {
    let sql = format!("SELECT * FROM {} LIMIT 20", dangling(reference, "true"));
    on_one_line(&sql.replacen(" WHERE true AND ", " WHERE ", 1))
}

/// A few keys of objects: of the whole table, or of a share of its pages.
pub fn keys(check: &Check, name: &TableName, column: &str, share_percent: Option<f64>, keys_max: u32) -> String {
    let sample = share_percent.map(|percent| format!(" TABLESAMPLE SYSTEM ({percent})")).unwrap_or_default();
    format!(
        "SELECT ({0})::pg_catalog.text FROM {1} AS {2}{sample} WHERE {3} AND {0} IS NOT NULL ORDER BY pg_catalog.random() LIMIT {keys_max}",
        quote(column),
        table(name),
        quote(&name.name),
        filter(check)
    )
}

/// A few of the values that break a check, as an array of texts; `None`: there are none to be shown.
pub fn examples(check: &Check) -> Option<String> {
    let array = |shown: &str, from: &str| {
        format!(
            "SELECT coalesce(pg_catalog.array_agg(shown), '{{}}') FROM (SELECT pg_catalog.left({shown}::pg_catalog.text, {VALUE_CHARACTERS_MAX}) AS shown FROM {from} LIMIT {VALUES_MAX}) AS \"lifeboat rows\""
        )
    };
    let row = |columns: &[String]| format!("ROW({})", columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", "));
    match &check.kind {
        Kind::Each(name, rule) if !matches!(rule.holds, Holds::Fresh(_) | Holds::NotNull) => {
            let from = format!("{} AS {} WHERE {} AND {}", table(name), quote(&name.name), filter(check), broken(rule));
            Some(array(&quote(&rule.column), &from))
        }
        Kind::Unique(name, columns) => Some(array(&row(columns), &doubles(check, name, columns))),
        Kind::References(reference) => Some(array(&row(&reference.columns), &dangling(reference, &filter(check)))),
        _ => None,
    }
}

/// The statement by which a person sees the rows that break a check, on one line.
pub fn for_a_person(check: &Check) -> Option<String> {
    let sql = match &check.kind {
        Kind::Each(name, rule) => match rule.holds {
            Holds::Fresh(_) => format!("SELECT max({}) FROM {} WHERE {}", quote(&rule.column), table(name), filter(check)),
            _ => format!("SELECT * FROM {} WHERE {} AND {} LIMIT 20", table(name), filter(check), broken(rule)),
        },
        Kind::Unique(name, columns) => {
            let listed = columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
            format!("SELECT {listed}, count(*) FROM {} LIMIT 20", doubles(check, name, columns))
        }
        Kind::References(reference) => format!("SELECT * FROM {} LIMIT 20", dangling(reference, &filter(check))),
        // The query is in the file.
        Kind::Rows(_) | Kind::Scalar(..) | Kind::Threshold(..) | Kind::Objects(_) => return None,
    };
    // Only where a comment of the team's does not need its line.
    let is_fit = check.filter.as_ref().is_none_or(|filter| !filter.text.contains("--")) && sql.len() < 1500;
    let sql = if check.filter.is_none() { sql.replacen(" WHERE true AND ", " WHERE ", 1) } else { sql };
    is_fit.then(|| on_one_line(&sql))
}

/// Whether a filter asks other tables, too: it is not asked again for each window then.
pub fn asks_others(check: &Check) -> bool {
    let is_select = |token: &crate::sql_text::Token<'_>| token.sort == crate::sql_text::Sort::Word && token.text.eq_ignore_ascii_case("select");
    check.filter.as_ref().is_some_and(|filter| crate::sql_text::tokens(&filter.text).iter().any(is_select))
}
