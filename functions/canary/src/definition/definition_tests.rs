use super::*;

const GOOD: &str = r#"
[[target]]
name = "health"
url = "https://shop.example/healthz"
json = [
    { at = "/status", is = "ok" },
    { at = "/database/lag", matches = "^[0-9]+$" },
]
secret-headers = { Authorization = "/shop/prod/canary-token" }

[[target]]
name = "front page"
url = "https://shop.example/"
kind = "page"
status = [200, 204]
contains = "Welcome"
redirects-max = 2
redirect-hosts = ["www.shop.example"]
requests = 5
pace-seconds = 2
timeout-seconds = 10
"#;

#[test]
fn the_least_that_is_written_fits_a_health_page() {
    let read = Definitions::read("[[target]]\nname = \"health\"\nurl = \"https://shop.example/healthz\"\n").expect("definitions");
    let target = &read.targets[0];
    assert_eq!((target.kind, target.method, target.requests, target.pace), (Kind::Health, Method::Get, 60, Duration::from_secs(1)));
    assert_eq!((target.git_sha.as_deref(), target.version.as_deref(), target.wants_json()), (Some("/git_sha"), Some("/version"), true));
    assert_eq!((target.timeout, target.redirects_max, target.statuses.len()), (Duration::from_secs(5), 0, 1));
    assert!(target.failed_percent_max.total_cmp(&0.0).is_eq() && target.watch);
}

#[test]
fn what_a_team_writes_is_read() {
    let read = Definitions::read(GOOD).expect("definitions");
    let [health, page] = read.targets.as_slice() else { panic!("two targets") };
    assert!(matches!((&health.json[0].must, &health.json[1].must), (Must::Be(Value::String(_)), Must::Match(_))));
    assert_eq!(health.secret_headers, [("Authorization".to_owned(), "/shop/prod/canary-token".to_owned())]);
    assert_eq!((page.kind, page.wants_json(), page.git_sha.is_none()), (Kind::Page, false, true));
    assert_eq!((page.statuses.len(), page.redirects_max, page.redirect_hosts.len()), (2, 2, 1));
}

#[test]
fn every_mistake_has_its_line() {
    for (from, to, says) in [
        ("name = \"health\"", "name = \" \"", "line 3: a target needs a `name`"),
        ("name = \"health\"", "nam = \"health\"", "line 3: unknown field `nam`"),
        ("name = \"front page\"", "name = \"health\"", "line 12: the name \"health\" is there twice"),
        ("name = \"front page\"\n", "", "line 11: a target needs a `name`"),
        ("url = \"https://shop.example/\"\n", "", "line 11: a target needs a `url`"),
        ("url = \"https://shop.example/\"", "url = \"shop.example\"", "line 13: `url`"),
        ("url = \"https://shop.example/\"", "url = \"ftp://shop.example/\"", "line 13: `url`: it must begin with https://"),
        ("url = \"https://shop.example/\"", "url = \"https://u:hidden@shop.example/\"", "line 13: `url`: a user or password"),
        (
            "https://shop.example/healthz",
            "http://shop.example/healthz",
            "line 9: http://shop.example/healthz would get the secret headers without TLS",
        ),
        ("is = \"ok\"", "is = [1]", "line 6: `is` must be"),
        ("is = \"ok\"", "is = \"ok\", exists = true", "line 6: say one of"),
        ("\"^[0-9]+$\"", "\"(\"", "line 7: `matches` is no regular expression"),
        ("at = \"/status\"", "at = \"status\"", "line 6: `at` is \"status\": it must be a JSON pointer"),
        ("status = [200, 204]", "status = [99]", "line 15: `status` must be from 200"),
        ("status = [200, 204]", "status = \"ok\"", "line 15: a status is a number"),
        ("kind = \"page\"", "kind = \"site\"", "line 14: unknown variant `site`"),
        ("redirects-max = 2\n", "", "line 17: `redirect-hosts` without `redirects-max`"),
        ("requests = 5", "requests = 601", "line 19: `requests` is 601: it must be from 1 to 600"),
        ("requests = 5", "requests = 50", "line 19: 50 requests, one each 2 s"),
        ("timeout-seconds = 10", "timeout-seconds = nan", "line 21: `timeout-seconds` is NaN"),
        ("contains = \"Welcome\"", "method = \"HEAD\"\nbody-bytes-min = 5", "line 16: the answer to a HEAD has no body"),
        ("contains = \"Welcome\"", "authorities = \"hello\"", "line 16: `authorities` must hold certificates"),
        ("contains = \"Welcome\"", "headers = { Host = \"x\" }", "line 16: \"Host\" is no header that can be set"),
        ("contains = \"Welcome\"", "headers = { X = \"a\\nhidden\" }", "line 16: the value of the header \"X\""),
        ("contains = \"Welcome\"", "contains = ", "line 16: "),
        ("Authorization = \"/shop/prod/canary-token\"", "Authorization = \"\"", "line 9: the header \"Authorization\" needs"),
    ] {
        let wrong = GOOD.replacen(from, to, 1);
        assert_ne!(wrong, GOOD, "{from}");
        let failure = Definitions::read(&wrong).expect_err(to);
        assert!(failure.to_string().contains(says), "{to}: {failure}");
        assert!(!failure.to_string().contains("hidden"), "{failure}");
    }
    assert!(Definitions::read("").expect_err("nothing").to_string().contains("there is no [[target]]"));
}

#[test]
fn all_mistakes_are_said_together_in_the_order_of_the_lines() {
    let wrong = GOOD.replace("status = [200, 204]", "status = 99").replace("name = \"health\"", "name = \"\"");
    let said = Definitions::read(&wrong).expect_err("two mistakes").to_string();
    let (name, status) = (said.find("line 3: "), said.find("line 15: "));
    assert!(name.is_some() && name < status, "{said}");
}

#[test]
fn more_targets_than_fit_are_refused() {
    let many: Vec<String> = (0..21).map(|number| format!("[[target]]\nname = \"{number}\"\nurl = \"https://shop.example/\"\n")).collect();
    assert!(Definitions::read(&many.concat()).expect_err("too many").to_string().contains("line 61: at most 20 targets"));
}

#[test]
fn a_url_is_shown_without_what_may_be_confidential() {
    let url = |text: &str| shown(&Url::parse(text).expect("a URL"));
    assert_eq!(url("https://shop.example:8443/a/b?token=hidden#x"), "https://shop.example:8443/a/b");
    assert_eq!(url("https://u:p@shop.example/"), "https://shop.example/");
}

const PAGE: &str = include_str!("../../../../docs/canary.md");

#[test]
fn the_example_of_the_page_is_right() {
    let example = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    assert_eq!(Definitions::read(example).expect("the example").targets.len(), 3);
}

#[test]
fn the_page_explains_every_key_and_no_other() {
    // Whoever misspells a key is told all that there are.
    let said = Definitions::read("[[target]]\nx = 1\n").expect_err("no such key").to_string();
    let known: BTreeSet<&str> = said.split_once("expected one of").expect("a list").1.split('`').skip(1).step_by(2).collect();
    assert!(known.len() > 20, "{said}");
    let table = PAGE.split("| key | default | is |").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a table");
    let explained: BTreeSet<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(known, explained);
}
