//! A URL that is called: for everything that no service of AWS refreshes. It is told the names and no value.
//!
//! Over TLS only, but for this machine; a redirect is not followed, as it could lead to another place; one answer within ten seconds. The key in the header is the same for the
//! same value of the same rotation, so that whoever is called twice can tell.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use shared::failure::{Failure, FailureKind};
use url::{Host, Url};

use super::Told;
use crate::journal::Refresh;
use crate::remark::{Remark, Weight};

const ANSWER_SECONDS_MAX: u64 = 10;

pub(super) fn client() -> Result<reqwest::Client, Failure> {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    let builder = builder.timeout(Duration::from_secs(ANSWER_SECONDS_MAX)).user_agent("lifeboat rotate-secret");
    builder.build().map_err(|error| Failure::from_error(FailureKind::Other, &error).context("make an HTTP client"))
}

/// Calls the URL. Its good answer is all there is to wait for.
pub(super) async fn begin(client: &reqwest::Client, url: &str, told: Told<'_>) -> Result<Refresh, Failure> {
    let url = parse(url)?;
    let key = format!("{}-{}", told.rotation, told.phase);
    let body = json!({"secret": told.secret, "rotation": told.rotation});
    let answer = client.post(url).header("Idempotency-Key", key).json(&body).send().await;
    // The library's message has the URL in it, which may be a secret.
    let answer = answer.map_err(|error| Failure::from_error(FailureKind::Unreachable, &error.without_url()))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(Refresh { handle: None, begun_at: told.now, done_at: Some(told.now) });
    }
    let (kind, hint) = if status.is_redirection() {
        (FailureKind::BadSettings, "name the URL that the redirect leads to")
    } else if status.is_client_error() {
        (FailureKind::BadSettings, "see what the called service says of the request")
    } else {
        (FailureKind::Unreachable, "the next invocation calls it again")
    };
    Err(Failure::new(kind, format!("the answer was {}", status.as_u16())).hint(hint))
}

/// Nothing is sent: whatever is called may act.
pub(super) fn check(url: &str) -> Vec<Remark> {
    match parse(url) {
        Ok(_) => {
            let what = format!("whether the URL at {} answers shows only when it is called", host(url));
            vec![Remark::new(Weight::Unpredictable, what, "call it by hand with POST, once")]
        }
        Err(failure) => vec![Remark::new(Weight::Refused, failure.to_string(), failure.hint.unwrap_or_default())],
    }
}

/// The host, for messages.
pub(super) fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "(no host)".to_owned())
}

fn parse(url: &str) -> Result<Url, Failure> {
    let bad = |what: &str| Failure::new(FailureKind::BadSettings, format!("the URL of a consumer {what}")).hint("it must begin with https://");
    let url = Url::parse(url).map_err(|_| bad("cannot be read"))?;
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => return Err(bad("names no host")),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(bad("would send the call in clear")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_called_in_clear() {
        for good in ["https://deploy.example/hook", "http://127.77.0.1:8080/x", "http://[::1]/", "http://localhost:3000"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["http://deploy.example/hook", "ftp://127.0.0.1/", "https://", "deploy.example", "http://127.0.0.1.example/"] {
            let failure = parse(bad).expect_err(bad);
            assert!(failure.hint.is_some() && !failure.to_string().contains("hook"), "{failure}");
        }
    }

    #[test]
    fn a_message_has_only_the_host_of_a_url() {
        assert_eq!(host("https://user:canary@hooks.example/services/canary?token=canary"), "hooks.example");
        assert!(check("http://hooks.example/canary").iter().all(|remark| !remark.what.contains("canary")));
    }
}
