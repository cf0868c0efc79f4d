//! What is well passes, and the way there is measured as it is.

use serde_json::json;
use shared::report::Outcome;
use tests::world::run;

use super::site::Act;
use super::{Case, SECRET, SHA, definition, good, secure};

#[test]
fn a_clean_release_passes_and_is_recorded() {
    run(async {
        let site = secure(good).await;
        let case = Case::new(&definition(&site.url("/healthz"), "json = [{ at = \"/status\", is = \"ok\" }]\ncontains = \"1.4\"")).await;
        let said = case.canary().await;
        assert_eq!((said.verdict(), said.not_passed().len(), said.kinds().len()), ("pass", 0, 0), "{:#}", said.reply);
        assert_eq!(said.check("gitSha").1, format!("20 of 20 answers; at /git_sha: 20 × {SHA}"));
        assert_eq!(said.check("latencyRatio").1, "there is no release before to compare with");
        assert_eq!(said.reply["outcome"], "ok");
        let target = &said.reply["targets"][0];
        assert!(target["requests"] == 20 && target["failed"] == 0 && target["p95Ms"].is_number() && target["tlsP50Ms"].is_number(), "{target}");
        // Ten requests to a connection: two at least, and fewer than requests.
        let connections = target["connections"].as_u64().expect("a number");
        assert!((2..=12).contains(&connections), "{connections}");
        let asked = site.asked();
        assert_eq!(asked.len(), 20);
        assert!(asked.iter().all(|one| one.line == "GET /healthz" && one.headers.iter().any(|header| header == "user-agent: lifeboat canary")));
        let records = case.keys("canary/app-db/deploys/").await;
        assert_eq!(records.len(), 1, "{records:?}");
        let told = case.told().await;
        assert_eq!((told.len(), told[0].outcome, told[0].fact("requests")), (1, Outcome::Ok, Some(20.0)));
        assert_eq!(told[0].links[0].target, case.bed.store.address(&records[0]));
    });
}

#[test]
fn every_request_may_have_a_connection_of_its_own() {
    run(async {
        let site = secure(good).await;
        let case = Case::new(&definition(&site.url("/healthz"), "requests-per-connection = 1")).await;
        let said = case.canary().await;
        assert_eq!((said.verdict(), said.reply["targets"][0]["connections"].as_u64()), ("pass", Some(20)));
        let mut connections: Vec<usize> = site.asked().iter().map(|one| one.connection).collect();
        connections.dedup();
        assert_eq!(connections.len(), 20);
    });
}

#[test]
fn a_server_that_closes_kept_connections_is_well() {
    run(async {
        // It answers once on each connection, and hangs up on the second request without a word.
        let first = std::sync::Mutex::new(std::collections::BTreeSet::new());
        let site = secure(move |asked| if first.lock().expect("a lock").insert(asked.connection) { good(asked) } else { Act::HangUp }).await;
        let case = Case::new(&definition(&site.url("/healthz"), "")).await;
        let said = case.canary().await;
        assert_eq!((said.verdict(), said.not_passed().len()), ("pass", 0), "{:#}", said.reply["checks"]);
    });
}

#[test]
fn a_page_a_head_and_plain_http_are_understood_and_the_last_is_said() {
    run(async {
        let site = super::Site::plain(|asked| Act::text(if asked.line.starts_with("HEAD") { 204 } else { 200 }, "<h1>Welcome</h1>")).await;
        let page = definition(&site.url("/"), "kind = \"page\"\ncontains = \"Welcome\"\nbody-bytes-min = 10");
        let head = definition(&site.url("/"), "kind = \"page\"\nmethod = \"HEAD\"\nstatus = [200, 204]").replace("\"health\"", "\"head\"");
        let case = Case::new(&format!("{page}{head}")).await;
        let said = case.canary_of(&json!({})).await;
        assert_eq!((said.verdict(), said.not_passed()), ("pass", vec!["transport", "transport"]), "{:#}", said.reply["checks"]);
        assert_eq!((said.check("transport").0, said.kinds()), ("warn", vec!["askedInClear", "askedInClear"]));
        assert_eq!(said.reply["outcome"], "ok", "a note is nothing to be woken for");
        assert!(site.asked().iter().any(|one| one.line == "HEAD /") && site.asked().iter().any(|one| one.line == "GET /"));
    });
}

#[test]
fn a_secret_header_reaches_the_target_and_no_output() {
    run(async {
        // The server sends back what it got.
        let site = secure(|asked| {
            let token = asked.headers.iter().find_map(|header| header.strip_prefix("authorization: ")).unwrap_or("nothing").to_owned();
            Act::json(&json!({"git_sha": SHA, "version": "1.4.2", "status": token.replace("bearer", "Bearer")}))
        })
        .await;
        let more = "secret-headers = { Authorization = \"/shop/dev/canary-token\" }\nheaders = { X-Kind = \"canary\" }\njson = [{ at = \"/status\", is = \"ok\" }]";
        let case = Case::new(&definition(&site.url("/healthz?key=hidden-query"), more)).await;
        let said = case.canary().await;
        said.fails_by(&["content"], "(secret)");
        let wanted = format!("authorization: {}", SECRET.to_ascii_lowercase());
        assert!(site.asked().iter().all(|one| one.headers.contains(&wanted) && one.headers.iter().any(|header| header == "x-kind: canary")));
        let mut everything = said.reply.to_string();
        for key in case.keys("").await {
            everything += &String::from_utf8_lossy(&case.bed.store.get(&key).await.expect("read").expect("it is there"));
        }
        assert!(!everything.contains("planted-s3cret") && !everything.contains("hidden-query"), "{everything}");
    });
}

#[test]
fn a_dry_run_asks_once_and_leaves_nothing() {
    run(async {
        let site = secure(good).await;
        let case = Case::new(&definition(&site.url("/healthz"), "")).await;
        let reply = case.invoke(&json!({"kind": "canary", "release": {"gitSha": SHA}, "dryRun": true})).await.expect("an answer");
        assert_eq!((reply["verdict"].as_str(), reply["dryRun"].as_bool(), site.asked().len()), (Some("pass"), Some(true), 1), "{reply:#}");
        assert_eq!(case.keys("").await, Vec::<String>::new());
    });
}
