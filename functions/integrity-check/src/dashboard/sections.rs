//! The sections of a database: findings, tables, the team's checks, queries, flags, and what was not seen. A section without content is not there.

use maud::{Markup, html};
use shared::human::count;

use super::model::{CheckRow, CheckState, Coverage, DatabasePage, FlagRow, QueryRow};
use super::{findings, tables};

/// Rows of a section that are shown.
const SHOWN_MAX: usize = 200;
/// A round of amcheck should not take longer.
const ROUND_DAYS_MAX: u64 = 30;

/// A database; its name is said only where there are several.
pub(super) fn database(number: usize, database: &DatabasePage, is_named: bool, runbook: Option<&str>) -> Markup {
    html! {
        section.database id={ "database-" (number) } {
            @if is_named { h2.name { (database.name) } }
            (findings::section(database, runbook))
            (figures(database))
            @if !database.tables.is_empty() {
                h2 { "Tables" span.legend { "rows of the last 28 nights; the shade is what was expected" } }
                (tables::section(number, &database.tables))
            }
            (checks(&database.checks))
            (queries(&database.queries, database.queries_missing.as_deref()))
            (flags(&database.flags))
            (unseen(database))
        }
    }
}

fn figures(database: &DatabasePage) -> Markup {
    html! {
        @if !database.figures.is_empty() || database.coverage.is_some() {
            div.figures {
                @for (name, text) in &database.figures { div { span { (name) } b { (text) } } }
                @if let Some(coverage) = &database.coverage { (verified(coverage)) }
            }
        }
    }
}

fn verified(coverage: &Coverage) -> Markup {
    #[expect(clippy::cast_precision_loss, reason = "a share of pages")]
    let share = if coverage.pages == 0 { 1.0 } else { (coverage.verified_pages as f64 / coverage.pages as f64).min(1.0) };
    // Never "100 %" of less than everything.
    let percent = if share < 1.0 { (share * 100.0).floor() } else { 100.0 };
    html! {
        div class=[coverage.oldest_days.is_some_and(|days| days > ROUND_DAYS_MAX).then_some("late")] {
            span { "pages verified by amcheck" }
            b { (percent) " %" }
            div.bar { div style={ "width:" (percent) "%" } {} }
            span.soft {
                (count(coverage.tonight_pages)) " tonight"
                @match coverage.oldest_days { Some(days) => { ", the oldest " (days) " days ago" } None => { ", some never yet" } }
            }
        }
    }
}

fn checks(checks: &[CheckRow]) -> Markup {
    let mut order: Vec<&CheckRow> = checks.iter().collect();
    order.sort_by(|a, b| a.state.cmp(&b.state).then_with(|| a.name.cmp(&b.name)));
    let good = order.iter().filter(|check| check.state == CheckState::Ok).count();
    let (bad, good) = order.split_at(order.len() - good);
    let row = |check: &CheckRow| {
        let (class, words) = match check.state {
            CheckState::Failed => ("critical", "failed"),
            CheckState::Invalid => ("unknown", "written wrong"),
            CheckState::NotChecked => ("unknown", "not checked"),
            CheckState::Ok => ("ok", "holds"),
        };
        html! {
            tr {
                td { i class=(class) {} " " (check.name) @if let Some(table) = &check.table { span.soft { " " (table) } } }
                td { (words) }
                td { (check.seen) }
                td.soft { (check.owner.as_deref().unwrap_or_default()) }
                td.number { (format!("{:.1} s", check.seconds)) }
            }
        }
    };
    html! {
        @if !checks.is_empty() {
            h2 { "The team's checks" span.legend { (good.len()) " of " (checks.len()) " hold" } }
            @if !bad.is_empty() { div.wide { table { tbody { @for check in bad.iter().take(SHOWN_MAX) { (row(check)) } } } } }
            @if !good.is_empty() {
                details.others { summary { (good.len()) " hold" } div.wide { table { tbody { @for check in good.iter().take(SHOWN_MAX) { (row(check)) } } } } }
            }
        }
    }
}

fn queries(queries: &[QueryRow], missing: Option<&str>) -> Markup {
    html! {
        @if !queries.is_empty() {
            h2 { "Slow queries" span.legend { "since the night before, by share of all time" } }
            div.wide {
                table {
                    thead { tr { th { "query" } th.number { "share" } th.number { "calls" } th.number { "each" } } }
                    tbody {
                        @for query in queries.iter().take(SHOWN_MAX) {
                            tr {
                                td { code { (query.text) } @if !query.remark.is_empty() { " " em { (query.remark) } } }
                                td.number { (format!("{:.1} %", query.share * 100.0)) span.bar { span style=(format!("width:{:.0}%", (query.share * 100.0).clamp(0.0, 100.0))) {} } }
                                td.number { (count(query.calls)) }
                                td.number { (milliseconds(query.mean_ms)) }
                            }
                        }
                    }
                }
            }
        } @else if let Some(missing) = missing {
            h2 { "Slow queries" }
            p.soft { (missing) }
        }
    }
}

fn milliseconds(mean: f64) -> String {
    if mean < 10.0 {
        format!("{mean:.1} ms")
    } else if mean < 1_000.0 {
        format!("{mean:.0} ms")
    } else {
        shared::human::seconds(mean / 1e3)
    }
}

fn flags(flags: &[FlagRow]) -> Markup {
    html! {
        @if !flags.is_empty() {
            h2 { "Feature flags that do nothing any more" }
            ul.plain { @for flag in flags.iter().take(SHOWN_MAX) { li { b { (flag.name) } " " span.soft { (flag.why) } } } }
        }
    }
}

/// What this page does not know.
fn unseen(database: &DatabasePage) -> Markup {
    html! {
        @if !database.not_reached.is_empty() || !database.remarks.is_empty() || database.coverage.is_none() {
            h2 { "What was not seen" }
            ul.plain {
                @if !database.not_reached.is_empty() {
                    li {
                        details.notes {
                            summary { (count(database.not_reached.len() as u64)) " not reached tonight; first next night" }
                            p.soft { (database.not_reached.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ")) @if database.not_reached.len() > SHOWN_MAX { " …" } }
                        }
                    }
                }
                @if database.coverage.is_none() { li { "Pages and indexes were not verified by amcheck." } }
                @for remark in database.remarks.iter().take(SHOWN_MAX) { li { (remark) } }
            }
        }
    }
}
