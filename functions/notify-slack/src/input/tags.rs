//! What people say about an alarm or a resource by its tags: `lifeboat:severity`, `lifeboat:owner`, `lifeboat:runbook`, `lifeboat:service`,
//! `lifeboat:stage`; each also without the prefix, in any case of letters. The prefixed one wins.

use std::collections::BTreeMap;

use shared::finding::Severity;

use super::event::{Event, Runbook};
use super::value::cut;
use crate::config::is_link;

const PREFIX: &str = "lifeboat:";

/// Takes what the tags say into the event.
pub(super) fn apply(event: &mut Event, tags: BTreeMap<String, String>) {
    if let Some(severity) = of(&tags, &["severity", "priority"]).and_then(severity) {
        event.severity = severity;
    }
    event.owner = of(&tags, &["owner", "team"]).map(|owner| cut(owner, 100)).or(event.owner.take());
    event.runbook = of(&tags, &["runbook", "runbook-url", "runbookurl"]).map(runbook).or(event.runbook.take());
    event.stage = of(&tags, &["stage", "environment", "env"]).map(|stage| cut(stage, 40)).or(event.stage.take());
    if let Some(service) = of(&tags, &["service", "app", "application"]) {
        event.service = cut(service, 80);
    }
    event.tags = tags;
}

/// The value of the first of these tags that there is.
fn of<'a>(tags: &'a BTreeMap<String, String>, names: &[&str]) -> Option<&'a str> {
    let find = |wanted: &str| tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str());
    let prefixed = names.iter().find_map(|name| find(&format!("{PREFIX}{name}")));
    prefixed.or_else(|| names.iter().find_map(|name| find(name))).filter(|value| !value.trim().is_empty())
}

/// The words that people use for it. An unknown word says nothing.
pub(super) fn severity(word: &str) -> Option<Severity> {
    match word.trim().to_lowercase().as_str() {
        "critical" | "crit" | "page" | "emergency" | "fatal" | "high" | "p0" | "p1" | "sev0" | "sev1" => Some(Severity::Critical),
        "warning" | "warn" | "medium" | "moderate" | "low" | "p2" | "p3" | "sev2" | "sev3" => Some(Severity::Warning),
        "note" | "notice" | "info" | "informational" | "p4" | "p5" | "sev4" | "sev5" => Some(Severity::Note),
        "unknown" => Some(Severity::Unknown),
        _ => None,
    }
}

/// An address, or the name of something.
fn runbook(text: &str) -> Runbook {
    let text = text.trim();
    if is_link(text) { Runbook::Address(text.to_owned()) } else { Runbook::Named(cut(text, 200)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefixed_tag_wins_and_an_unknown_word_says_nothing() {
        let tags = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>();
        let both = tags(&[("severity", "critical"), ("lifeboat:Severity", "note"), ("Team", "shop")]);
        assert_eq!((of(&both, &["severity"]), of(&both, &["owner", "team"])), (Some("note"), Some("shop")));
        assert_eq!(of(&tags(&[("lifeboat:owner", "  ")]), &["owner"]), None);
        assert_eq!([severity(" P1 "), severity("banana")], [Some(Severity::Critical), None]);
        assert_eq!(runbook("https://wiki.example/db"), Runbook::Address("https://wiki.example/db".into()));
        for odd in ["javascript:alert(1)", "https://x|<!channel>", "page 7"] {
            assert_eq!(runbook(odd), Runbook::Named(odd.into()));
        }
    }
}
