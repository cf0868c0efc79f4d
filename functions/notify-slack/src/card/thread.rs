//! One line of an incident's history, below its message. Pure.

use shared::finding::Severity;

use super::blocks::{as_many, prose, section};
use super::when::{between, moment};
use super::{Card, PLAIN_MAX, Places, Standing, TEXT_MAX, parts};
use crate::input::{Event, Source, State};

/// Findings that are named in one line.
const FINDINGS_MAX: usize = 5;

/// What changed, in a few words: it fires again, it is over, it is still so, a part of it changed.
pub fn thread(event: &Event, standing: &Standing, places: &Places) -> Card {
    let at = event.incident.as_ref().map(|incident| incident.at).or(event.since);
    let since = standing.since.or(event.since);
    let mut sign = parts::sign_of(event);
    let lasted = |until| since.and_then(|from| between(from, until)).map(|time| format!(" after {time}")).unwrap_or_default();
    let is_part = event.incident.as_ref().is_some_and(|incident| incident.part.is_some());
    let headline = match (event.state(), standing.reminded_at) {
        (Some(State::Firing | State::Unknown), Some(now)) => format!("*Still so*{}", lasted(now)),
        (Some(State::Resolved), _) if event.source == Source::AlarmChange => {
            format!("*{}* {}", parts::word(event.severity), at.map(moment).unwrap_or_default())
        }
        (Some(State::Resolved), _) if is_part => format!("*One of them is fine again* {}", at.map(moment).unwrap_or_default()),
        (Some(State::Resolved), _) => {
            format!("*Resolved* {}{}", at.map(moment).unwrap_or_default(), at.filter(|_| standing.since.is_some()).map(lasted).unwrap_or_default())
        }
        (Some(State::Unknown), _) => format!("*No data* since {}", at.map(moment).unwrap_or_default()),
        (Some(State::Firing), _) if is_part => format!("*One more fires* {}", at.map(moment).unwrap_or_default()),
        (Some(State::Firing), _) if standing.is_flapping => {
            sign = "🔁";
            format!("*It comes and goes*: {} times so far, the last time {}", standing.fired.max(1), at.map(moment).unwrap_or_default())
        }
        (Some(State::Firing), _) if standing.fired > 1 => format!("*Fires again* {}", at.map(moment).unwrap_or_default()),
        (Some(State::Firing), _) => format!("*{}* {}", parts::word(event.severity), at.map(moment).unwrap_or_default()),
        (None, _) => format!("*{}* {}", prose(&event.title, 150), at.map(moment).unwrap_or_default()),
    };
    let mut lines = vec![format!("{sign} {}", headline.trim_end()), prose(&event.what, 600)];
    let wrong = event.findings.iter().filter(|finding| finding.severity > Severity::Note);
    lines.extend(wrong.take(FINDINGS_MAX).map(|finding| {
        let (first, link) = (parts::finding(finding, places, 5), parts::section_of_runbook(&finding.runbook, places));
        let named = first.into_iter().next().unwrap_or_default();
        link.map_or(named.clone(), |link| format!("{named} {link}"))
    }));
    lines.extend(parts::left_out(event, event.findings.len().min(FINDINGS_MAX)));
    if let Some(last) = parts::facts(&event.facts).into_iter().find(|line| line.starts_with("last values")) {
        lines.push(last);
    }
    lines.extend(standing.late_since.map(|sent| format!("⏳ _late: it was sent {}_", moment(sent))));
    let whole = as_many(&lines, "\n", PLAIN_MAX.min(2_800)).unwrap_or_else(|| sign.to_owned());
    let text =
        as_many(&[format!("{sign} {}: {}", prose(&event.title, 150), prose(&event.what, 150))], "", TEXT_MAX).unwrap_or_else(|| sign.to_owned());
    Card { blocks: section(&lines).into_iter().collect(), plain: whole, text }
}
