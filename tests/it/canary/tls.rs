//! Certificates that a client does not accept, and one that it soon will not.

use tests::world::run;

use super::certificates::{Authority, Shown};
use super::site::{Act, Site};
use super::{AUTHORITY, Case, Said, definition, good, now};

async fn said(shown: Shown, more: &str) -> (Said, Case, Site) {
    let site = Site::secure(shown, good).await;
    let case = Case::new(&definition(&site.url("/healthz"), more)).await;
    (case.canary().await, case, site)
}

#[test]
fn a_certificate_that_runs_out_is_told_and_fails_no_deploy() {
    run(async {
        let (said, case, _site) = said(AUTHORITY.issue(&["localhost"], -10, 9), "").await;
        assert_eq!((said.verdict(), said.not_passed(), said.kinds()), ("pass", vec!["certificate"], vec!["certificateExpires"]));
        let (result, seen) = said.check("certificate");
        assert!(result == "warn" && seen.contains("that of localhost is good until ") && seen.contains(" 8 more days"), "{seen}");
        let hours = case.told().await[0].fact("certificateHoursLeft").expect("a fact");
        assert!((24.0 * 8.0..=24.0 * 9.0).contains(&hours), "{hours}");
        // What is enough is the team's to say.
        let (said, ..) = self::said(AUTHORITY.issue(&["localhost"], -10, 9), "certificate-days-min = 7").await;
        assert_eq!((said.verdict(), said.kinds().len()), ("pass", 0));
    });
}

#[test]
fn an_intermediate_that_runs_out_first_counts() {
    run(async {
        let (said, ..) = said(AUTHORITY.issue_by_intermediate(&["localhost"], 6), "").await;
        let (result, seen) = said.check("certificate");
        assert!(result == "warn" && seen.contains(" 5 more days"), "{seen}");
        let (said, ..) = self::said(AUTHORITY.issue_by_intermediate(&["localhost"], 200), "").await;
        assert_eq!(said.check("certificate").0, "pass");
    });
}

#[test]
fn a_certificate_that_is_not_accepted_is_named_with_the_reason_and_nothing_is_sent() {
    run(async {
        let (other, namesake) = (Authority::new("another authority", now()), Authority::new("the authority", now()));
        for (shown, says) in [
            (AUTHORITY.issue(&["localhost"], -40, -3), "it ran out at "),
            (AUTHORITY.issue(&["localhost"], 3, 40), "it is good only from "),
            (AUTHORITY.issue(&["shop.example"], -10, 300), "it is for another name: "),
            (other.issue(&["localhost"], -10, 300), "no authority whom we trust issued it"),
            (namesake.issue(&["localhost"], -10, 300), "its signature is not that of an authority whom we trust"),
        ] {
            let (said, _case, site) = said(shown, "secret-headers = { Authorization = \"/shop/dev/canary-token\" }").await;
            assert_eq!((said.verdict(), said.kinds()), ("fail", vec!["certificateRefused"]), "{says}");
            let (result, seen) = said.check("certificate");
            assert!(result == "fail" && seen.contains(says), "{seen}");
            // Ten in vain are enough to know.
            assert!((10..=20).contains(&said.reply["targets"][0]["requests"].as_u64().expect("a number")));
            assert_eq!(site.asked().len(), 0, "nothing is said to a server that nobody vouches for");
        }
    });
}

#[test]
fn without_authorities_of_its_own_a_target_is_believed_as_this_machine_believes() {
    run(async {
        let site = Site::secure(AUTHORITY.issue(&["localhost"], -10, 300), good).await;
        let whole = definition(&site.url("/healthz"), "");
        let (before, after) = (whole.split("authorities").next().expect("a part"), whole.rsplit("'''").next().expect("a part"));
        let said = Case::new(&format!("{before}{after}")).await.canary().await;
        said.fails_by(&["certificate"], "no authority whom we trust issued it");
    });
}

#[test]
fn what_is_no_tls_is_said() {
    run(async {
        let site = Site::plain(|_| Act::Garbage).await;
        let url = site.url("/healthz").replace("http://", "https://");
        let said = Case::new(&definition(&url, "timeout-seconds = 0.3")).await;
        let said = said.canary().await;
        assert_eq!(said.verdict(), "fail");
        let (result, seen) = said.check("answers");
        assert!(result == "fail" && (seen.contains("no TLS: ") || seen.contains("timed out in the TLS handshake")), "{seen}");
    });
}
