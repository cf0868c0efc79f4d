//! One answer held against its definition: what is wrong with it, and which release it says it is. No body is kept beyond this.

use std::time::Duration;

use hyper::header::{CONTENT_ENCODING, HeaderMap};
use serde_json::Value;
use shared::human;

use crate::definition::{Expectation, Method, Must, Target, shown};
use crate::probe::{Arrived, Trouble};
use crate::quote::Quote;
use crate::verdict::Name;

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing.
    Unanswered(Trouble),
    /// An error of the server, 5xx, that is not expected.
    ServerError(u16),
    /// An answer.
    Answered(Seen),
}

/// How far an answer was read: of what comes after it, nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Its head, which is all that there is of an error page, a redirect and the answer to a HEAD.
    #[default]
    Head,
    /// A part of its body, that is too long.
    Part,
    /// The body, that is no JSON and should be.
    Body,
    /// What is in it.
    Content,
}

/// An answer, judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// What is wrong: which check, and what was seen.
    pub wrong: Vec<(Name, String)>,
    /// How far it was read.
    pub depth: Depth,
    /// The commit that it says it is; `None` where it says none.
    pub git_sha: Option<String>,
    /// The version that it says it is.
    pub version: Option<String>,
}

/// Judges what came.
pub fn look(target: &Target, quote: &Quote, result: Result<Arrived, Trouble>) -> Outcome {
    let arrived = match result {
        Ok(arrived) => arrived,
        Err(trouble) => return Outcome::Unanswered(trouble),
    };
    if arrived.status >= 500 && !target.statuses.contains(&arrived.status) {
        return Outcome::ServerError(arrived.status);
    }
    let mut seen = Seen::default();
    if let Some(refused) = &arrived.refused_redirect {
        // What is said of a redirect that was not followed says why the status is none of those expected.
        seen.wrong.push((Name::Redirect, quote.sentence(refused)));
        return Outcome::Answered(seen);
    }
    if let Some(what) = wrong_end(target, &arrived) {
        seen.wrong.push((Name::Redirect, quote.sentence(&what)));
    }
    if !target.statuses.contains(&arrived.status) {
        let to = arrived.leads_to.as_ref().map(|to| format!(" to {}", shown(to))).unwrap_or_default();
        seen.wrong.push((Name::Status, quote.sentence(&format!("status {}{to}", arrived.status))));
        // Of another page than the one that is meant, nothing else is to be expected.
        return Outcome::Answered(seen);
    }
    if target.method == Method::Get {
        body(target, &arrived, quote, &mut seen);
    }
    Outcome::Answered(seen)
}

/// Where it led to, if that is not where it must lead to.
fn wrong_end(target: &Target, arrived: &Arrived) -> Option<String> {
    let wanted = target.leads_to.as_ref()?;
    let reached = if target.redirects_max == 0 { arrived.leads_to.as_ref() } else { Some(&arrived.url) };
    match reached {
        Some(reached) if reached == wanted => None,
        Some(reached) => Some(format!("it leads to {}", shown(reached))),
        None => Some("it leads nowhere".to_owned()),
    }
}

fn body(target: &Target, arrived: &Arrived, quote: &Quote, seen: &mut Seen) {
    seen.depth = Depth::Part;
    if !arrived.is_whole {
        let limit = human::bytes(target.body_bytes_max as u64);
        seen.wrong.push((Name::Body, format!("more than {limit}")));
        return;
    }
    seen.depth = Depth::Body;
    if arrived.body.len() < target.body_bytes_min {
        seen.wrong.push((Name::Body, human::bytes(arrived.body.len() as u64)));
    }
    if let Some(wanted) = &target.contains
        && !String::from_utf8_lossy(&arrived.body).contains(wanted.as_str())
    {
        seen.wrong.push((Name::Content, "the text is not in the body".to_owned()));
    }
    if !target.wants_json() {
        seen.depth = Depth::Content;
        return;
    }
    let json: Value = match serde_json::from_slice(&arrived.body) {
        Ok(json) => json,
        Err(error) => {
            let begins = String::from_utf8_lossy(&arrived.body).chars().take(40).collect::<String>();
            let how =
                compressed(&arrived.headers).map(|how| format!(", compressed with {} without being asked to", quote.piece(&how))).unwrap_or_default();
            seen.wrong.push((Name::Json, format!("no JSON: {error}; it begins with {}{how}", quote.piece(&begins))));
            return;
        }
    };
    seen.depth = Depth::Content;
    for expectation in &target.json {
        if let Some(what) = mismatch(expectation, &json, quote) {
            seen.wrong.push((Name::Content, what));
        }
    }
    let said = |at: &Option<String>| at.as_ref().and_then(|at| json.pointer(at)).and_then(text_of).filter(|text| !text.is_empty());
    // A release is compared and counted: it is not quoted, but it is no longer than a quotation.
    let clean = |text: String| quote.word(&text);
    seen.git_sha = said(&target.git_sha).map(clean);
    seen.version = said(&target.version).map(clean);
}

fn compressed(headers: &HeaderMap) -> Option<String> {
    let how = headers.get(CONTENT_ENCODING)?.to_str().ok()?;
    (how != "identity").then(|| how.to_owned())
}

/// A text, or a number as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn mismatch(expectation: &Expectation, json: &Value, quote: &Quote) -> Option<String> {
    let at = if expectation.at.is_empty() { "the whole" } else { &expectation.at };
    let Some(value) = json.pointer(&expectation.at).filter(|value| !value.is_null()) else { return Some(format!("there is nothing at {at}")) };
    let is_good = match &expectation.must {
        Must::Exist => true,
        Must::Be(wanted) => is_same(wanted, value),
        Must::Match(pattern) => text_of(value).is_some_and(|text| pattern.is_match(&text)),
    };
    (!is_good).then(|| format!("at {at} is {}", text_of(value).map_or_else(|| quote.piece(&value.to_string()), |text| quote.piece(&text))))
}

/// Numbers are the same when their values are: TOML writes 1.0 where JSON may write 1.
fn is_same(wanted: &Value, value: &Value) -> bool {
    wanted == value || matches!((wanted.as_f64(), value.as_f64()), (Some(wanted), Some(value)) if wanted.total_cmp(&value).is_eq())
}

/// What a place must hold, for a message.
pub fn wanted(expectation: &Expectation) -> String {
    let at = if expectation.at.is_empty() { "the whole" } else { &expectation.at };
    match &expectation.must {
        Must::Exist => format!("something at {at}"),
        Must::Be(value) => format!("{at} is {value}"),
        Must::Match(pattern) => format!("{at} matches {:?}", pattern.as_str()),
    }
}

/// The value below which so many of a hundred lie, by nearest rank; `None` of nothing.
pub fn percentile(values: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use regex_lite::Regex;
    use serde_json::json;

    use super::*;

    fn mismatch_of(must: Must) -> Option<String> {
        let json = json!({"status": "degraded", "workers": 3, "none": null, "list": [{"a": 1}]});
        mismatch(&Expectation { at: "/status".into(), must }, &json, &Quote::new(Vec::new()))
    }

    #[test]
    fn places_of_the_json_are_compared() {
        assert_eq!(mismatch_of(Must::Be("ok".into())).as_deref(), Some(r#"at /status is "degraded""#));
        assert_eq!(mismatch_of(Must::Be("degraded".into())), None);
        assert_eq!(mismatch_of(Must::Match(Regex::new("^(ok|degraded)$").expect("a pattern"))), None);
        assert!(mismatch_of(Must::Match(Regex::new("^ok$").expect("a pattern"))).is_some());
        let json = json!({"workers": 3, "none": null, "list": [{"a": 1}]});
        let at = |at: &str, must| mismatch(&Expectation { at: at.into(), must }, &json, &Quote::new(Vec::new()));
        assert_eq!((at("/workers", Must::Be(json!(3.0))), at("/list/0/a", Must::Exist)), (None, None));
        assert_eq!(at("/none", Must::Exist).as_deref(), Some("there is nothing at /none"));
        assert_eq!(at("/list", Must::Be(json!("x"))).as_deref(), Some(r#"at /list is "[{\"a\":1}]""#));
        assert!(at("/workers", Must::Be(json!("3"))).is_some(), "a text is no number");
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let ms = |values: &[u64]| values.iter().map(|value| Duration::from_millis(*value)).collect::<Vec<_>>();
        let sixty = ms(&(1..=60).collect::<Vec<_>>());
        assert_eq!((percentile(&sixty, 95), percentile(&sixty, 50)), (Some(Duration::from_millis(57)), Some(Duration::from_millis(30))));
        assert_eq!((percentile(&ms(&[7]), 95), percentile(&[], 95)), (Some(Duration::from_millis(7)), None));
        // Of 60, three may be slow.
        let mut slow = ms(&[10; 57]);
        slow.extend(ms(&[900; 3]));
        assert_eq!(percentile(&slow, 95), Some(Duration::from_millis(10)));
        slow[0] = Duration::from_millis(900);
        assert_eq!(percentile(&slow, 95), Some(Duration::from_millis(900)));
    }
}
