//! What is wrong with answers, and with their absence: each is shown to be found in a server that is otherwise well.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tests::world::run;
use tokio::net::TcpListener;

use super::site::{Act, Asked, Site};
use super::{Case, OLD_SHA, SHA, Said, definition, good, secure};

/// What is said of a server that does this.
async fn said(more: &str, behaviour: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Said {
    let site = secure(behaviour).await;
    let case = Case::new(&definition(&site.url("/healthz"), more)).await;
    // A page says no release.
    if more.contains("kind = \"page\"") { case.canary_of(&json!({})).await } else { case.canary().await }
}

#[test]
fn another_release_and_a_mixture_are_told_with_their_shares() {
    run(async {
        let old = |_: &Asked| Act::json(&json!({"git_sha": OLD_SHA, "version": "1.4.1"}));
        let wrong = said("", old).await;
        wrong.fails_by(&["gitSha", "version"], &format!("0 of 20 answers; at /git_sha: 20 × {OLD_SHA}"));
        assert_eq!(wrong.kinds(), ["releaseNotServed"]);

        let mixed = said("", move |asked| if asked.number % 4 == 0 { old(asked) } else { good(asked) }).await;
        mixed.fails_by(&["gitSha", "version"], &format!("15 of 20 answers; at /git_sha: 15 × {SHA}, 5 × {OLD_SHA}"));
        assert_eq!((&mixed.reply["targets"][0]["gitShas"][SHA], &mixed.reply["targets"][0]["versions"]["1.4.1"]), (&json!(15), &json!(5)));

        let silent = said("", |_| Act::json(&json!({"status": "ok", "version": "1.4.2"}))).await;
        silent.fails_by(&["gitSha"], "0 of 20 answers; at /git_sha: 20 × (none)");
    });
}

#[test]
fn one_server_error_of_many_fails_unless_it_is_allowed() {
    run(async {
        let one = |asked: &Asked| if asked.number == 7 { Act::text(503, "busy") } else { good(asked) };
        let wrong = said("requests = 60", one).await;
        wrong.fails_by(&["answers"], "1 of 60 requests failed: 1 × status 503");
        assert_eq!(wrong.kinds(), ["requestsFailed"]);
        assert_eq!(said("requests = 60\nfailed-percent-max = 2", one).await.verdict(), "pass");
        assert_eq!(said("requests = 60\nfailed-percent-max = 1.5", one).await.verdict(), "fail");
    });
}

#[test]
fn bad_json_and_wrong_content_are_shown() {
    run(async {
        let cut = said("", |_| Act::text(200, "{\"git_sha\": \"0bad")).await;
        cut.fails_by(&["json"], "20 of 20 answers: 20 × no JSON: ");
        assert!(cut.check("json").1.contains(r#"it begins with "{\"git_sha\""#), "{}", cut.check("json").1);

        let page = said("", |_| Act::text(200, "<html><script>alert('<!channel>')</script>")).await;
        page.fails_by(&["json"], "it begins with \"<html>");

        let degraded = said("json = [{ at = \"/status\", is = \"ok\" }]", |asked| {
            if asked.number == 3 { Act::json(&json!({"status": "degraded", "git_sha": SHA, "version": "1.4.2"})) } else { good(asked) }
        })
        .await;
        degraded.fails_by(&["content"], r#"1 of 20 answers: 1 × at /status is "degraded""#);
        assert_eq!(degraded.kinds(), ["answerWrong"]);
        said("kind = \"page\"\ncontains = \"Welcome\"", good).await.fails_by(&["content"], "the text is not in the body");
        let missing = said("", |_| Act::text(404, "{}")).await;
        missing.fails_by(&["status"], "20 of 20 answers: 20 × status 404");
        assert!(!missing.has("json") && !missing.has("body"), "of an error page nothing else is said: {:#}", missing.reply["checks"]);
        let half = said("", |asked| if asked.number % 2 == 0 { Act::text(404, "{}") } else { good(asked) }).await;
        half.fails_by(&["status"], "10 of 20 answers: 10 × status 404");
        assert_eq!(half.check("json"), ("pass", "10 of 10 answers"));
    });
}

#[test]
fn too_much_and_too_little_of_a_body_are_noticed() {
    run(async {
        let small = "kind = \"page\"\nbody-bytes-max = 20000\nbody-bytes-min = 100";
        said(small, |_| Act::Endless).await.fails_by(&["body"], "20 of 20 answers: 20 × more than 20.0 kB");
        said(small, |_| Act::text(200, &"x".repeat(20_001))).await.fails_by(&["body"], "more than 20.0 kB");
        said(small, |_| Act::text(200, "x")).await.fails_by(&["body"], "20 × 1 bytes");
        assert_eq!(said(small, |_| Act::text(200, &"x".repeat(20_000))).await.verdict(), "pass");
    });
}

#[test]
fn what_never_answers_is_given_up_and_says_where_it_hangs() {
    run(async {
        for (act, says) in [
            (Act::Silence, "× timed out without a first byte of the answer"),
            (Act::Stall, "× timed out in the middle of the answer"),
            (Act::HangUp, "× the connection ended without an answer: "),
            (Act::Garbage, "× the connection ended without an answer: invalid HTTP"),
        ] {
            let site = secure(move |_| act.clone()).await;
            let definition = definition(&site.url("/healthz"), "timeout-seconds = 0.4");
            let wrong = Case::new(&definition).await.canary().await;
            wrong.fails_by(&["answers"], says);
            assert_eq!(wrong.kinds(), ["requestsFailed"]);
        }
    });
}

#[test]
fn nobody_there_and_no_such_name_are_told_apart() {
    run(async {
        // Nobody listens where somebody has just stopped.
        let port = TcpListener::bind("127.0.0.1:0").await.expect("listen").local_addr().expect("an address").port();
        let case = Case::new(&definition(&format!("https://127.0.0.1:{port}/healthz"), "")).await;
        case.canary().await.fails_by(&["answers"], "10 of 10 requests failed: 10 × no connection: ");
        case.define(&definition("https://canary.invalid/healthz", "")).await;
        let wrong = case.canary().await;
        let (result, seen) = wrong.check("answers");
        assert!(result == "fail" && (seen.contains("the name was not found") || seen.contains("looking the name up")), "{seen}");
    });
}

#[test]
fn a_slow_tail_is_noticed_and_a_few_slow_answers_are_not() {
    run(async {
        // The limit lies far above what a machine under load takes for a good answer, and below the slow ones.
        let more = "p95-max-ms = 700";
        let slow = said(more, |asked| if asked.number % 5 == 0 { good(asked).after(900) } else { good(asked) }).await;
        slow.fails_by(&["latency"], "p95 9");
        assert_eq!(slow.kinds(), ["answersSlow"]);
        let single = said(more, |asked| if asked.number == 5 { good(asked).after(900) } else { good(asked) }).await;
        assert_eq!(single.verdict(), "pass", "{:#}", single.reply["checks"]);
    });
}

#[test]
fn whatever_a_server_sends_there_is_a_verdict() {
    // Answers that are cut, doubled and mangled anywhere; the seed is that of the run.
    let seed: u64 = rand::random();
    run(async {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nlocation: //x:99999/%\r\n\r\n1a\r\n{\"git_sha\": \"0badcafe\"}    \r\n0\r\n\r\n";
        let random = std::sync::Mutex::new(StdRng::seed_from_u64(seed));
        let site = secure(move |_| {
            let mut random = random.lock().expect("a lock");
            let mut bytes = whole.to_vec();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes.truncate(at + 1),
                    1 => bytes[at] = random.random(),
                    2 => bytes.extend_from_within(at..),
                    _ => drop(bytes.splice(at..at, (0..random.random_range(0..3_000)).map(|_| b'9'))),
                }
            }
            Act::Raw(bytes)
        })
        .await;
        let more = "requests = 200\npace-seconds = 0.05\ntimeout-seconds = 0.3\nredirects-max = 3\nfailed-percent-max = 50";
        let said = Case::new(&definition(&site.url("/healthz"), more)).await.canary().await;
        assert!(said.verdict() == "fail" && site.asked().len() >= 10, "seed {seed}: {:#}", said.reply["checks"]);
        let longest = said.reply["checks"].as_array().expect("checks").iter().filter_map(|check| check["seen"].as_str()).map(str::len).max();
        assert!(longest < Some(3_000), "seed {seed}: {longest:?}");
    });
}

#[test]
fn a_secret_that_is_no_header_is_named_by_its_parameter_alone() {
    run(async {
        let site = secure(good).await;
        let case = Case::new(&definition(&site.url("/healthz"), "secret-headers = { Authorization = \"/shop/dev/canary-token\" }")).await;
        case.put(super::TOKEN, "planted-s3cret\nof two lines").await;
        let said = case.canary().await;
        assert_eq!((said.verdict(), site.asked().len()), ("unknown", 0));
        assert!(said.check("measured").1.contains("what is in the parameter /shop/dev/canary-token cannot be in a header"));
    });
}

#[test]
fn a_target_that_cannot_be_asked_is_unknown_and_the_others_are_asked() {
    run(async {
        let site = Site::plain(good).await;
        let other = secure(good).await;
        let without = definition(&other.url("/healthz"), "secret-headers = { Authorization = \"/shop/dev/nothing-there\" }");
        let case = Case::new(&format!("{without}{}", definition(&site.url("/healthz"), "").replace("\"health\"", "\"plain\""))).await;
        let said = case.canary().await;
        assert_eq!((said.verdict(), other.asked().len(), site.asked().len()), ("unknown", 0, 20));
        let (result, seen) = said.check("measured");
        assert!(result == "unknown" && seen.contains("/shop/dev/nothing-there") && seen.contains("ParameterNotFound"), "{seen}");
        assert_eq!(said.kinds(), ["notChecked", "askedInClear"]);
    });
}
