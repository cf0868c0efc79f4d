//! The story as a page that a browser can open from disk: no script, font or image from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use shared::human::{bytes, count};

use super::Outcome;
use super::outcome::Step;
use crate::slack;

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn page(outcome: &Outcome) -> Markup {
    let held = outcome.claims.iter().filter(|claim| claim.holds).count();
    let title = match (&outcome.spoilt, outcome.holds()) {
        (Some(_), _) => "Sabotaged, and noticed?",
        (None, true) => "Restored and proved",
        (None, false) => "Not proved",
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Lifeboat: " (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(slack::STYLE)) }
            }
            body {
                header class=(if outcome.holds() { "top good" } else { "top bad" }) {
                    p.brand { "Lifeboat" }
                    h1 { (title) }
                    p { (held) " of " (outcome.claims.len()) " claims hold · " (format!("{:.1} s", outcome.seconds)) " · "
                        time { (outcome.started_at.format("%Y-%m-%d %H:%M:%S UTC")) }
                    }
                    @if let Some(spoilt) = &outcome.spoilt { p.spoilt { "Sabotage: " (spoilt) } }
                    @if let Some(sql) = &outcome.sql { p { "Guarded: " code { (sql) } } }
                }
                main {
                    (figures(outcome))
                    (claims(outcome))
                    h2 { "What was done" }
                    (steps(&outcome.steps))
                    (drills(outcome))
                    @if outcome.night.is_some() { p { "The night after something broke: " a href="night.html" { "its page" } } }
                    (reports(outcome))
                    h2 { "What Slack got" }
                    @for message in &outcome.slack { (slack::render(message)) }
                    (appendix(outcome))
                }
            }
        }
    }
}

fn figures(outcome: &Outcome) -> Markup {
    let figures = &outcome.figures;
    let seconds = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.2} s"));
    let shown = [
        (count(figures.rows), format!("rows in {} tables", figures.tables)),
        (bytes(figures.database_bytes), "database on the server".to_owned()),
        (bytes(figures.archive_bytes), format!("archive in {} objects", figures.archive_objects)),
        (seconds(Some(figures.dump_seconds)), "dump, from the schedule to the report".to_owned()),
        (seconds(Some(figures.verify_seconds)), "verification of everything".to_owned()),
        (seconds(figures.restore_seconds), "pg_restore -j4".to_owned()),
        (seconds(figures.proof_seconds), "count and digest of the copy".to_owned()),
    ];
    html! {
        section.figures { @for (value, name) in shown { div { strong { (value) } span { (name) } } } }
    }
}

fn claims(outcome: &Outcome) -> Markup {
    html! {
        h2 { "What was checked" }
        ul.claims {
            @for claim in &outcome.claims {
                li class=(if claim.holds { "holds" } else { "broken" }) {
                    span.mark { (if claim.holds { "✓" } else { "✗" }) }
                    div { p { (claim.claim) } p.seen { (claim.seen) } }
                }
            }
        }
    }
}

fn steps(steps: &[Step]) -> Markup {
    let longest = steps.iter().map(|step| step.seconds).fold(0.001, f64::max);
    html! {
        table.steps {
            thead { tr { th { "Step" } th { "Time" } th { "Result" } } }
            tbody {
                @for step in steps {
                    tr {
                        td { (step.what) }
                        td.time {
                            span.bar style=(format!("width: {:.1}%", 100.0 * step.seconds / longest)) {}
                            (format!("{:.2} s", step.seconds))
                        }
                        td { (step.result) }
                    }
                }
            }
        }
    }
}

fn drills(outcome: &Outcome) -> Markup {
    html! {
        @for drill in &outcome.drills {
            @let phases = drill.result["phases"].as_array().map_or(&[][..], Vec::as_slice);
            @let shown: Vec<Step> = phases.iter().map(|phase| Step {
                what: phase["name"].as_str().unwrap_or_default().to_owned(),
                seconds: phase["seconds"].as_f64().unwrap_or_default(),
                result: phase["at"].as_str().unwrap_or_default().to_owned(),
            }).collect();
            h2 { "The drill of the " (drill.what) }
            p { (drill.result["summary"].as_str().unwrap_or_default()) " · RTO " (format!("{:.1} s", drill.result["recoveryTimeSeconds"].as_f64().unwrap_or_default()))
                " · RPO " (format!("{:.1} s", drill.result["recoveryPointSeconds"].as_f64().unwrap_or_default()))
                " · " a href={ "drill-" (drill.what) ".html" } { "its page for an auditor" }
            }
            (steps(&shown))
        }
    }
}

fn reports(outcome: &Outcome) -> Markup {
    html! {
        h2 { "Lifeboat's own reports" }
        @for report in &outcome.reports {
            details {
                summary { strong { (report.job) } " " span class={ "outcome " (report.outcome.name()) } { (report.outcome.name()) } " " (report.summary) }
                table.facts { @for fact in &report.facts { tr { td { (fact.name) } td { (fact.value) } } } }
                @for finding in &report.findings {
                    p.finding { strong { (finding.kind.name()) } " " code { (finding.subject) } br; (finding.seen)
                        @if let Some(hint) = &finding.hint { br; em { (hint) } }
                    }
                }
            }
        }
    }
}

fn appendix(outcome: &Outcome) -> Markup {
    let preparation: Vec<Step> =
        outcome.preparation.iter().map(|done| Step { what: done.what.clone(), seconds: done.seconds, result: String::new() }).collect();
    html! {
        h2 { "Appendix" }
        details { summary { "Preparation" } (steps(&preparation)) }
        @if let Some(proof) = &outcome.proof {
            @if !proof.findings.is_empty() {
                details open {
                    summary { "What differs, or could not be compared" }
                    ul { @for finding in &proof.findings { li { (finding.kind.name()) ": " (finding.subject) ": " (finding.seen) } } }
                }
            }
        }
        details { summary { "What the local cloud does not do as AWS does" } ul { @for one in &outcome.not_as_on_aws { li { (one) } } } }
    }
}
