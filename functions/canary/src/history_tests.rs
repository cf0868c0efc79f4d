use chrono::TimeDelta;
use shared::finding::FindingKind;

use super::*;
use crate::definition::Definitions;

fn target(url: &str) -> Target {
    Definitions::read(&format!("[[target]]\nname = \"health\"\nurl = \"{url}\"\n")).expect("definitions").targets.remove(0)
}

fn release(sha: &str) -> Release {
    Release { git_sha: Some(sha.to_owned()), version: None }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn deploy(sha: &str, verdict: Verdict, p95_ms: f64, requests: usize) -> Deploy {
    let figures = Figures { requests, p95_ms: Some(p95_ms), ..Figures::default() };
    let measured = Measured { name: "health".into(), fingerprint: fingerprint(&target("https://shop.example/healthz")), figures };
    Deploy::new(at("2026-11-23T02:00:00Z"), None, release(sha), verdict, vec![measured], Vec::new())
}

#[test]
fn the_newest_good_record_of_another_release_is_the_measure() {
    let records = [
        deploy("cccccccc", Verdict::Pass, 50.0, 60),
        deploy("bbbbbbbb", Verdict::Fail, 40.0, 60),
        deploy("bbbbbbbb", Verdict::Unknown, 40.0, 60),
        deploy("aaaaaaaa", Verdict::Pass, 30.0, 9),
        deploy("aaaaaaaa", Verdict::Pass, 20.0, 60),
        deploy("99999999", Verdict::Pass, 10.0, 60),
    ];
    let of = |url: &str, sha: &str| baseline(&records, &target(url), &release(sha)).map(|found| (found.release, found.p95_ms));
    let url = "https://shop.example/healthz";
    assert_eq!(of(url, "cccccccccc"), Some(("aaaaaaaa".to_owned(), 20.0)), "neither itself, nor what failed, nor what was asked too seldom");
    assert_eq!(of(url, "dddddddd"), Some(("cccccccc".to_owned(), 50.0)));
    assert_eq!(of("https://shop.example/other", "dddddddd"), None);
    assert_eq!(baseline(&records, &target(url), &Release::default()).map(|found| found.p95_ms), Some(50.0), "without a name, the newest");
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let record = deploy("aaaaaaaa", Verdict::Pass, 20.0, 60);
    let json = serde_json::to_vec(&record).expect("write");
    assert_eq!(serde_json::from_slice::<Deploy>(&json).expect("read"), record);
}

#[test]
fn a_fingerprint_is_of_the_question_and_not_of_what_is_expected() {
    let same = fingerprint(&target("https://shop.example/healthz"));
    let mut other = target("https://shop.example/healthz");
    (other.p95_max, other.requests) = (std::time::Duration::from_secs(9), 7);
    assert_eq!(fingerprint(&other), same);
    other.requests_per_connection = 1;
    assert_ne!(fingerprint(&other), same);
    assert_ne!(fingerprint(&target("https://shop.example/healthz?deep")), same);
}

#[test]
fn the_watch_speaks_of_changes_and_reminds_of_what_stays() {
    let now = at("2026-11-23T02:00:00Z");
    let down = || Watched::of(&[Finding::new(FindingKind::RequestsFailed, "health", "x"), Finding::new(FindingKind::AskedInClear, "page", "x")]);
    let expiring = || Watched::of(&[Finding::new(FindingKind::CertificateExpires, "health", "x")]);
    let well = || Watched::of(&[Finding::new(FindingKind::AskedInClear, "page", "x")]);
    assert!(down().is_urgent && !expiring().is_urgent && well().wrong.is_empty());
    let said = |watched: Watched, ago: TimeDelta| watched.said("then", now - ago);
    let (minutes, hours) = (TimeDelta::minutes, TimeDelta::hours);
    for (watched, last, is_news) in [
        (well(), None, false),
        (down(), None, true),
        (well(), Some(said(well(), hours(99))), false),
        (well(), Some(said(down(), minutes(5))), true),
        (down(), Some(said(well(), minutes(5))), true),
        (down(), Some(said(down(), minutes(5))), false),
        (down(), Some(said(down(), minutes(60))), true),
        (expiring(), Some(said(down(), minutes(5))), true),
        (expiring(), Some(said(expiring(), hours(3))), false),
        (expiring(), Some(said(expiring(), hours(24))), true),
    ] {
        assert_eq!(watched.is_news(last.as_ref(), "now", now), is_news, "{watched:?} after {last:?}");
        assert!(last.is_none() || watched.is_news(last.as_ref(), "then", now), "a retry says it again");
    }
}

#[test]
fn names_sort_by_time_and_differ_by_invocation() {
    let first = at("2026-11-23T02:00:00.120Z");
    assert_eq!(name(first, "a/b"), "2026-11-23T02-00-00Z-120-a%2Fb.json");
    assert!(name(first, "z") < name(first + TimeDelta::milliseconds(1), "a") && name(first, "a") != name(first, "b"));
}
