//! Redirects: followed as far as the definition allows, never with a secret to another origin, never in a circle.

use serde_json::json;
use tests::world::run;

use super::site::{Act, Site};
use super::{AUTHORITY, Case, definition, good, secure};

const TOKEN: &str = "secret-headers = { Authorization = \"/shop/dev/canary-token\" }\n";

#[test]
fn a_redirect_is_not_followed_unless_it_is_allowed() {
    run(async {
        let site = secure(|asked| if asked.line.ends_with("/healthz") { Act::redirect(302, "/real?x=1") } else { good(asked) }).await;
        let case = Case::new(&definition(&site.url("/healthz"), "")).await;
        let said = case.canary().await;
        said.fails_by(&["status"], &format!("20 × status 302 to https://localhost:{}/real", site.port));
        case.define(&definition(&site.url("/healthz"), &format!("redirects-max = 1\nleads-to = \"{}\"", site.url("/real?x=1")))).await;
        let said = case.canary().await;
        assert_eq!((said.verdict(), said.check("redirect").0), ("pass", "pass"), "{:#}", said.reply["checks"]);
        case.define(&definition(&site.url("/healthz"), &format!("redirects-max = 1\nleads-to = \"{}\"", site.url("/login")))).await;
        case.canary().await.fails_by(&["redirect"], "it leads to https://localhost");
    });
}

#[test]
fn a_redirect_itself_may_be_what_is_expected() {
    run(async {
        let site = Site::plain(|_| Act::redirect(301, "https://shop.example/")).await;
        let definition = |to: &str| definition(&site.url("/"), &format!("kind = \"page\"\nstatus = 301\nleads-to = \"{to}\""));
        let case = Case::new(&definition("https://shop.example/")).await;
        let said = case.canary_of(&json!({})).await;
        assert_eq!((said.verdict(), said.not_passed()), ("pass", vec!["transport"]), "{:#}", said.reply["checks"]);
        case.define(&definition("https://www.shop.example/")).await;
        assert_eq!(case.canary_of(&json!({})).await.verdict(), "fail");
    });
}

#[test]
fn a_loop_and_a_chain_without_end_are_noticed() {
    run(async {
        let circle = secure(|asked| Act::redirect(302, if asked.line.ends_with("/b") { "/healthz" } else { "/b" })).await;
        let case = Case::new(&definition(&circle.url("/healthz"), "redirects-max = 5")).await;
        let said = case.canary().await;
        said.fails_by(&["redirect"], "20 of 20 answers: 20 × a loop: ");
        assert_eq!((said.kinds(), circle.asked().len()), (vec!["answerWrong"], 40));

        let onward = secure(|asked| Act::redirect(302, &format!("/{}", asked.number + 1))).await;
        case.define(&definition(&onward.url("/healthz"), "redirects-max = 3")).await;
        let said = case.canary().await;
        assert!(said.check("redirect").1.contains(", after 3 redirects"), "{:?}", said.check("redirect"));
        assert_eq!((said.verdict(), onward.asked().len()), ("fail", 80));
    });
}

#[test]
fn another_host_is_not_asked_unless_it_is_named_and_never_gets_a_secret() {
    run(async {
        let other = Site::secure(AUTHORITY.issue(&["127.0.0.1"], -10, 300), good).await;
        let to = format!("https://127.0.0.1:{}/healthz", other.port);
        let site = secure(move |_| Act::redirect(307, &to)).await;
        let more = format!("{TOKEN}headers = {{ X-Tenant = \"7\" }}\nredirects-max = 2");
        let case = Case::new(&definition(&site.url("/healthz"), &more)).await;
        let said = case.canary().await;
        said.fails_by(&["redirect"], ", another host");
        assert_eq!(other.asked().len(), 0);

        case.define(&definition(&site.url("/healthz"), &format!("{more}\nredirect-hosts = [\"127.0.0.1\"]"))).await;
        assert_eq!(case.canary().await.verdict(), "pass");
        let has = |site: &Site, name: &str| site.asked().iter().filter(|one| one.headers.iter().any(|header| header.starts_with(name))).count();
        assert_eq!((has(&site, "authorization:"), has(&site, "x-tenant:")), (40, 40), "its own origin gets them");
        assert_eq!((other.asked().len(), has(&other, "authorization:"), has(&other, "x-tenant:"), has(&other, "user-agent:")), (20, 0, 0, 20));
    });
}

#[test]
fn another_port_of_the_same_host_is_another_origin_and_tls_is_never_left() {
    run(async {
        let other = secure(good).await;
        let to = other.url("/healthz");
        let site = secure(move |_| Act::redirect(302, &to)).await;
        let case = Case::new(&definition(&site.url("/healthz"), &format!("{TOKEN}redirects-max = 1"))).await;
        assert_eq!(case.canary().await.verdict(), "pass");
        assert!(other.asked().iter().all(|one| one.headers.iter().all(|header| !header.starts_with("authorization:"))));

        let plain = Site::plain(good).await;
        let to = plain.url("/healthz");
        let site = secure(move |_| Act::redirect(302, &to)).await;
        case.define(&definition(&site.url("/healthz"), "redirects-max = 1")).await;
        case.canary().await.fails_by(&["redirect"], ", out of TLS");
        assert_eq!(plain.asked().len(), 0);
    });
}
