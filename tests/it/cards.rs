//! What `notify-slack` makes of what comes: of each sample what must be read from it, and every card as a person reads it, reviewed and kept in
//! `tests/golden/cards/`; then a share of the fuzzer (`soak cards` runs it at length).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use notify_slack::card::{Places, Standing, root};
use notify_slack::input::{Event, read};
use serde_json::{Value, json};
use tests::cards::{Sample, fuzz, in_words, mistakes, samples};

const SEED: u64 = 1;
const INPUTS: u64 = 1_500;

fn sent_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_402_510, 0).expect("a time")
}

fn places() -> Places {
    Places { runbook_url: Some("https://example.org/runbook".into()), bucket: "example-backups".into() }
}

fn of(sample: &Sample) -> Event {
    read(&sample.body(), sent_at())
}

/// What a sample may expect of an event, by the same names.
fn seen(event: &Event) -> BTreeMap<&'static str, Value> {
    let incident = event.incident.as_ref();
    BTreeMap::from([
        ("source", json!(event.source)),
        ("severity", json!(event.severity)),
        ("state", json!(event.state())),
        ("key", json!(incident.map(|incident| &incident.key))),
        ("part", json!(incident.and_then(|incident| incident.part.as_ref()))),
        ("title", json!(event.title)),
        ("what", json!(event.what)),
        ("since", json!(event.since.map(|since| since.to_rfc3339_opts(SecondsFormat::Secs, true)))),
        ("quiet", json!(event.quiet)),
        ("owner", json!(event.owner)),
        ("stage", json!(event.stage)),
        ("service", json!(event.service)),
        ("runbook", json!(event.runbook)),
    ])
}

/// These are absent unless a sample expects them.
const ABSENT: [&str; 4] = ["state", "key", "part", "quiet"];

fn reading_mistakes(sample: &Sample) -> Vec<String> {
    let (event, expect) = (of(sample), sample.expect.as_object().expect("expectations"));
    let seen = seen(&event);
    let mut wrong: Vec<String> =
        expect.keys().filter(|name| !seen.contains_key(name.as_str())).map(|name| format!("{}: nobody looks at {name}", sample.path)).collect();
    for (name, value) in &seen {
        let is_expected = match expect.get(*name) {
            Some(expected) => value == expected,
            None => value.is_null() || !ABSENT.contains(name) || (*name == "key" && expect.contains_key("state")),
        };
        if !is_expected {
            wrong.push(format!("{}: {name} is {value}, expected {}", sample.path, expect.get(*name).unwrap_or(&Value::Null)));
        }
    }
    wrong
}

#[test]
fn of_each_sample_is_read_what_must_be() {
    let samples = samples();
    assert!(samples.len() >= 60, "{} samples", samples.len());
    let wrong: Vec<String> = samples.iter().flat_map(reading_mistakes).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut planted = samples[0].clone();
    planted.expect["what"] = json!("something else");
    assert_eq!(reading_mistakes(&planted).len(), 1);
}

#[test]
fn all_encodings_of_an_alarm_are_one_incident_and_one_event() {
    let samples = samples();
    let find = |name: &str| of(samples.iter().find(|sample| sample.name() == name).expect(name));
    let alike = ["alarm-metric-eventbridge", "alarm-metric-sns", "alarm-metric-direct", "alarm-metric-sns-records", "alarm-metric-sns-without-arn"];
    let keys: BTreeSet<(String, Option<String>)> =
        alike.iter().map(|name| find(name)).map(|event| (event.duplicate_key, event.incident.map(|incident| incident.key))).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    for pair in [
        ["alarm-math-eventbridge", "alarm-math-sns"],
        ["alarm-anomaly-eventbridge", "alarm-anomaly-sns"],
        ["alarm-composite-eventbridge", "alarm-composite-sns"],
    ] {
        let [one, other] = pair.map(&find);
        assert_eq!((one.duplicate_key, one.incident, one.what), (other.duplicate_key, other.incident, other.what), "{pair:?}");
    }
    let (fires, over) = (find("alarm-metric-sns"), find("alarm-resolved-eventbridge"));
    assert_ne!(fires.duplicate_key, over.duplicate_key);
    assert!(fires.incident.map(|incident| incident.at) < over.incident.map(|incident| incident.at));
}

#[test]
fn every_card_is_one_that_slack_takes_and_pings_nobody() {
    for sample in samples() {
        let card = root(&of(&sample), &Standing::default(), &places());
        assert_eq!(mistakes(&card), Vec::<String>::new(), "{}", sample.path);
    }
}

/// How every card of a sort reads.
fn golden(samples: &[Sample], sort: &str) -> String {
    let mut text = String::new();
    for sample in samples.iter().filter(|sample| sort_of(sample) == sort) {
        let card = root(&of(sample), &Standing::default(), &places());
        text.push_str(&format!("=== {}: {}\n{}\n\n", sample.path, sample.about, in_words(&card)));
    }
    text
}

fn sort_of(sample: &Sample) -> String {
    sample.name().split('-').next().unwrap_or_default().to_owned()
}

#[test]
fn every_card_reads_as_it_was_reviewed() {
    let samples = samples();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cards");
    let mut changed = Vec::new();
    for sort in samples.iter().map(sort_of).collect::<BTreeSet<_>>() {
        let (now, kept) = (golden(&samples, &sort), std::fs::read_to_string(folder.join(format!("{sort}.txt"))).unwrap_or_default());
        if now != kept {
            let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{sort}.txt"));
            std::fs::write(&place, now).expect("write what it is now");
            changed.push(format!("tests/golden/cards/{sort}.txt is not {}", place.display()));
        }
    }
    assert!(changed.is_empty(), "{}\nread the difference; if it is better, copy it", changed.join("\n"));
}

#[test]
fn changed_samples_are_cards_too() {
    let fuzzed = fuzz(SEED, INPUTS);
    assert!(fuzzed.wrong.is_empty(), "{}", fuzzed.wrong.join("\n"));
    assert_eq!(fuzzed.inputs, INPUTS);
    for sort in ["CloudWatch alarm", "RDS", "AWS Backup", "Lifeboat", "Dead letter", "Message", "firing", "resolved", "nothing known", "no incident"]
    {
        assert!(fuzzed.counts.of(sort) > 5, "{sort}: {}", fuzzed.counts);
    }
}
