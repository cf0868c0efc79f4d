//! One request as a client makes it: with the redirects that the definition allows, until an answer is there or the time is over.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use hyper::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, HeaderMap, LOCATION, USER_AGENT};
use rustls::pki_types::ServerName;
use tokio::time::Instant;
use url::Url;

use super::Probe;
use super::address::Origin;
use super::connection::{self, Chain, Connection, Setup};
use super::exchange::{Answer, Question, Unanswered, exchange};
use super::trouble::Trouble;
use crate::definition::{Target, shown};

/// By host and the server's own certificate: its name, and all that it showed.
pub(super) type Certificates = HashMap<(String, Vec<u8>), (ServerName<'static>, Chain)>;

/// So many different certificates are kept; a fleet that shows more is told by these.
const CERTIFICATES_MAX: usize = 20;

/// What came of a request.
#[derive(Debug)]
pub struct Visit {
    /// An answer, or why there is none.
    pub result: Result<Arrived, Trouble>,
    /// From the request to the last byte, over all redirects; without making connections.
    pub latency: Duration,
    /// From the last request to the head of its answer.
    pub first_byte: Option<Duration>,
    /// What making connections took, if any was made.
    pub setup: Option<Setup>,
}

/// The last answer.
#[derive(Debug)]
pub struct Arrived {
    /// Whose answer it is.
    pub url: Url,
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it may be read.
    pub body: Vec<u8>,
    /// Whether that is all of the body.
    pub is_whole: bool,
    /// Where it redirects to, if it does and that was not followed.
    pub leads_to: Option<Url>,
    /// Why a redirect was not followed that should have been.
    pub refused_redirect: Option<String>,
}

/// The headers that any host may see.
const HARMLESS: [hyper::header::HeaderName; 4] = [ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, USER_AGENT];

/// Asks once. `turn` numbers the requests.
pub(super) async fn visit(probe: &Probe<'_>, turn: usize, deadline: Instant) -> Visit {
    let target = probe.target;
    let mut visit = Visit { result: Err(Trouble::Broken(String::new())), latency: Duration::ZERO, first_byte: None, setup: None };
    let mut url = target.url.clone();
    let mut way = vec![url.clone()];
    loop {
        let answer = match hop(probe, &url, turn, deadline, &mut visit).await {
            Ok(answer) => answer,
            Err(trouble) => {
                visit.result = Err(trouble);
                return visit;
            }
        };
        visit.first_byte = Some(answer.first_byte);
        let next = if is_redirect(answer.status.as_u16()) { location(&url, &answer.headers) } else { None };
        let refused = next.as_ref().filter(|_| target.redirects_max > 0).and_then(|next| refusal(target, &way, next));
        match next {
            Some(next) if target.redirects_max > 0 && refused.is_none() => {
                way.push(next.clone());
                url = next;
            }
            next => {
                let Answer { status, headers, body, is_whole, .. } = answer;
                let status = status.as_u16();
                visit.result = Ok(Arrived { url, status, headers, body, is_whole, leads_to: next, refused_redirect: refused });
                return visit;
            }
        }
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn location(url: &Url, headers: &HeaderMap) -> Option<Url> {
    url.join(headers.get(LOCATION)?.to_str().ok()?).ok()
}

/// Why a redirect is not followed.
fn refusal(target: &Target, way: &[Url], next: &Url) -> Option<String> {
    let from = way.last().unwrap_or(&target.url);
    let leads = format!("{} leads to {}", shown(from), shown(next));
    let host = next.host_str().unwrap_or_default();
    if Origin::of(next).is_none() {
        return Some(format!("{leads}, which is no web page"));
    }
    if from.scheme() == "https" && next.scheme() == "http" {
        return Some(format!("{leads}, out of TLS"));
    }
    if target.url.host_str() != Some(host) && !target.redirect_hosts.contains(host) {
        return Some(format!("{leads}, another host"));
    }
    if way.contains(next) {
        return Some(format!("a loop: {leads}, where it has been before"));
    }
    (way.len() > target.redirects_max).then(|| format!("{leads}, after {} redirects", target.redirects_max))
}

/// One request to one URL, on a connection that is there or is made. A kept connection that turns out to be closed is replaced, once: the server may
/// close it at any moment, and that is no error (RFC 9112, section 9.3.1).
async fn hop(probe: &Probe<'_>, url: &Url, turn: usize, deadline: Instant, visit: &mut Visit) -> Result<Answer, Trouble> {
    let target = probe.target;
    let origin = Origin::of(url).ok_or_else(|| Trouble::Lookup("the URL has no host".to_owned()))?;
    let is_own = Origin::of(&target.url).as_ref() == Some(&origin);
    let mut headers = probe.headers.clone();
    if !is_own {
        // Secrets, and whatever else a team sends along, are for the target's origin alone.
        headers = headers.into_iter().filter_map(|(name, value)| Some((name?, value))).filter(|(name, _)| HARMLESS.contains(name)).collect();
    }
    let question = Question { method: target.method, url, headers, body_bytes_max: target.body_bytes_max, deadline };
    let kept = probe.pool.lock().unwrap_or_else(PoisonError::into_inner).take(&origin);
    if let Some(mut connection) = kept {
        match exchange(&mut connection, &question).await {
            Err(Unanswered { untouched: true, .. }) => {}
            other => return finish(probe, connection, other, visit).await,
        }
    }
    let mut connection = connection::open(&origin, &probe.trust, turn, deadline).await?;
    let setup = visit.setup.get_or_insert_default();
    setup.lookup += connection.setup.lookup;
    setup.connect += connection.setup.connect;
    setup.tls = match (setup.tls, connection.setup.tls) {
        (None, None) => None,
        (before, now) => Some(before.unwrap_or_default() + now.unwrap_or_default()),
    };
    remember(probe, &connection);
    let result = exchange(&mut connection, &question).await;
    finish(probe, connection, result, visit).await
}

fn remember(probe: &Probe<'_>, connection: &Connection) {
    let (Some(chain), Some(name)) = (&connection.chain, connection.origin.server_name()) else { return };
    let mut known = probe.certificates.lock().unwrap_or_else(PoisonError::into_inner);
    let own = chain.first().map(|certificate| certificate.to_vec()).unwrap_or_default();
    let key = (connection.origin.host.to_string(), own);
    if known.len() < CERTIFICATES_MAX || known.contains_key(&key) {
        known.entry(key).or_insert_with(|| (name, chain.clone()));
    }
}

async fn finish(probe: &Probe<'_>, mut connection: Connection, result: Result<Answer, Unanswered>, visit: &mut Visit) -> Result<Answer, Trouble> {
    let answer = match result {
        Ok(answer) => answer,
        Err(unanswered) => {
            visit.latency += unanswered.took;
            return Err(unanswered.trouble);
        }
    };
    visit.latency += answer.took;
    // With the whole body read, hyper says at once whether the connection may be used again.
    if answer.is_whole && connection.sender.ready().await.is_ok() {
        probe.pool.lock().unwrap_or_else(PoisonError::into_inner).keep(connection, probe.target.requests_per_connection);
    }
    Ok(answer)
}
