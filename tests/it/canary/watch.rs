//! The watch: one request for each target, silent while all is well, and heard when something changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use shared::finding::FindingKind;
use shared::report::Outcome;
use tests::world::run;

use super::site::Act;
use super::{Case, definition, good, secure};

#[test]
fn the_watch_is_silent_until_something_changes() {
    run(async {
        let is_ill = Arc::new(AtomicBool::new(false));
        let switch = is_ill.clone();
        let site = secure(move |asked| if switch.load(Ordering::Relaxed) { Act::text(500, "") } else { good(asked) }).await;
        let case = Case::new(&definition(&site.url("/healthz"), "")).await;
        let watch = json!({"kind": "watch", "scheduledAt": "2026-11-23T02:00:00Z"});
        let answer = case.invoke(&watch).await.expect("an answer");
        assert_eq!((answer["outcome"].as_str(), site.asked().len()), (Some("ok"), 1), "one request each");
        assert_eq!(case.keys("").await, Vec::<String>::new(), "nothing is written while all is well");

        is_ill.store(true, Ordering::Relaxed);
        let answer = case.invoke_as("the-first", &watch).await.expect("an answer");
        assert_eq!((answer["outcome"].as_str(), site.asked().len()), (Some("failed"), 3), "what is wrong is looked at twice");
        assert_eq!((case.told().await.len(), case.keys("canary/app-db/watch/").await.len()), (1, 1));
        // The same is not news five minutes later; the retry of the invocation that told it is told.
        case.invoke(&watch).await.expect("an answer");
        assert_eq!(case.told().await.len(), 1);
        case.invoke_as("the-first", &watch).await.expect("an answer");
        assert_eq!(case.told().await.len(), 2);

        is_ill.store(false, Ordering::Relaxed);
        case.invoke(&watch).await.expect("an answer");
        let told = case.told().await;
        assert_eq!(told.iter().map(|report| report.outcome).collect::<Vec<_>>(), [Outcome::Failed, Outcome::Failed, Outcome::Ok]);
        assert_eq!((told[0].findings[0].kind, told[0].id == told[2].id), (FindingKind::RequestsFailed, true));
        case.invoke(&watch).await.expect("an answer");
        assert_eq!(case.told().await.len(), 3, "well again is said once");
    });
}

#[test]
fn one_lost_answer_wakes_nobody() {
    run(async {
        let count = AtomicUsize::new(0);
        let site = secure(move |asked| if count.fetch_add(1, Ordering::Relaxed) == 0 { Act::HangUp } else { good(asked) }).await;
        let not_watched = definition(&site.url("/other"), "watch = false").replace("\"health\"", "\"other\"");
        let case = Case::new(&format!("{}{not_watched}", definition(&site.url("/healthz"), ""))).await;
        let answer = case.invoke(&json!({"kind": "watch"})).await.expect("an answer");
        assert_eq!((answer["outcome"].as_str(), site.asked().len(), case.told().await.len()), (Some("ok"), 2, 0), "{answer:#}");
        assert!(site.asked().iter().all(|one| one.line == "GET /healthz"));
    });
}

#[test]
fn a_dry_watch_answers_and_tells_nobody() {
    run(async {
        let site = secure(|_| Act::text(500, "")).await;
        let case = Case::new(&definition(&site.url("/healthz"), "")).await;
        let answer = case.invoke(&json!({"kind": "watch", "dryRun": true})).await.expect("an answer");
        assert_eq!((answer["outcome"].as_str(), case.keys("").await.len()), (Some("failed"), 0));
    });
}
