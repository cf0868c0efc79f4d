use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::definition::Definitions;
use crate::verdict::{Verdict, findings};

const SHA: &str = "0badcafe0badcafe0badcafe0badcafe0badcafe";

fn target(more: &str) -> Target {
    let text = format!("[[target]]\nname = \"health\"\nurl = \"https://shop.example/healthz\"\n{more}");
    Definitions::read(&text).expect("definitions").targets.remove(0)
}

fn answered(milliseconds: u64) -> Attempt {
    let seen = Seen { depth: Depth::Content, wrong: Vec::new(), git_sha: Some(SHA.to_owned()), version: Some("1.4.2".to_owned()) };
    attempt(Outcome::Answered(seen), milliseconds)
}

fn attempt(outcome: Outcome, milliseconds: u64) -> Attempt {
    Attempt { outcome, latency: Duration::from_millis(milliseconds), first_byte: None, setup: None }
}

fn now() -> DateTime<Utc> {
    "2026-11-23T02:00:00Z".parse().expect("a time")
}

fn release() -> Release {
    Release { version: Some("1.4.2".to_owned()), git_sha: Some(SHA.to_owned()) }
}

fn checks(target: &Target, series: &Series, latency: Latency<'_>, certificates: &[Certificate]) -> Vec<Check> {
    let release = release();
    let figures = figures(series, target, certificates);
    judge(&Evidence { target, series, certificates, release: &release, latency, now: now() }, &figures)
}

fn result(checks: &[Check], name: Name) -> Option<CheckResult> {
    checks.iter().find(|check| check.name == name).map(|check| check.result)
}

fn sixty(attempts: impl Fn(usize) -> Attempt) -> Series {
    Series { planned: 60, attempts: (0..60).map(attempts).collect() }
}

#[test]
fn a_clean_series_passes_every_check() {
    let checks = checks(&target(""), &sixty(|_| answered(20)), Latency::WithoutBaseline, &[]);
    assert!(checks.iter().all(|check| check.result == CheckResult::Pass), "{checks:#?}");
    assert_eq!((Verdict::of(&checks), findings(&checks).len()), (Verdict::Pass, 0));
}

#[test]
fn a_p95_is_judged_by_the_limit_and_by_the_release_before_from_the_floor_on() {
    let target = target("p95-max-ms = 1000\np95-ratio-max = 1.5\np95-ratio-floor-ms = 300");
    let ratio = |now_ms: u64, before_ms: f64| {
        let baseline = Baseline { release: "1.4.1".into(), p95_ms: before_ms };
        let checks = checks(&target, &sixty(|_| answered(now_ms)), Latency::Against(&baseline), &[]);
        (result(&checks, Name::Latency), result(&checks, Name::LatencyRatio))
    };
    let (pass, fail) = (Some(CheckResult::Pass), Some(CheckResult::Fail));
    assert_eq!(ratio(299, 10.0), (pass, pass), "below the floor nobody notices");
    assert_eq!(ratio(301, 10.0), (pass, fail));
    assert_eq!(ratio(600, 400.0), (pass, pass), "exactly so many times is allowed");
    assert_eq!(ratio(601, 400.0), (pass, fail));
    assert_eq!(ratio(1_001, 900.0), (fail, pass));
    let unknown = checks(&target, &sixty(|_| answered(20)), Latency::BaselineUnknown("denied"), &[]);
    assert_eq!((result(&unknown, Name::LatencyRatio), Verdict::of(&unknown)), (Some(CheckResult::Unknown), Verdict::Unknown));
    let single = checks(&target, &sixty(|_| answered(5_000)), Latency::NotJudged, &[]);
    assert_eq!((result(&single, Name::Latency), Verdict::of(&single)), (None, Verdict::Pass));
}

#[test]
fn a_request_that_waited_in_vain_is_slow_and_one_that_was_refused_is_not() {
    let series = |trouble: Trouble| sixty(|number| if number < 6 { attempt(Outcome::Unanswered(trouble.clone()), 5_000) } else { answered(20) });
    let target = target("failed-percent-max = 50");
    let timed_out = checks(&target, &series(Trouble::TimedOut(crate::probe::Phase::FirstByte)), Latency::WithoutBaseline, &[]);
    assert_eq!(result(&timed_out, Name::Latency), Some(CheckResult::Fail));
    let refused = checks(&target, &series(Trouble::Connect("refused".into())), Latency::WithoutBaseline, &[]);
    assert_eq!((result(&refused, Name::Latency), result(&refused, Name::Answers)), (Some(CheckResult::Pass), Some(CheckResult::Pass)));
}

#[test]
fn the_allowed_share_is_exact() {
    let failed = |count: usize| sixty(move |number| if number < count { attempt(Outcome::ServerError(502), 20) } else { answered(20) });
    let answers = |share: &str, count| result(&checks(&target(share), &failed(count), Latency::WithoutBaseline, &[]), Name::Answers);
    assert_eq!(answers("failed-percent-max = 5", 3), Some(CheckResult::Pass));
    assert_eq!(answers("failed-percent-max = 5", 4), Some(CheckResult::Fail));
    assert_eq!(answers("", 1), Some(CheckResult::Fail));
}

#[test]
fn more_that_is_wrong_never_makes_a_verdict_better() {
    // Each attempt of a clean series is broken in turn, in each way: no verdict may become better than the one before.
    let breaks: [fn() -> Outcome; 4] = [
        || Outcome::Unanswered(Trouble::Connect("refused".into())),
        || Outcome::ServerError(500),
        || {
            Outcome::Answered(Seen {
                depth: Depth::Content,
                wrong: vec![(Name::Content, "x".into())],
                git_sha: Some(SHA.into()),
                version: Some("1.4.2".into()),
            })
        },
        || Outcome::Answered(Seen { depth: Depth::Content, wrong: Vec::new(), git_sha: Some("1dea5eed".into()), version: Some("1.4.2".into()) }),
    ];
    for broken in breaks {
        let mut series = sixty(|_| answered(20));
        let mut before = Verdict::Pass;
        for number in 0..60 {
            series.attempts[number].outcome = broken();
            let verdict = Verdict::of(&checks(&target("failed-percent-max = 50"), &series, Latency::WithoutBaseline, &[]));
            assert!(verdict == before || before == Verdict::Pass, "{number}: {verdict:?} after {before:?}");
            before = verdict;
        }
        assert_eq!(before, Verdict::Fail);
    }
}

#[test]
fn the_first_certificate_to_run_out_counts_to_the_day() {
    let certificate = |days: i64| Certificate { host: format!("{days}.example"), valid_until: now() + TimeDelta::days(days) };
    let judged = |days: &[i64]| {
        let certificates: Vec<Certificate> = days.iter().map(|days| certificate(*days)).collect();
        let checks = checks(&target("certificate-days-min = 14"), &sixty(|_| answered(20)), Latency::WithoutBaseline, &certificates);
        checks.into_iter().find(|check| check.name == Name::Certificate).map(|check| (check.result, check.seen))
    };
    assert_eq!(judged(&[]), None);
    assert_eq!(judged(&[14, 300]).map(|(result, _)| result), Some(CheckResult::Pass));
    let (result, seen) = judged(&[300, 13]).expect("a check");
    assert_eq!((result, seen.as_str()), (CheckResult::Warn, "that of 13.example is good until 2026-12-06T02:00:00Z, 13 more days"));
}

#[test]
fn what_was_not_measured_is_unknown() {
    let short = Series { planned: 60, attempts: (0..40).map(|_| answered(20)).collect() };
    let judged = checks(&target(""), &short, Latency::WithoutBaseline, &[]);
    assert_eq!((result(&judged, Name::Measured), Verdict::of(&judged)), (Some(CheckResult::Unknown), Verdict::Unknown));
    let nothing = Series { planned: 60, attempts: Vec::new() };
    assert_eq!(Verdict::of(&checks(&target(""), &nothing, Latency::WithoutBaseline, &[])), Verdict::Unknown);
    // Given up because nothing answers: that is known.
    let dead = Series { planned: 60, attempts: (0..10).map(|_| attempt(Outcome::Unanswered(Trouble::Connect("refused".into())), 1)).collect() };
    assert_eq!(Verdict::of(&checks(&target(""), &dead, Latency::WithoutBaseline, &[])), Verdict::Fail);
}

#[test]
fn a_commit_may_be_shortened_to_seven_digits() {
    for (said, is_it) in [(SHA, true), ("0BADCAFE", true), ("0badcaf", true), ("0badca", false), ("", false), ("0badcaff", false)] {
        assert_eq!(is_commit(said, SHA), is_it, "{said}");
        assert_eq!(is_commit(SHA, said), is_it, "{said}");
    }
}

#[test]
fn many_different_things_are_listed_the_most_frequent_first() {
    let counted: BTreeMap<String, usize> =
        [("a", 1), ("b", 7), ("c", 1), ("d", 1), ("e", 1), ("f", 1)].map(|(what, count)| (what.to_owned(), count)).into();
    assert_eq!(most(&counted), "7 × b, 1 × a, 1 × c, 1 × d, and 2 other things");
}

#[test]
fn a_release_that_no_target_can_confirm_is_not_confirmed() {
    let (health, page) = (target(""), target("kind = \"page\""));
    let of = |targets: &[Target], git_sha: Option<&str>, version: Option<&str>| {
        unproved(targets, &Release { git_sha: git_sha.map(str::to_owned), version: version.map(str::to_owned) })
            .map(|check| (check.name, check.result))
    };
    let unknown = Some(CheckResult::Unknown);
    assert_eq!(of(std::slice::from_ref(&page), Some(SHA), None), unknown.map(|result| (Name::GitSha, result)));
    assert_eq!(of(std::slice::from_ref(&page), None, Some("1")), unknown.map(|result| (Name::Version, result)));
    assert_eq!(of(&[page.clone(), health], Some(SHA), Some("1")), None);
    assert_eq!(of(&[page], None, None), None);
    assert!(of(&[target("git-sha = \"\"")], Some(SHA), None).is_some() && of(&[target("git-sha = \"\"")], Some(SHA), Some("1")).is_none());
}
