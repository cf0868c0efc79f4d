//! What was found, as a person reads it: the worst first, new before known, each with what to do. Notes are one line each, and folded away.

use maud::{Markup, html};
use shared::finding::{Finding, FindingKind, Severity};

use super::model::{DatabasePage, ShownFinding};
use super::{severity_class, severity_words};

/// Findings that are shown; the report has them all.
const SHOWN_MAX: usize = 100;

/// What needs somebody, what is worth knowing, and what is over.
pub(super) fn section(database: &DatabasePage, runbook: Option<&str>) -> Markup {
    let mut sorted: Vec<&ShownFinding> = database.findings.iter().collect();
    sorted.sort_by(|a, b| {
        b.finding.severity.cmp(&a.finding.severity).then_with(|| a.since.is_some().cmp(&b.since.is_some())).then_with(|| key(a).cmp(&key(b)))
    });
    let notes = sorted.split_off(sorted.partition_point(|shown| shown.finding.severity > Severity::Note));
    html! {
        @for shown in sorted.iter().take(SHOWN_MAX) { (card(shown, runbook)) }
        @if sorted.len() > SHOWN_MAX { p.soft { (sorted.len() - SHOWN_MAX) " more are in the report." } }
        @if sorted.is_empty() { p.calm { "Nothing needs anybody." } }
        @if !database.resolved.is_empty() {
            details.notes open[database.resolved.len() <= 5] {
                summary { (database.resolved.len()) " resolved since last night" }
                ul.over { @for finding in database.resolved.iter().take(SHOWN_MAX) { li { (title(finding)) " · " (finding.subject) } } }
            }
        }
        @if !notes.is_empty() {
            @let new = notes.iter().filter(|shown| shown.since.is_none()).count();
            details.notes {
                summary { (notes.len()) @if notes.len() == 1 { " note" } @else { " notes" } @if new > 0 { span.soft { " · " (new) " new" } } }
                ul {
                    @for shown in notes.iter().take(SHOWN_MAX) {
                        li {
                            b { (shown.finding.subject) } " · " (title(&shown.finding)) ": " (shown.finding.seen)
                            @if shown.since.is_none() { " " em { "new" } }
                            @if let Some(hint) = &shown.finding.hint { p.soft { (hint) } }
                        }
                    }
                    @if notes.len() > SHOWN_MAX { li.soft { (notes.len() - SHOWN_MAX) " more are in the report." } }
                }
            }
        }
    }
}

fn key(shown: &ShownFinding) -> (FindingKind, &str) {
    (shown.finding.kind, &shown.finding.subject)
}

fn card(shown: &ShownFinding, runbook: Option<&str>) -> Markup {
    let finding = &shown.finding;
    html! {
        article class=(severity_class(finding.severity)) {
            h3 { (title(finding)) " · " span.subject { (finding.subject) } }
            p.tags {
                @match shown.since {
                    None => { em { "new tonight" } }
                    Some(since) => { span.soft { "since " (since.format("%-d %B")) } }
                }
                span.tag { (severity_words(finding.severity)) }
            }
            p { (finding.seen) }
            @if let Some(expected) = &finding.expected { p.soft { "Expected: " (expected) } }
            @if let Some(hint) = &finding.hint { pre { (hint) } }
            @if let Some(runbook) = runbook.filter(|address| address.starts_with("https://")) {
                p.more { a href={ (runbook) "#" (finding.runbook) } { "What to do, step by step" } }
            }
        }
    }
}

/// `tableEmptied` as words: `Table emptied`.
fn title(finding: &Finding) -> String {
    let mut words = String::new();
    for char in finding.kind.name().chars() {
        if words.is_empty() {
            words.extend(char.to_uppercase());
        } else if char.is_uppercase() {
            words.push(' ');
            words.extend(char.to_lowercase());
        } else {
            words.push(char);
        }
    }
    words
}
