//! A proxy in front of the cloud's endpoint: records every request, and answers some of them as a bad day does, chosen by operation and count, or
//! by a seed. What it lets through arrives unchanged, `Host` included: the signature stays valid.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use shared::failure::{Context, Failure};
use tokio::sync::watch;

use super::error_body::error;
use super::operation::operation;
use crate::attempt::Attempt;
use crate::host::any_local;
use crate::http::{Server, unsent};

const FLUSHED_AFTER: Duration = Duration::from_millis(10);

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 503 `SlowDown` (S3) or `Throttling` (others), not forwarded.
    Throttle,
    /// 500 `InternalError`, not forwarded.
    InternalError,
    /// 403 `AccessDenied`, not forwarded.
    Denied,
    /// The connection is closed, nothing is forwarded.
    LostRequest,
    /// It is forwarded and done; the reply never comes.
    LostReply,
    /// Forwarded; of the reply's body only so many bytes arrive, then the connection is closed.
    TruncatedReply(usize),
    /// Forwarded after this long.
    Slow(Duration),
    /// Not forwarded, not answered, not closed; ends when the client gives up.
    Hang,
}

/// Which of the requests of an operation: counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// This one.
    Nth(u64),
    /// These.
    Range(RangeInclusive<u64>),
    /// This one and all that follow.
    From(u64),
    /// All.
    Every,
}

/// A fault, and when it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `s3:PutObject`; `None`: any, counted together.
    pub operation: Option<String>,
    /// Which of them.
    pub occurrence: Occurrence,
    /// What happens.
    pub fault: Fault,
}

/// Faults by chance: each request by its operation and its number, so that a seed is the same story whatever runs beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// The story.
    pub seed: u64,
    /// How many of a hundred requests are hit.
    pub percent: u8,
    /// What may happen to them.
    pub faults: Vec<Fault>,
}

/// A request that came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Number among all, from 1.
    pub n: u64,
    /// `s3:PutObject`.
    pub operation: String,
    /// Number among those of its operation, from 1.
    pub occurrence: u64,
    /// Method.
    pub method: String,
    /// Path.
    pub path: String,
    /// Query.
    pub query: Option<String>,
    /// Bytes of its body.
    pub body_bytes: usize,
    /// Status that the cloud answered; `None` while that has not come, or when it was not asked.
    pub status: Option<u16>,
    /// What was done to it.
    pub fault: Option<Fault>,
}

/// A running proxy; dropping it closes its connections.
#[derive(Debug)]
pub struct HttpProxy {
    /// Where clients are sent: the `AWS_ENDPOINT_URL` of the function under test.
    pub url: String,
    _server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    http: reqwest::Client,
    rules: Mutex<(Vec<Rule>, Option<Chaos>)>,
    recorded: Mutex<Vec<Recorded>>,
    counts: watch::Sender<HashMap<String, u64>>,
}

impl HttpProxy {
    /// Starts a proxy in front of an endpoint.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(target: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().attempt("make an HTTP client")?;
        let shared = Arc::new(Shared {
            target: target.trim_end_matches('/').to_owned(),
            http,
            rules: Mutex::default(),
            recorded: Mutex::default(),
            counts: watch::channel(HashMap::new()).0,
        });
        let server = Server::start(any_local(), Router::new().fallback(handle).with_state(shared.clone())).await.context("serve the fault proxy")?;
        Ok(Self { url: server.url(), _server: server, shared })
    }

    /// Adds a rule. The first that fits a request decides.
    pub fn add(&self, rule: Rule) {
        lock(&self.shared.rules).0.push(rule);
    }

    /// Adds the rule that hits one request of an operation, counted from the start of the proxy.
    pub fn fail(&self, operation: &str, nth: u64, fault: Fault) {
        self.add(Rule { operation: Some(operation.to_owned()), occurrence: Occurrence::Nth(nth), fault });
    }

    /// Lets chance hit what no rule hits.
    pub fn set_chaos(&self, chaos: Option<Chaos>) {
        lock(&self.shared.rules).1 = chaos;
    }

    /// No fault any more.
    pub fn heal(&self) {
        *lock(&self.shared.rules) = (Vec::new(), None);
    }

    /// What came by, in order.
    pub fn recorded(&self) -> Vec<Recorded> {
        lock(&self.shared.recorded).clone()
    }

    /// How many requests of an operation came by.
    pub fn count(&self, operation: &str) -> u64 {
        self.shared.counts.borrow().get(operation).copied().unwrap_or(0)
    }

    /// Waits until the nth request of an operation has arrived; it may not have been answered yet.
    pub async fn wait_for(&self, operation: &str, nth: u64) {
        let mut counts = self.shared.counts.subscribe();
        let _ = counts.wait_for(|counts| counts.get(operation).copied().unwrap_or(0) >= nth).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Occurrence {
    fn fits(&self, n: u64) -> bool {
        match self {
            Self::Nth(nth) => n == *nth,
            Self::Range(range) => range.contains(&n),
            Self::From(first) => n >= *first,
            Self::Every => true,
        }
    }
}

impl Chaos {
    fn fault(&self, operation: &str, occurrence: u64) -> Option<Fault> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        // `DefaultHasher::new` has fixed keys: a seed means the same in every process.
        let mut hasher = DefaultHasher::new();
        (self.seed, operation, occurrence).hash(&mut hasher);
        let drawn = hasher.finish();
        let index = usize::try_from(drawn / 100).unwrap_or(0).checked_rem(self.faults.len())?;
        (drawn % 100 < u64::from(self.percent)).then(|| self.faults[index].clone())
    }
}

impl Shared {
    /// Counts a request and decides on it; gives its place in the record.
    fn arrive(&self, mut request: Recorded) -> (usize, Option<Fault>) {
        let mut recorded = lock(&self.recorded);
        request.n = recorded.len() as u64 + 1;
        self.counts.send_modify(|counts| {
            let count = counts.entry(request.operation.clone()).or_default();
            *count += 1;
            request.occurrence = *count;
        });
        let (rules, chaos) = &*lock(&self.rules);
        let chosen = rules.iter().find(|rule| match &rule.operation {
            Some(operation) => *operation == request.operation && rule.occurrence.fits(request.occurrence),
            None => rule.occurrence.fits(request.n),
        });
        let by_chance = || chaos.as_ref().and_then(|chaos| chaos.fault(&request.operation, request.occurrence));
        request.fault = chosen.map(|rule| rule.fault.clone()).or_else(by_chance);
        let fault = request.fault.clone();
        recorded.push(request);
        (recorded.len() - 1, fault)
    }

    async fn forward(&self, place: usize, parts: &axum::http::request::Parts, body: Bytes) -> Result<(StatusCode, HeaderMap, Bytes), reqwest::Error> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = parts.headers.clone();
        // Of this connection only; the body is sent whole.
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::EXPECT] {
            headers.remove(name);
        }
        let request = self.http.request(parts.method.clone(), format!("{}{path}", self.target)).headers(headers).body(body);
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await?;
        if let Some(recorded) = lock(&self.recorded).get_mut(place) {
            recorded.status = Some(status.as_u16());
        }
        Ok((status, headers, body))
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return unsent() };
    let (path, query) = (parts.uri.path(), parts.uri.query());
    let name = operation(&parts.method, path, query, &parts.headers, &body);
    let (place, fault) = shared.arrive(Recorded {
        n: 0,
        operation: name.clone(),
        occurrence: 0,
        method: parts.method.to_string(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        body_bytes: body.len(),
        status: None,
        fault: None,
    });
    let answer_error = |status, code| error(&name, &parts.headers, status, code);
    match fault {
        Some(Fault::Throttle) if name.starts_with("s3:") => return answer_error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Some(Fault::Throttle) => return answer_error(StatusCode::BAD_REQUEST, "ThrottlingException"),
        Some(Fault::InternalError) => return answer_error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Some(Fault::Denied) => return answer_error(StatusCode::FORBIDDEN, "AccessDenied"),
        Some(Fault::LostRequest) => return unsent(),
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::Slow(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::LostReply | Fault::TruncatedReply(_)) | None => {}
    }
    let Ok((status, headers, body)) = shared.forward(place, &parts, body).await else { return unsent() };
    match fault {
        Some(Fault::LostReply) => unsent(),
        Some(Fault::TruncatedReply(bytes)) => reply(status, &headers, truncated(&body, bytes)),
        _ => reply(status, &headers, Body::from(body)),
    }
}

fn reply(status: StatusCode, headers: &HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::CONNECTION && *name != header::TRANSFER_ENCODING) {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// The head promises the whole body; after these bytes the connection is closed.
fn truncated(body: &Bytes, bytes: usize) -> Body {
    let part = body.slice(..bytes.min(body.len()));
    // Head and part are sent while the stream is pending; an error that follows at once would swallow them.
    let cut = async {
        tokio::time::sleep(FLUSHED_AFTER).await;
        Err(std::io::Error::other("cut by the fault proxy"))
    };
    Body::from_stream(stream::iter([Ok(part)]).chain(stream::once(cut)))
}
