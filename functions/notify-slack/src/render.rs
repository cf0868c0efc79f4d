//! A report as a Slack message: pure.
//!
//! Slack refuses a message that breaks one of its limits, and with it the alarm. So every text is fitted to its place, and the findings get
//! what the rest leaves of the whole. Limits: api.slack.com, "Block Kit: blocks reference"; the one for all blocks together is not documented
//! and was measured by others (slackapi/bolt-js issue 2509: about 13,200 characters).

use serde_json::{Value, json};
use shared::finding::{Finding, Severity};
use shared::human;
use shared::lambda::report_key;
use shared::report::{Fact, Outcome, Report, Unit};

use crate::config::is_link;
use crate::envelope::Content;
use crate::text::{code, fit, line, units, words};

const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3_000;
const FIELDS_MAX: usize = 10;
/// All blocks together, as JSON.
const BLOCKS_BYTES_MAX: usize = 12_000;
/// More are no use in a message.
const FINDINGS_MAX: usize = 10;
/// Of a message without blocks.
const PLAIN_MAX: usize = 3_500;

/// Where a reader finds more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The page of the runbook.
    pub runbook_url: Option<String>,
    /// The bucket that keeps the reports.
    pub bucket: String,
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
        json!({"text": self.text, "blocks": self.blocks, "unfurl_links": false, "unfurl_media": false})
    }

    /// What is posted when Slack refuses that.
    pub fn plain_message(&self) -> Value {
        json!({"text": self.plain, "unfurl_links": false, "unfurl_media": false})
    }
}

/// The message for whatever came.
pub fn card(content: &Content, places: &Places) -> Card {
    match content {
        Content::Report(report) => report_card(report, places),
        Content::Text { title, text } => text_card(title, text),
    }
}

fn text_card(title: &str, text: &str) -> Card {
    let blocks = vec![header("mailbox_with_mail", title), plain_section(text, 2_800)];
    let title = fit(title, HEADER_MAX);
    Card { plain: format!("{title}\n{}", fit(text, PLAIN_MAX - HEADER_MAX - 1)), text: title, blocks }
}

fn report_card(report: &Report, places: &Places) -> Card {
    let title = title(report);
    let (emoji, _) = outcome(report.outcome);
    let mut blocks = vec![header(emoji, &title), plain_section(&report.summary, 1_000)];
    blocks.extend(facts(&report.facts));
    let tail = [links(report), Some(context(report, places))];
    let mut size = bytes(&blocks) + tail.iter().flatten().map(|block| bytes(std::slice::from_ref(block))).sum::<usize>();
    // Room for the line that counts what is left out.
    size += 400;
    let mut shown = 0;
    for finding in report.findings.iter().take(FINDINGS_MAX) {
        // At length if there is room, else short.
        let mut blocks_of_it = [1, 5].into_iter().map(|shorter| section(&finding_text(finding, places, shorter)));
        let fitting =
            blocks_of_it.by_ref().map(|block| (bytes(std::slice::from_ref(&block)) + 1, block)).find(|(more, _)| size + more <= BLOCKS_BYTES_MAX);
        let Some((more, block)) = fitting else { break };
        size += more;
        blocks.push(block);
        shown += 1;
    }
    blocks.extend(left_out(report, shown).map(|text| section(&text)));
    blocks.extend(tail.into_iter().flatten());
    let text = fit(&format!("{title}: {}", report.summary), 400);
    Card { plain: plain(report, &title), text, blocks }
}

fn title(report: &Report) -> String {
    let database = report.subject.database.as_ref().map(|database| format!("/{database}")).unwrap_or_default();
    format!("{} {}: {}{database} ({})", report.job, outcome(report.outcome).1, report.subject.instance, report.stage)
}

/// Emoji and word of an outcome.
fn outcome(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Ok => ("white_check_mark", "ok"),
        Outcome::Attention => ("warning", "needs attention"),
        Outcome::Unknown => ("grey_question", "could not check everything"),
        Outcome::Failed => ("rotating_light", "failed"),
    }
}

/// Emoji and word of a severity.
fn severity(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Note => ("information_source", "note"),
        Severity::Warning => ("warning", "warning"),
        Severity::Unknown => ("grey_question", "unknown"),
        Severity::Critical => ("red_circle", "critical"),
    }
}

fn header(emoji: &str, title: &str) -> Value {
    let text = format!(":{emoji}: {}", fit(&line(title, HEADER_MAX), HEADER_MAX - emoji.len() - 3));
    json!({"type": "header", "text": {"type": "plain_text", "text": text, "emoji": true}})
}

/// Text that is not ours: nothing in it is markup.
fn plain_section(text: &str, characters_max: usize) -> Value {
    json!({"type": "section", "text": {"type": "plain_text", "text": fit(text, characters_max), "emoji": false}})
}

/// `verbatim`: Slack makes no links and mentions of its own.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": mrkdwn(text)})
}

fn facts(facts: &[Fact]) -> Option<Value> {
    let fields: Vec<Value> = facts
        .iter()
        .take(FIELDS_MAX)
        .map(|fact| {
            let value = match fact.unit {
                Unit::Seconds => human::seconds(fact.value),
                Unit::Hours => human::seconds(fact.value * 3600.0),
                Unit::Bytes => human::bytes(human::whole(fact.value)),
                Unit::Count => human::count(human::whole(fact.value)),
            };
            mrkdwn(&format!("*{}*\n{value}", fit(&words(&line(&fact.name, 60)).replace('*', " "), 60)))
        })
        .collect();
    (!fields.is_empty()).then(|| json!({"type": "section", "fields": fields}))
}

/// A finding, with its texts at length or so many times shorter. The parts add up to less than a section takes.
fn finding_text(finding: &Finding, places: &Places, shorter: usize) -> String {
    let (emoji, word) = severity(finding.severity);
    let mut lines = vec![
        format!(":{emoji}: *{word}: {}* {}", finding.kind.name(), code(&finding.subject, 400 / shorter)),
        format!("seen: {}", code(&finding.seen, 700 / shorter)),
    ];
    lines.extend(finding.expected.as_ref().map(|expected| format!("expected: {}", code(expected, 400 / shorter))));
    lines.extend(finding.hint.as_ref().map(|hint| fit(hint, 500 / shorter)));
    lines.extend(runbook(&finding.runbook, places));
    lines.join("\n")
}

fn runbook(anchor: &str, places: &Places) -> Option<String> {
    let url = places.runbook_url.as_deref().filter(|url| is_link(url))?;
    let anchored = !anchor.is_empty() && anchor.len() < 100 && anchor.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char));
    let (url, anchor) = (url.replace('&', "&amp;"), if anchored { anchor } else { "" });
    Some(format!("<{url}{}{anchor}|runbook>", if anchored { "#" } else { "" }))
}

/// How many findings are not shown, the worst first.
fn left_out(report: &Report, shown: usize) -> Option<String> {
    let hidden = &report.findings[shown..];
    let total = hidden.len() + report.findings_left_out;
    let mut kinds: Vec<String> = Vec::new();
    for wanted in [Severity::Critical, Severity::Unknown, Severity::Warning, Severity::Note] {
        let number = hidden.iter().filter(|finding| finding.severity == wanted).count();
        if number > 0 {
            kinds.push(format!("{} {}", human::count(number as u64), severity(wanted).1));
        }
    }
    if report.findings_left_out > 0 {
        kinds.push(format!("{} only in the whole report", human::count(report.findings_left_out as u64)));
    }
    (total > 0).then(|| format!("… and {} more: {}", human::count(total as u64), kinds.join(", ")))
}

fn links(report: &Report) -> Option<Value> {
    let lines: Vec<String> = report
        .links
        .iter()
        .take(3)
        .map(|link| {
            let title = fit(&line(&link.title, 80).replace('|', " "), 80);
            if is_link(&link.target) && link.target.len() < 300 {
                format!("<{}|{title}>", link.target.replace('&', "&amp;"))
            } else {
                format!("{title}: {}", code(&link.target, 200))
            }
        })
        .collect();
    let text = lines.join("\n");
    (!text.is_empty() && units(&text) <= SECTION_MAX).then(|| section(&text))
}

fn context(report: &Report, places: &Places) -> Value {
    let started = report.started_at.format("%Y-%m-%d %H:%M:%S UTC");
    let sha: String = report.git_sha.chars().take(10).collect();
    let line = format!(
        "Lifeboat {} ({}) · {} · started {started}, took {}",
        fit(&report.version, 30),
        fit(&sha, 20),
        code(&report.id, 250),
        human::seconds(report.duration_seconds)
    );
    let whole = code(&format!("aws s3 cp s3://{}/{} -", places.bucket, report_key(report)), 600);
    json!({"type": "context", "elements": [mrkdwn(&line), mrkdwn(&whole)]})
}

/// The same without blocks: less handsome, but nothing in it can be refused.
fn plain(report: &Report, title: &str) -> String {
    let mut text = format!("{}\n{}", fit(title, 300), fit(&report.summary, 1_000));
    let mut shown = 0;
    for finding in report.findings.iter().take(FINDINGS_MAX) {
        let line =
            format!("\n• {}: {} {}: {}", severity(finding.severity).1, finding.kind.name(), code(&finding.subject, 250), code(&finding.seen, 250));
        if units(&text) + units(&line) + 200 > PLAIN_MAX {
            break;
        }
        text.push_str(&line);
        shown += 1;
    }
    if let Some(more) = left_out(report, shown) {
        text.push('\n');
        text.push_str(&more);
    }
    text
}

fn bytes(blocks: &[Value]) -> usize {
    serde_json::to_vec(blocks).map_or(usize::MAX / 2, |json| json.len())
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
