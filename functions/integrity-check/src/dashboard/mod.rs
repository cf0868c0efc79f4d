//! A night as one page that opens from disk: is anything wrong, what changed, and every number's curve. No script, font or picture from elsewhere; what matters is
//! readable without the small script of its own. No value of a row is on it.

mod findings;
mod model;
mod sections;
mod spark;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use shared::finding::Severity;
use shared::human::count;

pub use model::{CheckRow, CheckState, ColumnRow, Coverage, DatabasePage, FlagRow, Page, QueryRow, ShownFinding, TableRow};
pub use tables::tables;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of a night.
pub fn page(page: &Page) -> Markup {
    let mut databases: Vec<&DatabasePage> = page.databases.iter().collect();
    databases.sort_by(|a, b| worst(b).cmp(&worst(a)).then_with(|| a.name.cmp(&b.name)));
    let overall = databases.iter().filter_map(|database| worst(database)).max();
    let several = databases.len() > 1;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (headline(&databases)) " · " (page.instance) " " (page.night.format("%Y-%m-%d")) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header class=(overall.map_or("ok", severity_class)) {
                    div {
                        p.where { b { (page.instance) } @if !page.stage.is_empty() { " · " (page.stage) } " · night of " (page.night.format("%A, %-d %B %Y, %H:%M UTC")) }
                        h1 { (headline(&databases)) }
                        p { (extent(&databases)) }
                    }
                }
                main {
                    @if several {
                        nav {
                            @for (number, database) in databases.iter().enumerate() {
                                a href={ "#database-" (number) } { i class=(worst(database).map_or("ok", severity_class)) {} (database.name) " " span.soft { (short(database)) } }
                            }
                        }
                    }
                    @for (number, database) in databases.iter().enumerate() { (sections::database(number, database, several, page.runbook.as_deref())) }
                    @if databases.is_empty() { p { "No database was looked at." } }
                    footer { "Written " (page.written_at.format("%Y-%m-%d %H:%M UTC")) " by Lifeboat " (shared::VERSION) ". Counts, shares and curves only; no value of any row is on this page." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The worst that was found in a database; `None`: nothing that anybody must look at.
fn worst(database: &DatabasePage) -> Option<Severity> {
    database.findings.iter().map(|shown| shown.finding.severity).filter(|severity| *severity > Severity::Note).max()
}

fn of(databases: &[&DatabasePage], severity: Severity) -> usize {
    databases.iter().flat_map(|database| &database.findings).filter(|shown| shown.finding.severity == severity).count()
}

/// The answer, before anything else.
fn headline(databases: &[&DatabasePage]) -> String {
    let (critical, unknown, warnings) = (of(databases, Severity::Critical), of(databases, Severity::Unknown), of(databases, Severity::Warning));
    let things = |number: usize, one: &str, many: &str| if number == 1 { format!("One {one}") } else { format!("{number} {many}") };
    if critical > 0 {
        things(critical, "thing is wrong and needs you now", "things are wrong and need you now")
    } else if unknown > 0 {
        things(unknown, "thing could not be checked", "things could not be checked")
    } else if warnings > 0 {
        things(warnings, "thing to look at this week", "things to look at this week")
    } else {
        "All is well".to_owned()
    }
}

fn short(database: &DatabasePage) -> String {
    let number = database.findings.iter().filter(|shown| shown.finding.severity > Severity::Note).count();
    if number == 0 { "all is well".to_owned() } else { format!("{number} to look at") }
}

fn extent(databases: &[&DatabasePage]) -> String {
    let tables: Vec<&TableRow> = databases.iter().flat_map(|database| &database.tables).collect();
    let columns: usize = tables.iter().map(|table| table.columns.len()).sum();
    let rows: u64 = tables.iter().filter_map(|table| table.rows).sum();
    let reached = tables.iter().filter(|table| table.rows.is_some()).count();
    let new = databases
        .iter()
        .flat_map(|database| &database.findings)
        .filter(|shown| shown.since.is_none() && shown.finding.severity > Severity::Note)
        .count();
    let resolved: usize = databases.iter().map(|database| database.resolved.len()).sum();
    let whole = |number: usize| count(number as u64);
    let mut text = format!("{} of {} tables looked at, {} columns, {} rows", whole(reached), whole(tables.len()), whole(columns), count(rows));
    if new + resolved > 0 {
        text.push_str(&format!(" · since last night: {} new, {} resolved", whole(new), whole(resolved)));
    }
    text
}

fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Unknown => "unknown",
        Severity::Critical => "critical",
    }
}

fn severity_words(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "worth knowing",
        Severity::Warning => "this week",
        Severity::Unknown => "not checked",
        Severity::Critical => "now",
    }
}

#[cfg(test)]
mod tests;
