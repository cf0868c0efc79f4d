//! What is shown: an event as a message of Slack. Pure.
//!
//! Somebody reads it at three in the morning. From the top: what it is, what is the case, how bad and since when, what to do, where; then what else is
//! known; then the small print. A message that breaks one of Slack's limits is refused, and with it the alarm: so every text is fitted to its place, and
//! beside the blocks there is always a plain text that cannot be refused. No text of somebody else's can ping, link, or be markup.

mod blocks;
mod grouped;
mod parts;
mod thread;
mod when;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::finding::Severity;

use self::blocks::{Pile, as_many, context, header, plain, prose, section};
use crate::input::{Event, Source, State};
use crate::text::units;

pub use grouped::{Group, Member, grouped};
pub use thread::thread;

/// More findings are no use in a message.
const FINDINGS_MAX: usize = 10;
/// Of a message without blocks.
const PLAIN_MAX: usize = 3_500;
/// Of a notification.
const TEXT_MAX: usize = 400;
/// Kept for the small print and the line that counts what is left out.
const RESERVED: usize = 3_200;

/// Where a reader finds more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The page of the runbook.
    pub runbook_url: Option<String>,
    /// The bucket that keeps the reports.
    pub bucket: String,
}

/// What is known of an incident beyond its newest event. `default()` is: nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Standing {
    /// When it began; the event's own time if it is not known.
    pub since: Option<DateTime<Utc>>,
    /// How often it has fired.
    pub fired: u32,
    /// It comes and goes.
    pub is_flapping: bool,
    /// What was said when it fired: a resolved card repeats it.
    pub was: Option<String>,
    /// How bad it was.
    pub severity_was: Option<Severity>,
    /// It is said so much later than it was sent that a reader must know: when it was sent.
    pub late_since: Option<DateTime<Utc>>,
    /// It is only said again that it is still so; this is now.
    pub reminded_at: Option<DateTime<Utc>>,
}

/// A message, with blocks and without.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// What a notification shows.
    pub text: String,
    /// The message.
    pub blocks: Vec<Value>,
    /// The message for the case that Slack refuses the blocks.
    pub plain: String,
}

impl Card {
    /// What is posted first.
    pub fn message(&self) -> Value {
        json!({"text": self.text, "blocks": self.blocks, "unfurl_links": false, "unfurl_media": false, "parse": "none"})
    }

    /// What is posted when Slack refuses that.
    pub fn plain_message(&self) -> Value {
        json!({"text": self.plain, "unfurl_links": false, "unfurl_media": false, "parse": "none"})
    }
}

/// The message of an incident, or of an event that stands alone: posted once, and put in its own place again when something changes.
pub fn root(event: &Event, standing: &Standing, places: &Places) -> Card {
    let title = title(event, standing);
    let sign = if standing.is_flapping { "🔁" } else { parts::sign_of(event) };
    let (standing_line, advice, facts) = (parts::standing(event, standing), parts::advice(event, places), parts::facts(&event.facts));

    let mut pile = Pile::reserving(RESERVED);
    pile.push(header(sign, &title));
    pile.push(plain(&said(event), 1_000));
    pile.extend(section(std::slice::from_ref(&standing_line)));
    if let Some(was) = standing.was.as_deref().filter(|was| event.state() == Some(State::Resolved) && *was != event.what) {
        pile.extend(section(&[format!("It was: {}", prose(was, 500))]));
    }
    if let Some(description) = event.description.as_deref().filter(|_| event.state() != Some(State::Resolved)) {
        pile.push(plain(&format!("“{}”", description.trim()), 600));
    }
    pile.extend(advice.clone().and_then(|advice| section(&[advice])));
    let shown = findings(&mut pile, event, places);
    pile.extend(section(&facts));
    if event.source == Source::Other || !event.is_understood {
        pile.extend(Some(event.raw.as_str()).filter(|raw| !raw.is_empty()).map(|raw| plain(raw, 1_800)));
    }
    pile.release();
    pile.extend(parts::left_out(event, shown).and_then(|text| section(&[text])));
    let small = parts::small_print(event, places);
    if !context(&small).is_some_and(|block| pile.push(block)) {
        pile.extend(context(&small[..1]));
    }

    let word = said_first(event, standing);
    let text =
        as_many(&[format!("{sign} {word}: {}: {}", prose(&title, 150), prose(&event.what, 150))], "", TEXT_MAX).unwrap_or_else(|| sign.to_owned());
    let mut lines = vec![format!("{sign} *{}*", prose(&title, 250)), prose(&event.what, 800), standing_line];
    lines.extend(advice);
    lines.extend(event.findings.iter().take(FINDINGS_MAX).map(|finding| parts::finding(finding, places, 5).join(" ")));
    lines.extend(parts::left_out(event, event.findings.len().min(FINDINGS_MAX)));
    let whole = as_many(&lines, "\n", PLAIN_MAX).unwrap_or_else(|| text.clone());
    Card { plain: whole, text, blocks: pile.into_blocks() }
}

/// The findings, each at length if there is room, else short; says how many there was room for.
fn findings(pile: &mut Pile, event: &Event, places: &Places) -> usize {
    for (shown, finding) in event.findings.iter().take(FINDINGS_MAX).enumerate() {
        let fits = [1, 5].into_iter().any(|shorter| section(&parts::finding(finding, places, shorter)).is_some_and(|block| pile.push(block)));
        if !fits {
            return shown;
        }
    }
    event.findings.len().min(FINDINGS_MAX)
}

/// What it is about, and what is the case in a word where the sign does not say it.
fn title(event: &Event, standing: &Standing) -> String {
    let name = if event.title.trim().is_empty() { event.source.name() } else { event.title.trim() };
    if standing.is_flapping {
        return format!("{name} comes and goes");
    }
    match event.source {
        Source::Report => format!("{name} {}", outcome(event.severity)),
        Source::Database | Source::Backup | Source::Parameter | Source::Secret => format!("{}: {name}", event.source.name()),
        Source::DeadLetter => format!("{name} was given up"),
        _ => name.to_owned(),
    }
}

/// The outcome of a report, as its severity tells it.
fn outcome(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "is fine",
        Severity::Warning => "needs attention",
        Severity::Unknown => "could not check everything",
        Severity::Critical => "failed",
    }
}

/// The word with which a notification begins.
fn said_first(event: &Event, standing: &Standing) -> &'static str {
    match event.state() {
        _ if standing.reminded_at.is_some() => "Still so",
        _ if standing.is_flapping => "Flapping",
        Some(State::Resolved) => "Resolved",
        Some(State::Unknown) => "No data",
        _ => parts::word(event.severity),
    }
}

/// What is the case; as a sentence, where the words are ours.
fn said(event: &Event) -> String {
    match event.source {
        Source::AlarmChange | Source::Database | Source::Backup | Source::Parameter | Source::Secret | Source::DeadLetter => sentence(&event.what),
        _ => event.what.clone(),
    }
}

/// With a large letter at its beginning and something at its end. Names keep theirs.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let first: String = text.chars().take_while(|char| char.is_alphabetic()).collect();
    let is_word = first.chars().all(char::is_lowercase) && text[first.len()..].starts_with([' ', ',', ':']);
    let mut chars = text.chars();
    let begun = match chars.next() {
        Some(letter) if is_word => format!("{}{}", letter.to_uppercase(), chars.as_str()),
        _ => text.to_owned(),
    };
    if units(&begun) > 0 && begun.ends_with(char::is_alphanumeric) { format!("{begun}.") } else { begun }
}

#[cfg(test)]
#[path = "../card_tests.rs"]
mod tests;
