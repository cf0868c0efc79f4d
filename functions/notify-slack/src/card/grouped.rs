//! Many alarms of one service in one message: how many, how bad, and the worst of them by name. Pure.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::finding::Severity;
use shared::human;

use super::blocks::{Pile, as_many, context, header, link, name, prose, section};
use super::when::moment;
use super::{Card, PLAIN_MAX, TEXT_MAX, parts};
use crate::config::is_link;
use crate::input::{Event, State};
use crate::text::units;

/// Members that are named.
const NAMED_MAX: usize = 25;
/// Rows of one block.
const ROWS: usize = 5;

/// Many of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    /// The service.
    pub service: String,
    /// `dev`, `staging` or `prod`, when it is one.
    pub stage: Option<String>,
    /// Who looks after it, when it is one.
    pub owner: Option<String>,
    /// Its members, in any order.
    pub members: Vec<Member>,
    /// Members that are not among them.
    pub left_out: usize,
    /// It is said so much later than it was sent: when it was sent.
    pub late_since: Option<DateTime<Utc>>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Key of its incident.
    pub key: String,
    /// Its name.
    pub title: String,
    /// What is the case.
    pub what: String,
    /// What is the case, in a word.
    pub state: State,
    /// How bad it is, or was.
    pub severity: Severity,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// Where to read on.
    pub address: Option<String>,
}

impl Member {
    /// An event as a member of a group.
    pub fn of(event: &Event) -> Self {
        Self {
            key: event.incident.as_ref().map_or_else(|| event.duplicate_key.clone(), |incident| incident.key.clone()),
            title: event.title.clone(),
            what: crate::input::shortened(&event.what, 200),
            state: event.state().unwrap_or(State::Firing),
            severity: event.severity,
            since: event.since,
            address: event.links.first().map(|link| link.target.clone()).filter(|address| is_link(address) && address.len() < 400),
        }
    }
}

/// The message of a burst.
pub fn grouped(group: &Group) -> Card {
    let total = group.members.len() + group.left_out;
    let mut members: Vec<&Member> = group.members.iter().collect();
    // What lasts comes first, the worst of it first, the oldest of that first.
    members.sort_by_key(|member| (member.state == State::Resolved, std::cmp::Reverse(member.severity), member.since));
    let lasting: Vec<&&Member> = members.iter().filter(|member| member.state != State::Resolved).collect();
    let worst = lasting.iter().map(|member| member.severity).max();
    let since = lasting.iter().filter_map(|member| member.since).min().or_else(|| members.iter().filter_map(|member| member.since).min());
    let sign = match worst {
        None if group.left_out == 0 => "✅",
        _ => parts::sign(Some(State::Firing), worst.unwrap_or(Severity::Critical)),
    };
    let count = |number: usize| human::count(number as u64);
    let service = if group.service.trim().is_empty() { "no service" } else { group.service.trim() };
    let title = match lasting.len() {
        0 if group.left_out == 0 => format!("{service}: all {} are over", count(total)),
        lasting if lasting == members.len() => format!("{service}: {} fire", count(total)),
        lasting => format!("{service}: {} of {} fire", count(lasting + group.left_out), count(total)),
    };

    let left_out = if group.left_out > 0 { format!(", {} not shown", count(group.left_out)) } else { String::new() };
    let mut standing =
        vec![format!("*{}{left_out}*{}", counted(&lasting), since.map(|since| format!(" since {}", moment(since))).unwrap_or_default())];
    standing.extend(group.stage.as_deref().map(|stage| prose(stage, 40)));
    standing.extend(group.owner.as_deref().map(|owner| format!("owner {}", name(owner))));
    standing.extend(group.late_since.map(|sent| format!("⏳ _late: sent {}_", moment(sent))));
    let standing = as_many(&standing, " · ", 1_000).unwrap_or_default();

    let rows: Vec<String> = members.iter().take(NAMED_MAX).map(|member| row(member)).collect();
    let mut pile = Pile::reserving(700);
    pile.push(header(sign, &title));
    pile.extend(section(std::slice::from_ref(&standing)));
    let mut shown = 0;
    for chunk in rows.chunks(ROWS) {
        if !section(chunk).is_some_and(|block| pile.push(block)) {
            break;
        }
        shown += chunk.len();
    }
    pile.release();
    let more = total - shown;
    pile.extend((more > 0).then(|| format!("… and {} more", count(more))).and_then(|text| section(&[text])));
    pile.extend(context(
        &["Many at once often have one cause: begin with the oldest.".to_owned()].map(|line| if lasting.len() > 1 { line } else { String::new() }),
    ));

    let text = as_many(&[format!("{sign} {}", prose(&title, 300))], "", TEXT_MAX).unwrap_or_else(|| sign.to_owned());
    let mut lines = vec![format!("{sign} *{}*", prose(&title, 250)), standing];
    let mut length: usize = lines.iter().map(|line| units(line) + 1).sum();
    let mut said = 0;
    for row in rows {
        length += units(&row) + 1;
        if length > PLAIN_MAX - 50 {
            break;
        }
        lines.push(row);
        said += 1;
    }
    lines.extend((total > said).then(|| format!("… and {} more", count(total - said))));
    Card { plain: lines.join("\n"), text, blocks: pile.into_blocks() }
}

/// `3 critical, 11 warning`.
fn counted(lasting: &[&&Member]) -> String {
    let mut counts = Vec::new();
    for severity in [Severity::Critical, Severity::Unknown, Severity::Warning, Severity::Note] {
        let number = lasting.iter().filter(|member| member.severity == severity).count();
        if number > 0 {
            counts.push(format!("{} {}", human::count(number as u64), parts::word(severity).to_lowercase()));
        }
    }
    if counts.is_empty() { "Over".to_owned() } else { counts.join(", ") }
}

fn row(member: &Member) -> String {
    let sign = parts::sign(Some(member.state), member.severity);
    let title = match member.address.as_deref().filter(|address| is_link(address)) {
        Some(address) => link(address, &member.title),
        None => name(&member.title),
    };
    let since = member.since.filter(|_| member.state != State::Resolved).map(|since| format!(" ({})", moment(since))).unwrap_or_default();
    format!("{sign} {title}: {}{since}", prose(&member.what, 140))
}
