//! Samples with their fields dropped, retyped, nested, renamed, swapped, blown up and filled with what hurts; each read, shown in every form, and judged.
//!
//! One seed is one input: what it finds is found again by it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, TimeDelta, Utc};
use notify_slack::card::{Card, Group, Member, Places, Standing, grouped, root, thread};
use notify_slack::input::{Event, State, read_all};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use shared::finding::Severity;

use super::judge::{PLANTED, mistakes};
use super::{Sample, as_sent, samples, wrapped};
use crate::soak::Counts;

/// Of an event as JSON: it may be kept in an incident's state.
const EVENT_BYTES_MAX: usize = 120_000;
/// Changes made to one sample.
const CHANGES_MAX: u32 = 6;
const WRONG_MAX: usize = 50;

/// What was seen.
#[derive(Debug, Default)]
pub struct Fuzzed {
    /// Inputs that were read.
    pub inputs: u64,
    /// What they were taken for, and how they stood.
    pub counts: Counts,
    /// What should not be, with its seed.
    pub wrong: Vec<String>,
}

/// Reads, shows and judges so many inputs, from this seed on.
pub fn fuzz(seed: u64, count: u64) -> Fuzzed {
    let samples = samples();
    let mut fuzzed = Fuzzed::default();
    for seed in seed..seed + count {
        fuzzed.inputs += 1;
        let mut rng = StdRng::seed_from_u64(seed);
        let body = input(&mut rng, &samples);
        let judged = catch_unwind(AssertUnwindSafe(|| judge(&body, &mut rng)));
        match judged {
            Ok((events, wrong)) => {
                for event in &events {
                    fuzzed.counts.add(event.source.name());
                    fuzzed.counts.add(event.state().map_or("no incident", |state| match state {
                        State::Firing => "firing",
                        State::Resolved => "resolved",
                        State::Unknown => "nothing known",
                    }));
                }
                fuzzed.wrong.extend(wrong.into_iter().map(|wrong| format!("seed {seed}: {wrong}")));
            }
            Err(_) => fuzzed.wrong.push(format!("seed {seed}: it panicked")),
        }
        if fuzzed.wrong.len() >= WRONG_MAX {
            break;
        }
    }
    fuzzed
}

fn places() -> Places {
    Places { runbook_url: Some("https://example.org/runbook?a=1&b=2".to_owned()), bucket: "backups".to_owned() }
}

/// What is wrong with what is made of it.
fn judge(body: &str, rng: &mut StdRng) -> (Vec<Event>, Vec<String>) {
    let now = DateTime::from_timestamp(1_795_402_510, 0).unwrap_or_default();
    let events = read_all(body, now);
    let mut wrong = Vec::new();
    if events.is_empty() {
        wrong.push("nothing was read".to_owned());
    }
    if read_all(body, now) != events {
        wrong.push("it is read in two ways".to_owned());
    }
    for event in &events {
        wrong.extend(event_mistakes(event));
        let standing = standing(rng, now);
        for (card, name) in [
            (root(event, &Standing::default(), &places()), "root"),
            (root(event, &standing, &Places::default()), "root"),
            (thread(event, &standing, &places()), "thread"),
        ] {
            wrong.extend(mistakes(&card).into_iter().map(|mistake| format!("{name}: {mistake}")));
            wrong.extend(emptiness(event, &card));
        }
    }
    let times = rng.random_range(1..40);
    let members: Vec<Member> = events.iter().map(Member::of).cycle().take(times).collect();
    let group = Group {
        service: events.first().map(|event| event.service.clone()).unwrap_or_default(),
        members,
        left_out: rng.random_range(0..500),
        ..Group::default()
    };
    wrong.extend(mistakes(&grouped(&group)).into_iter().map(|mistake| format!("grouped: {mistake}")));
    (events, wrong)
}

/// How bad it is must be on every card of something that lasts.
fn emptiness(event: &Event, card: &Card) -> Option<String> {
    let text = serde_json::to_string(&card.blocks).unwrap_or_default();
    let is_said = ["*Critical", "*Warning", "*Unknown", "*Note", "*No data", "*Resolved", "*Fine", "*Still so", "*One ", "*Fires again", "*It comes"]
        .iter()
        .any(|word| text.contains(word));
    (!is_said && event.incident.is_some()).then(|| format!("it does not say how it stands: {}", text.chars().take(300).collect::<String>()))
}

fn event_mistakes(event: &Event) -> Vec<String> {
    let mut wrong = Vec::new();
    let written = serde_json::to_vec(event).unwrap_or_default();
    if written.len() > EVENT_BYTES_MAX {
        wrong.push(format!("an event of {} bytes is kept", written.len()));
    }
    if serde_json::from_slice::<Event>(&written).ok().as_ref() != Some(event) {
        wrong.push("what is kept of it is another event".to_owned());
    }
    if event.duplicate_key.is_empty() || event.duplicate_key.len() > 1_000 || event.service.trim().is_empty() {
        wrong.push(format!("a key or a service is empty: {:?} {:?}", event.duplicate_key, event.service));
    }
    if event.incident.as_ref().is_some_and(|incident| !(5..=1_000).contains(&incident.key.len())) {
        wrong.push(format!("a key of an incident: {:?}", event.incident));
    }
    wrong
}

fn standing(rng: &mut StdRng, now: DateTime<Utc>) -> Standing {
    let some = |rng: &mut StdRng| rng.random_bool(0.5).then(|| now - TimeDelta::seconds(rng.random_range(-100_000..10_000_000)));
    Standing {
        since: some(rng),
        fired: rng.random_range(0..30),
        is_flapping: rng.random_bool(0.2),
        was: rng.random_bool(0.5).then(|| hostile(rng)),
        severity_was: rng.random_bool(0.5).then_some(Severity::Warning),
        late_since: some(rng),
        reminded_at: some(rng),
    }
}

// ---------------------------------------------------------------------------------------------------------------------------------------------
// Inputs
// ---------------------------------------------------------------------------------------------------------------------------------------------

/// A sample, changed.
fn input(rng: &mut StdRng, samples: &[Sample]) -> String {
    let sample = &samples[rng.random_range(0..samples.len())];
    let mut message = sample.message.clone();
    for _ in 0..rng.random_range(0..=CHANGES_MAX) {
        let other = &samples[rng.random_range(0..samples.len())].message;
        change(&mut message, rng, other, 0);
    }
    let by = if rng.random_bool(0.7) { sample.by.as_str() } else { ["raw", "sns", "snsRecords"][rng.random_range(0..3)] };
    let subject = if rng.random_bool(0.1) { Some(hostile(rng)) } else { sample.subject.clone() };
    let mut body = wrapped(by, subject.as_deref(), &as_sent(&message));
    if rng.random_bool(0.02) {
        // Cut off, as a text: no JSON any more.
        let end = rng.random_range(0..=body.len());
        body = body.chars().take(end).collect();
    }
    body
}

/// Changes one place, the deeper the likelier to stay there.
fn change(value: &mut Value, rng: &mut StdRng, other: &Value, depth: u32) {
    let goes_on = depth < 12 && rng.random_bool(if depth == 0 { 0.97 } else { 0.7 });
    match value {
        Value::Object(fields) if goes_on && !fields.is_empty() => {
            let name = fields.keys().nth(rng.random_range(0..fields.len())).cloned().unwrap_or_default();
            if rng.random_bool(0.12) {
                rearrange(fields, &name, rng);
            } else if let Some(inner) = fields.get_mut(&name) {
                change(inner, rng, other.get(&name).unwrap_or(other), depth + 1);
            }
        }
        Value::Array(items) if goes_on && !items.is_empty() => {
            let at = rng.random_range(0..items.len());
            match rng.random_range(0..6) {
                0 => {
                    items.remove(at);
                }
                1 => {
                    let copy = items[at].clone();
                    items.extend(std::iter::repeat_n(copy, 1_usize << rng.random_range(0..8_u32)));
                }
                _ => change(&mut items[at], rng, other, depth + 1),
            }
        }
        _ => *value = instead(value, rng, other),
    }
}

/// A field dropped, renamed, in other letters, or there twice.
fn rearrange(fields: &mut Map<String, Value>, name: &str, rng: &mut StdRng) {
    let Some(value) = fields.remove(name) else { return };
    match rng.random_range(0..4) {
        0 => {}
        1 => drop(fields.insert(name.to_uppercase(), value)),
        2 => drop(fields.insert(hostile(rng), value)),
        _ => {
            fields.insert(format!("{name}2"), value.clone());
            fields.insert(name.to_owned(), Value::String(value.to_string()));
        }
    }
}

/// Something else in its place.
fn instead(value: &Value, rng: &mut StdRng, other: &Value) -> Value {
    match rng.random_range(0..12) {
        0 => Value::Null,
        1 => json!(rng.random_bool(0.5)),
        2 => [json!(0), json!(-1), json!(1e308), json!(-1e-308), json!(u64::MAX), json!(i64::MIN), json!(0.1), json!(1_795_402_504), json!(86_400)]
            [rng.random_range(0..9)]
        .clone(),
        3 => json!([]),
        4 => json!({}),
        5 => other.clone(),
        6 => {
            let depth = 1_usize << rng.random_range(0..8_u32);
            (0..depth).fold(value.clone(), |inner, _| if depth.is_multiple_of(2) { json!([inner]) } else { json!({"a": inner}) })
        }
        7 => Value::String(hostile(rng).repeat(1_usize << rng.random_range(0..12_u32))),
        8 => Value::String(value.to_string()),
        9 => Value::String(format!("{}{}", value.as_str().unwrap_or_default(), hostile(rng))),
        _ => Value::String(hostile(rng)),
    }
}

/// Texts that hurt.
fn hostile(rng: &mut StdRng) -> String {
    const ODD: [&str; 26] = [
        "",
        " ",
        "\n\n",
        "&",
        "&amp;",
        "`",
        "```",
        "|",
        "'",
        "\u{202e}abc",
        "\u{0}",
        "😀",
        "漢",
        "👩‍👩‍👧‍👦",
        "NaN",
        "inf",
        "1e999",
        "-0",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2026-11-23T02:55:04.112+0000",
        "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:x",
        "https://x.example/?a=1&b=2",
        "Threshold Crossed: 3 out of the last 5 datapoints [1.0 (",
        "<@U012345>",
        "<!subteam^S1|x>",
    ];
    let mut text = String::new();
    for _ in 0..rng.random_range(1..4) {
        let part = if rng.random_bool(0.4) { PLANTED[rng.random_range(0..PLANTED.len())] } else { ODD[rng.random_range(0..ODD.len())] };
        text.push_str(part);
        if rng.random_bool(0.5) {
            text.push(' ');
        }
    }
    text
}
