//! The evidence as a page that opens from disk, for an auditor: what was restored, when, proved how, RTO, RPO, and the trend. No script, font or image from
//! elsewhere, and no value of any row.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use shared::finding::{Finding, Severity};
use shared::human::{bytes, count};

use crate::chart;
use crate::rehearsal::Rehearsal;
use crate::result::{DrillResult, WorkedDatabase, minutes};

const STYLE: &str = include_str!("page.css");
/// Locks that a page shows of a transaction.
const LOCKS_MAX: usize = 6;
/// Findings that a page shows; the result has them all.
const FINDINGS_MAX: usize = 100;

/// The page of a drill; `before` are the results of earlier drills, the oldest first.
pub fn page(result: &DrillResult, before: &[DrillResult], now: DateTime<Utc>) -> Markup {
    let title = format!("Restore drill of {}", result.instance);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " " (result.drill) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header class=(result.outcome.name()) {
                    p { (title) " · " (time(result.requested_at)) " · " (result.drill) }
                    h1 { (headline(result)) }
                    p { (result.summary) }
                }
                main {
                    (figures(result))
                    div.columns {
                        section { h2 { "How long it took" } (phases(result)) }
                        section { h2 { "The last drills" } div.panel { (chart::trend(result, before)) } }
                    }
                    h2 { "What was proved" }
                    (databases(&result.databases))
                    (how(result))
                    @if let Some(rehearsal) = rehearsal(result) { h2 { "Migrations, rehearsed on the copy" } (migrations(&rehearsal)) }
                    h2 { "What was found" }
                    (findings(&result.findings))
                    p.soft { "Written " (time(now)) " by Lifeboat " (shared::VERSION) ". The figures are in result.json beside this page." }
                }
            }
        }
    }
}

fn rehearsal(result: &DrillResult) -> Option<Rehearsal> {
    serde_json::from_value(result.rehearsal.clone()?).ok()
}

fn headline(result: &DrillResult) -> String {
    use shared::report::Outcome::{Attention, Failed, Ok, Unknown};
    match result.outcome {
        Ok => "Restored and proved".to_owned(),
        Attention => "Restored and proved; somebody should look at something".to_owned(),
        Unknown => "Restored, and not wholly checked".to_owned(),
        Failed => "Not proved".to_owned(),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn figures(result: &DrillResult) -> Markup {
    let rows: u64 = result.databases.iter().map(|database| database.rows).sum();
    let tables: u64 = result.databases.iter().map(|database| database.tables).sum();
    let exact: u64 = result.databases.iter().map(|database| database.exact).sum();
    #[expect(clippy::cast_precision_loss, reason = "an objective is minutes or days")]
    let (time_max, point_max) = (result.recovery_time_max_seconds as f64, result.recovery_point_max_seconds as f64);
    let is_late = result.recovery_time_seconds.is_none_or(|seconds| seconds > time_max);
    html! {
        div.figures {
            div { strong { (result.source) } span { "what was restored" } }
            div { strong { (count(exact)) " of " (count(tables)) " tables" } span { "equal a backup's counts and digests; " (count(rows)) " rows were read" } }
            div class=[is_late.then_some("over")] {
                strong { "RTO " (result.recovery_time_seconds.map_or_else(|| "not reached".to_owned(), minutes)) }
                span { "from the request to the last check; at most " (minutes(time_max)) }
            }
            div class=[(result.recovery_point_seconds > point_max).then_some("over")] {
                strong { "RPO " (minutes(result.recovery_point_seconds)) }
                span { "age of the data at the request; at most " (minutes(point_max)) }
            }
        }
    }
}

fn phases(result: &DrillResult) -> Markup {
    let longest = result.phases.iter().map(|phase| phase.seconds).fold(0.0, f64::max).max(0.001);
    html! {
        table {
            thead { tr { th { "until" } th.number { "took" } th.number { "at" } } }
            tbody {
                @for phase in &result.phases {
                    tr {
                        td { (phase.name) span.bar style=(format!("width:{:.1}%", 100.0 * phase.seconds / longest)) {} }
                        td.number { (precise(phase.seconds)) }
                        td.number { (phase.at.format("%H:%M:%S")) }
                    }
                }
                @if result.phases.is_empty() { tr { td colspan="3" { "It came to nothing." } } }
            }
        }
    }
}

fn precise(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.2} s") } else { minutes(seconds) }
}

fn databases(databases: &[WorkedDatabase]) -> Markup {
    html! {
        table {
            thead { tr {
                th { "database" } th.number { "tables read" } th.number { "rows" } th.number { "as text" } th.number { "exactly equal" }
                th.number { "within bounds" } th.number { "nothing to compare" } th.number { "amcheck" }
            } }
            tbody {
                @for one in databases {
                    tr {
                        td { (one.name) }
                        td.number { (count(one.tables)) } td.number { (count(one.rows)) } td.number { (bytes(one.bytes)) } td.number { (count(one.exact)) }
                        td.number { (count(one.bounded)) } td.number { (count(one.unknown)) } td.number { (count(one.checked_relations)) }
                    }
                }
                @if databases.is_empty() { tr { td colspan="8" { "No database was looked at." } } }
            }
        }
    }
}

fn how(result: &DrillResult) -> Markup {
    let text = if result.sort == "archives" {
        "Every row was counted and digested on its way in, and read back from the copy; counts, digests, sequences and definitions were compared with the backup's manifest, which was written when the data was."
    } else {
        "Every row was read, which also fetches every block. A table whose count and digest are the same in the backups before and after this moment must have exactly these; one that changed in between is held against both counts. amcheck looked at indexes and pages."
    };
    html! { p.soft { (text) } }
}

fn migrations(rehearsal: &Rehearsal) -> Markup {
    html! {
        p { "Verdict: " strong { (if rehearsal.verdict.passes { "pass" } else { "fail" }) } " · " (precise(rehearsal.seconds)) " · files " code { (rehearsal.files_hash) } }
        table {
            thead { tr { th { "statement" } th.number { "took" } th.number { "rows" } th { "writes anew" } th { "strongest locks, and for how long" } } }
            tbody {
                @for unit in &rehearsal.units {
                    @for (number, statement) in unit.statements.iter().enumerate() {
                        tr {
                            td { (unit.file) ":" (statement.line) " " code { (statement.text) } }
                            td.number { (precise(statement.seconds)) }
                            td.number { (statement.rows) }
                            td { (statement.rewrote.join(", ")) }
                            td {
                                @if number == 0 {
                                    @for lock in unit.locks.iter().filter(|lock| !lock.is_index).take(LOCKS_MAX) {
                                        p.soft { (lock.relation) ": " (lock.mode.name()) ", " (precise(lock.seconds)) }
                                    }
                                }
                            }
                        }
                    }
                    @if let Some(failed) = &unit.failed {
                        tr { td colspan="5" { strong { "failed: " } (unit.file) ":" (failed.line) " " code { (failed.text) } " " (failed.sqlstate) " " (failed.message) } }
                    }
                }
            }
        }
    }
}

fn findings(findings: &[Finding]) -> Markup {
    let class = |severity| match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Unknown => "unknown",
        Severity::Critical => "critical",
    };
    html! {
        @for finding in findings.iter().take(FINDINGS_MAX) {
            div class={ "finding " (class(finding.severity)) } {
                p { strong { (finding.kind.name()) } " · " (finding.subject) }
                p { (finding.seen) @if let Some(expected) = &finding.expected { " (expected: " (expected) ")" } }
                @if let Some(hint) = &finding.hint { p.soft { (hint) } }
            }
        }
        @if findings.is_empty() { p { "Nothing." } }
        @if findings.len() > FINDINGS_MAX { p { (findings.len() - FINDINGS_MAX) " more are in result.json." } }
    }
}
