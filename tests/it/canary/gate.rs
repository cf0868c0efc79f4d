//! What a pipeline relies on: the release before as a measure, a verdict in time, and an answer to every slip.

use std::time::Duration;

use canary::definition::Definitions;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use shared::failure::FailureKind;
use shared::lambda::Run;
use tests::world::{run, unique};

use super::site::{Act, Asked};
use super::{Case, OLD_SHA, SHA, definition, good, now, secure};

/// Answers of both releases, by the path, after so many milliseconds.
fn both(old_ms: u64, new_ms: u64) -> impl Fn(&Asked) -> Act + Send + Sync + 'static {
    move |asked| {
        let is_old = asked.headers.iter().any(|header| header == "x-release: old");
        let (sha, version, after) = if is_old { (OLD_SHA, "1.4.1", old_ms) } else { (SHA, "1.4.2", new_ms) };
        Act::json(&json!({"git_sha": sha, "version": version})).after(after)
    }
}

fn of(release: &str) -> String {
    format!("headers = {{ X-Release = \"{release}\" }}\np95-max-ms = 20000\np95-ratio-floor-ms = 100\np95-ratio-max = 1.5\ntimeout-seconds = 10")
}

#[test]
fn the_release_before_is_the_measure_and_the_same_release_is_not() {
    run(async {
        let site = secure(both(150, 1_200)).await;
        let case = Case::new(&definition(&site.url("/healthz"), &of("old"))).await;
        let old = case.canary_of(&json!({"version": "1.4.1", "gitSha": OLD_SHA})).await;
        assert_eq!((old.verdict(), old.check("latencyRatio").1), ("pass", "there is no release before to compare with"));
        // Once more: its own figures are no measure.
        let again = case.canary_of(&json!({"version": "1.4.1", "gitSha": &OLD_SHA[..10]})).await;
        assert_eq!(again.check("latencyRatio").1, "there is no release before to compare with");

        case.define(&definition(&site.url("/healthz"), &of("new"))).await;
        let new = case.canary().await;
        new.fails_by(&["latencyRatio"], "1.4.1 (1dea5eed1d) had ");
        assert_eq!(new.kinds(), ["answersSlow"]);
        // What failed is no measure for what comes after it.
        let next = case.canary_of(&json!({"version": "1.4.2", "gitSha": SHA})).await;
        assert!(next.check("latencyRatio").1.contains("1.4.1 (1dea5eed1d) had "), "{}", next.check("latencyRatio").1);
        assert_eq!(case.keys("canary/app-db/deploys/").await.len(), 4, "each run has a record of its own");
    });
}

#[test]
fn figures_of_another_url_are_no_measure() {
    run(async {
        let site = secure(both(150, 1_200)).await;
        let case = Case::new(&definition(&site.url("/healthz"), &of("old"))).await;
        case.canary_of(&json!({"gitSha": OLD_SHA})).await;
        case.define(&definition(&site.url("/healthz?deep=1"), &of("new"))).await;
        let new = case.canary().await;
        assert_eq!((new.verdict(), new.check("latencyRatio").1), ("pass", "there is no release before to compare with"));
    });
}

#[test]
fn what_did_not_fit_into_the_time_is_unknown_and_not_passed() {
    run(async {
        let site = secure(good).await;
        let definition = definition(&site.url("/healthz"), "pace-seconds = 1\nrequests = 60");
        let case = Case::new(&definition).await;
        // Four seconds, of which two are kept for the end.
        let run = Run::new(format!("request-{}", unique()), now(), Duration::from_secs(4));
        let reply = case.handler.invoke(json!({"kind": "canary", "release": {"gitSha": SHA}}), &run, now).await.expect("an answer in time");
        assert!(run.started.elapsed() < Duration::from_secs(4));
        let sent = reply["targets"][0]["requests"].as_u64().expect("a number");
        assert!(reply["verdict"] == "unknown" && (1..=3).contains(&sent), "{reply:#}");
        assert_eq!(reply["findings"][0]["kind"], "notChecked");
    });
}

#[test]
fn a_release_that_is_not_named_is_told_and_not_judged() {
    run(async {
        let site = secure(good).await;
        let case = Case::new(&definition(&site.url("/healthz"), "")).await;
        let reply = case.invoke(&json!({"kind": "canary"})).await.expect("a verdict");
        assert_eq!((reply["verdict"].as_str(), &reply["targets"][0]["gitShas"][SHA]), (Some("pass"), &json!(20)));
        // Short hashes are the same commit, whoever shortens.
        let short = case.canary_of(&json!({"gitSha": &SHA[..7]})).await;
        assert_eq!(short.verdict(), "pass");
        let close = case.canary_of(&json!({"gitSha": format!("{}f", &SHA[..7])})).await;
        assert_eq!(close.verdict(), "fail");
        // What nobody can say was not checked.
        case.define(&definition(&site.url("/"), "kind = \"page\"")).await;
        let page = case.canary().await;
        assert_eq!((page.verdict(), page.not_passed(), page.kinds()), ("unknown", vec!["gitSha"], vec!["notChecked"]));
        assert_eq!(case.invoke(&json!({"kind": "canary"})).await.expect("a verdict")["verdict"], "pass");
    });
}

#[test]
fn a_slip_is_a_failure_with_its_place_and_no_verdict() {
    run(async {
        let site = secure(good).await;
        let case = Case::new(&definition(&site.url("/healthz"), "requsts = 5")).await;
        let fails = async |event: Value, kind: FailureKind, says: &str| {
            let failure = case.invoke(&event).await.expect_err(says);
            assert!(failure.kind == kind && failure.to_string().contains(says), "{failure}");
        };
        let lines = definition(&site.url("/healthz"), "").lines().count();
        fails(json!({"kind": "canary"}), FailureKind::BadSettings, &format!("line {lines}: unknown field `requsts`")).await;
        fails(json!({"kind": "watch"}), FailureKind::BadSettings, "unknown field `requsts`").await;
        fails(json!({"kind": "canary", "release": {"gitSha": "main"}}), FailureKind::BadRequest, "release.gitSha is \"main\"").await;
        fails(json!({"kind": "cannary"}), FailureKind::BadRequest, "cannary").await;
        assert_eq!(site.asked().len(), 0);
    });
}

#[test]
fn a_bucket_that_cannot_be_read_is_told_and_keeps_no_verdict_from_the_pipeline() {
    run(async {
        let site = secure(good).await;
        let case = Case::with(&definition(&site.url("/healthz"), ""), &[("LIFEBOAT_BUCKET", "nothing-there")]).await;
        let said = case.canary().await;
        assert_eq!((said.verdict(), said.not_passed(), said.kinds()), ("unknown", vec!["latencyRatio"], vec!["runFailed", "notChecked"]));
        assert!(said.check("latencyRatio").1.contains("NoSuchBucket"), "{}", said.check("latencyRatio").1);
        // Without it the watch does not know what it said, and says so.
        let failure = case.invoke(&json!({"kind": "watch"})).await.expect_err("no bucket");
        assert!(failure.to_string().contains("nothing-there"), "{failure}");
    });
}

#[test]
fn definitions_may_be_an_object() {
    run(async {
        let site = secure(good).await;
        let case = Case::with("nothing", &[("CANARY_DEFINITIONS", "s3://BUCKET/settings/canary.toml")]).await;
        let failure = case.invoke(&json!({"kind": "canary"})).await.expect_err("it is not there");
        assert!(failure.kind == FailureKind::BadSettings && failure.to_string().contains("settings/canary.toml is not there"), "{failure}");
        let text = definition(&site.url("/healthz"), "");
        case.bed.store.put("settings/canary.toml", text.into_bytes(), "application/toml").await.expect("put the definitions");
        assert_eq!(case.canary().await.verdict(), "pass");
    });
}

#[test]
fn whatever_is_written_is_read_or_named_with_its_line() {
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let page = std::fs::read_to_string(tests::world::file("docs/canary.md")).expect("the page");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let alphabet: Vec<char> = "[]{}=\"'#\n.,-_ /:09azé\u{0}".chars().collect();
    let mut read = 0;
    for number in 0..20_000 {
        let mut text: Vec<char> = example.chars().collect();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..text.len());
            match random.random_range(0..3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, alphabet[random.random_range(0..alphabet.len())]),
                _ => text.truncate(text.len() - random.random_range(0..10)),
            }
        }
        let text: String = text.into_iter().collect();
        match Definitions::read(&text) {
            Ok(definitions) => read += usize::from(!definitions.targets.is_empty()),
            Err(failure) => assert!(failure.to_string().contains("line "), "seed {seed}, {number}: {failure}"),
        }
    }
    assert!((1_000..19_000).contains(&read), "seed {seed}: {read} were read");
}
