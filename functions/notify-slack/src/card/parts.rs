//! The lines of a card: how bad and since when, what to do, what else is known, and the small print. Pure.

use shared::finding::{Finding, Severity};
use shared::human;

use super::blocks::{as_many, link, name, prose};
use super::when::{between, moment};
use super::{Places, Standing};
use crate::config::is_link;
use crate::input::{Event, Fact, Quiet, Runbook, Shown, Source, State};
use crate::text::{code, fit};

/// Links of one card.
const LINKS_MAX: usize = 4;
/// A name that shares a line with others.
const SHORT_MAX: usize = 40;
/// An address that takes more would leave too little for the rest.
const ADDRESS_MAX: usize = 600;

/// The word for a severity.
pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "Note",
        Severity::Warning => "Warning",
        Severity::Unknown => "Unknown",
        Severity::Critical => "Critical",
    }
}

/// The sign for what is the case.
pub(super) fn sign_of(event: &Event) -> &'static str {
    // An alarm that was deleted is over, and not well.
    sign(event.state().filter(|_| event.source != Source::AlarmChange), event.severity)
}

/// The sign for a state and a severity.
pub(super) fn sign(state: Option<State>, severity: Severity) -> &'static str {
    match (state, severity) {
        (Some(State::Resolved), _) => "✅",
        (Some(State::Unknown), _) | (_, Severity::Unknown) => "⚪",
        (_, Severity::Critical) => "🔴",
        (_, Severity::Warning) => "🟠",
        (_, Severity::Note) => "🔵",
    }
}

/// How bad, since when, whose: `*Critical* since … · prod · owner payments`.
pub(super) fn standing(event: &Event, standing: &Standing) -> String {
    let since = standing.since.or(event.since);
    let at = event.incident.as_ref().map(|incident| incident.at);
    let still =
        since.zip(standing.reminded_at).and_then(|(from, now)| between(from, now)).map(|time| format!(", still so after {time}")).unwrap_or_default();
    let mut parts = Vec::new();
    match event.state() {
        Some(State::Resolved) => {
            let lasted = since.zip(at).and_then(|(from, to)| between(from, to)).filter(|_| standing.since.is_some());
            let lasted = lasted.map(|time| format!(" after {time}")).unwrap_or_default();
            let verdict = match event.source {
                Source::AlarmChange => word(event.severity),
                // Nothing is known to have been wrong: a good run is no more than that.
                Source::Report | Source::Backup | Source::SecurityHub if standing.since.is_none() => "Fine",
                _ => "Resolved",
            };
            parts.push(format!("*{verdict}* {}{lasted}", at.map(moment).unwrap_or_default()));
            if let Some(severity) = standing.severity_was {
                parts.push(format!("was {}", word(severity).to_lowercase()));
            }
        }
        Some(State::Unknown) => parts.push(format!("*No data* since {}{still}", since.map(moment).unwrap_or_default())),
        Some(State::Firing) => parts.push(format!("*{}* since {}{still}", word(event.severity), since.map(moment).unwrap_or_default())),
        None => parts.push(format!("*{}* {}", word(event.severity), since.map(moment).unwrap_or_default()).trim_end().to_owned()),
    }
    if standing.fired > 1 {
        parts.push(format!("fired {} times", human::count(standing.fired.into())));
    }
    parts.extend(event.quiet.map(|quiet| quiet_words(quiet).to_owned()));
    parts.extend(event.stage.as_deref().map(|stage| prose(stage, 40)));
    parts.extend(event.owner.as_deref().map(|owner| format!("owner {}", name(owner))));
    parts.extend(standing.late_since.map(|sent| format!("⏳ _late: it was sent {}_", moment(sent))));
    as_many(&parts, " · ", 1_500).unwrap_or_default()
}

fn quiet_words(quiet: Quiet) -> &'static str {
    match quiet {
        Quiet::JustMade => "the alarm was just made",
        Quiet::Suppressed => "held back by its suppressor",
        Quiet::Muted => "muted",
    }
}

/// What to do, and where to read on: `*Do:* … · <…|runbook> · <…|open the alarm>`.
pub(super) fn advice(event: &Event, places: &Places) -> Option<String> {
    let mut parts = Vec::new();
    // A finding says it where it stands.
    let is_said = event.findings.iter().any(|finding| finding.hint.is_some());
    let is_over = event.state() == Some(State::Resolved) && event.source != Source::AlarmChange;
    if !is_over && !is_said {
        parts.extend(event.advice.as_deref().map(|advice| prose(advice, 500)));
    }
    let own = event.runbook.as_ref().filter(|_| event.findings.is_empty() && !is_over);
    parts.extend(own.and_then(|runbook| runbook_link(runbook, places)));
    parts.extend(event.links.iter().take(LINKS_MAX).map(|link| address(&link.title, &link.target)));
    let text = as_many(&parts, " · ", 2_500)?;
    Some(if is_over || event.severity == Severity::Note { text } else { format!("*Do:* {text}") })
}

fn runbook_link(runbook: &Runbook, places: &Places) -> Option<String> {
    match runbook {
        Runbook::Address(url) => is_link(url).then(|| link(url, "runbook")),
        Runbook::Section(anchor) => section_of_runbook(anchor, places),
        Runbook::Named(text) => Some(format!("runbook {}", name(text))),
    }
}

/// A section of our own runbook.
pub(super) fn section_of_runbook(anchor: &str, places: &Places) -> Option<String> {
    let url = places.runbook_url.as_deref().filter(|url| is_link(url))?;
    let is_anchor = !anchor.is_empty() && anchor.len() < 100 && anchor.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char));
    Some(link(&format!("{url}{}{}", if is_anchor { "#" } else { "" }, if is_anchor { anchor } else { "" }), "runbook"))
}

/// A link if it can be one, else the words for copying.
fn address(title: &str, target: &str) -> String {
    if is_link(target) && target.len() < ADDRESS_MAX { link(target, title) } else { format!("{}: {}", prose(title, 80), code(target, 300)) }
}

/// What else is known: figures in one line, names in lines of their own.
pub(super) fn facts(facts: &[Fact]) -> Vec<String> {
    let label = |fact: &Fact| fit(&prose(&fact.name, 60), 60);
    let (mut children, mut names, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    for fact in facts {
        match &fact.value {
            Shown::Words(words) => figures.push(format!("{} *{}*", label(fact), prose(words, 150))),
            Shown::Time(time) => figures.push(format!("{} {}", label(fact), moment(*time))),
            Shown::Code(text) => names.push(format!("{}: {}", label(fact), code(text, 300))),
            Shown::Child { name: child, state, since } => {
                let since = since.map(|since| format!(" since {}", moment(since))).unwrap_or_default();
                let (sign, word) = match state {
                    State::Firing => ("🔴", "fires"),
                    State::Resolved => ("✅", "is fine"),
                    State::Unknown => ("⚪", "has no data"),
                };
                children.push(format!("{sign} {} {word}{since}", name(child)));
            }
        }
    }
    // Short names share a line, a long text has one of its own.
    let (short, long): (Vec<String>, Vec<String>) = names.into_iter().partition(|line: &String| line.chars().count() <= SHORT_MAX);
    let mut lines = children;
    lines.extend(as_many(&figures, " · ", 1_500));
    lines.extend(as_many(&short, " · ", 1_500));
    lines.extend(long);
    lines
}

/// A finding, with its texts at length or so many times shorter. The parts add up to less than a section takes.
pub(super) fn finding(finding: &Finding, places: &Places, shorter: usize) -> Vec<String> {
    let sign = sign(None, finding.severity);
    let word = word(finding.severity).to_lowercase();
    let mut lines = vec![
        format!("{sign} *{word}: {}* {}", finding.kind.name(), code(&finding.subject, 400 / shorter)),
        format!("seen: {}", code(&finding.seen, 700 / shorter)),
    ];
    lines.extend(finding.expected.as_ref().map(|expected| format!("expected: {}", code(expected, 400 / shorter))));
    let hint = finding.hint.as_ref().map(|hint| prose(hint, 500 / shorter));
    let parts: Vec<String> = [hint, section_of_runbook(&finding.runbook, places)].into_iter().flatten().collect();
    lines.extend((!parts.is_empty()).then(|| format!("*Do:* {}", parts.join(" · "))));
    lines
}

/// How many findings are not shown, the worst first.
pub(super) fn left_out(event: &Event, shown: usize) -> Option<String> {
    let hidden = event.findings.get(shown..).unwrap_or_default();
    let total = hidden.len() + event.findings_left_out;
    let mut kinds: Vec<String> = Vec::new();
    for wanted in [Severity::Critical, Severity::Unknown, Severity::Warning, Severity::Note] {
        let number = hidden.iter().filter(|finding| finding.severity == wanted).count();
        if number > 0 {
            kinds.push(format!("{} {}", human::count(number as u64), word(wanted).to_lowercase()));
        }
    }
    if event.findings_left_out > 0 {
        kinds.push(format!("{} only in the whole report", human::count(event.findings_left_out as u64)));
    }
    (total > 0).then(|| format!("… and {} more: {}", human::count(total as u64), kinds.join(", ")))
}

/// Where it is from, for whoever searches.
pub(super) fn small_print(event: &Event, places: &Places) -> Vec<String> {
    let (mut place, mut small) = (Vec::new(), event.small.as_slice());
    if let (Source::Report, [first, rest @ ..]) = (event.source, small) {
        place.push(prose(first, 150));
        small = rest;
    } else {
        place.push(event.source.name().to_owned());
        place.extend(event.account.as_deref().map(|account| format!("account {}", prose(account, 20))));
        place.extend(event.region.as_deref().map(|region| prose(region, 30)));
    }
    let mut lines = vec![place.join(" · ")];
    for text in small.iter().take(6) {
        lines.push(match text.strip_prefix("reports: ").filter(|_| event.source == Source::Report) {
            Some(key) => code(&format!("aws s3 cp s3://{}/{key} -", places.bucket), 600),
            None => code(text, 300),
        });
    }
    lines
}
