//! Runs one function outside the cloud's Lambda: a tiny Lambda Runtime API for one process, with everything in the caller's hand: its environment,
//! its deadline, and when it dies. For fault tests and measurements.
//!
//! Protocol: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes".

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::failure::{Context, Failure};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::attempt::{Attempt, failed};
use crate::host::{any_local, now};
use crate::http::Server;
use crate::memory;
use crate::process::{Job, Order, Running};

const ARN: &str = "arn:aws:lambda:eu-central-1:000000000000:function:local";
const MEMORY_SAMPLES_EVERY: Duration = Duration::from_millis(10);

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It answered.
    Ok(Value),
    /// It failed, and said so.
    Err {
        /// `errorType`.
        kind: String,
        /// `errorMessage`.
        message: String,
    },
    /// The process ended before it answered.
    Died {
        /// How, for a person: `exit status: 1`, `signal: 9 (SIGKILL)`.
        status: String,
    },
    /// It did not answer in time, and was killed with its children as Lambda does.
    TimedOut,
}

impl Outcome {
    /// The answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn ok(self) -> Result<Value, Failure> {
        match self {
            Self::Ok(value) => Ok(value),
            other => Err(failed(format!("the function did not succeed: {other:?}"))),
        }
    }
}

/// One execution environment of a function. Dropping it kills the process and all its children.
#[derive(Debug)]
pub struct Runner {
    shared: Arc<Shared>,
    _api: Server,
    threads: Vec<JoinHandle<()>>,
    one_at_a_time: tokio::sync::Mutex<()>,
    pid: u32,
}

#[derive(Debug)]
struct Shared {
    running: Mutex<Running>,
    queue: Mutex<VecDeque<(String, Value, Duration)>>,
    queued: Notify,
    answer: watch::Sender<Option<(String, Outcome)>>,
    dead: watch::Sender<Option<String>>,
    stdout: Mutex<Vec<String>>,
    stderr: Mutex<Vec<String>>,
    peak_rss: AtomicU64,
}

impl Runner {
    /// Starts a function's binary. It sees this environment and what Lambda itself sets, nothing else.
    ///
    /// # Errors
    /// When it cannot be started. A function that ends at once shows in the first invocation.
    pub async fn start(binary: &Path, environment: &[(String, String)]) -> Result<Self, Failure> {
        let requests = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error));
        let state: Arc<std::sync::OnceLock<Arc<Shared>>> = Arc::default();
        // A function's answer is at most 6 MB; a report is far below.
        let router = requests.layer(axum::extract::DefaultBodyLimit::disable()).with_state(state.clone());
        let api = Server::start(any_local(), router).await.context("serve the Lambda runtime API")?;
        let name = binary.file_name().and_then(|name| name.to_str()).unwrap_or("function");
        let mut job = Job::new(binary)
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "local")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "local")
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .env("TZ", ":UTC");
        for (name, value) in environment {
            job = job.env(name, value);
        }
        let mut running = job.spawn()?;
        let (stdout, stderr) = (running.stdout.take(), running.stderr.take());
        let shared = Arc::new(Shared {
            running: Mutex::new(running),
            queue: Mutex::default(),
            queued: Notify::new(),
            answer: watch::channel(None).0,
            dead: watch::channel(None).0,
            stdout: Mutex::default(),
            stderr: Mutex::default(),
            peak_rss: AtomicU64::new(0),
        });
        let _ = state.set(shared.clone());
        let (pid_sender, pid) = tokio::sync::oneshot::channel();
        let mut threads = Vec::new();
        if let Some(stdout) = stdout {
            let shared = shared.clone();
            threads.push(tokio::task::spawn_blocking(move || read_stdout(stdout, &shared, pid_sender)));
        }
        if let Some(stderr) = stderr {
            let shared = shared.clone();
            threads.push(tokio::task::spawn_blocking(move || read_lines(stderr, &shared.stderr)));
        }
        let pid = pid.await.attempt("start the function")?;
        tokio::spawn(watch_process(Arc::downgrade(&shared), pid));
        Ok(Self { shared, _api: api, threads, one_at_a_time: tokio::sync::Mutex::default(), pid })
    }

    /// Invokes the function and waits for its answer, its death or the limit, which is also the deadline that it is told. One at a time; more wait.
    pub async fn invoke(&self, payload: &Value, limit: Duration) -> Outcome {
        let _turn = self.one_at_a_time.lock().await;
        let id = format!("{:032x}", rand::random::<u128>());
        self.invoke_as(&id, payload, limit).await
    }

    /// The same under a request id of the caller: the retries of an asynchronous call share one.
    pub async fn invoke_as(&self, id: &str, payload: &Value, limit: Duration) -> Outcome {
        let (mut answer, mut dead) = (self.shared.answer.subscribe(), self.shared.dead.subscribe());
        lock(&self.shared.queue).push_back((id.to_owned(), payload.clone(), limit));
        self.shared.queued.notify_one();
        let outcome = tokio::select! {
            biased;
            found = answer.wait_for(|answer| answer.as_ref().is_some_and(|(of, _)| of == id)) => {
                found.ok().and_then(|found| found.as_ref().map(|(_, outcome)| outcome.clone()))
            }
            status = dead.wait_for(Option::is_some) => status.ok().and_then(|status| status.clone()).map(|status| Outcome::Died { status }),
            () = tokio::time::sleep(limit) => None,
        };
        outcome.unwrap_or_else(|| {
            self.kill();
            Outcome::TimedOut
        })
    }

    /// Kills the process and all its children, as the end of a Lambda environment does.
    pub fn kill(&self) {
        lock(&self.shared.running).order(Order::KillAll);
    }

    /// Kills the function's process alone; its children stay until they end by themselves or this handle is dropped.
    pub fn kill_function_only(&self) {
        lock(&self.shared.running).order(Order::KillOne);
    }

    /// Stops the process and its children where they are, as Lambda freezes an environment.
    pub fn freeze(&self) {
        lock(&self.shared.running).order(Order::Stop);
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        lock(&self.shared.running).order(Order::Continue);
    }

    /// Waits until the function's process is dead and says how it ended.
    pub async fn died(&self) -> String {
        let mut dead = self.shared.dead.subscribe();
        dead.wait_for(Option::is_some).await.ok().and_then(|status| status.clone()).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lines of its standard output so far.
    pub fn stdout_lines(&self) -> Vec<String> {
        lock(&self.shared.stdout).clone()
    }

    /// Lines of its standard error so far.
    pub fn stderr_lines(&self) -> Vec<String> {
        lock(&self.shared.stderr).clone()
    }

    /// Largest sum of the peaks (`VmHWM`) of the function and of the children that ran at the same time, in bytes; sampled every 10 ms.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.shared.peak_rss.load(Ordering::Relaxed)
    }

    /// Ends it and waits until everything that it wrote was read.
    pub async fn end(mut self) -> (Vec<String>, Vec<String>) {
        self.kill();
        for thread in std::mem::take(&mut self.threads) {
            let _ = thread.await;
        }
        (self.stdout_lines(), self.stderr_lines())
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Not left to the last owner of the state: those who read the output are owners, too, and read until all is ended.
        lock(&self.shared.running).end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_stdout(stdout: impl Read, shared: &Shared, pid: tokio::sync::oneshot::Sender<u32>) {
    let mut reader = BufReader::new(stdout);
    let mut first = String::new();
    if reader.read_line(&mut first).is_ok()
        && let Some(Ok(number)) = first.trim().strip_prefix("pid ").map(str::parse)
    {
        let _ = pid.send(number);
    }
    read_lines(reader, &shared.stdout);
}

fn read_lines(source: impl Read, lines: &Mutex<Vec<String>>) {
    for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
        lock(lines).push(String::from_utf8_lossy(&line).into_owned());
    }
}

/// Samples memory until the function's process is gone, then says how it ended.
async fn watch_process(shared: std::sync::Weak<Shared>, pid: u32) {
    let mut ticks = tokio::time::interval(MEMORY_SAMPLES_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        if let Some(bytes) = memory::peak_of_tree(pid) {
            shared.peak_rss.fetch_max(bytes, Ordering::Relaxed);
            continue;
        }
        // The guard ends right after with the same status, unless children of the function stay.
        for _ in 0..10 {
            let ended = lock(&shared.running).ended();
            if let Some(status) = ended {
                shared.dead.send_replace(Some(status.to_string()));
                return;
            }
            ticks.tick().await;
        }
        shared.dead.send_replace(Some("signal: 9 (SIGKILL)".to_owned()));
        return;
    }
}

type Late = State<Arc<std::sync::OnceLock<Arc<Shared>>>>;

async fn shared_of(state: &std::sync::OnceLock<Arc<Shared>>) -> Arc<Shared> {
    // The process is started a moment before its state is complete.
    loop {
        if let Some(shared) = state.get() {
            return shared.clone();
        }
        tokio::task::yield_now().await;
    }
}

async fn next(State(state): Late) -> Response {
    let shared = shared_of(&state).await;
    let (id, payload, limit) = loop {
        let queued = shared.queued.notified();
        if let Some(found) = lock(&shared.queue).pop_front() {
            break found;
        }
        queued.await;
    };
    let deadline = now().timestamp_millis() + i64::try_from(limit.as_millis()).unwrap_or(i64::MAX / 2);
    Response::builder()
        .header("Content-Type", "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", id)
        .header("Lambda-Runtime-Deadline-Ms", deadline.to_string())
        .header("Lambda-Runtime-Invoked-Function-Arn", ARN)
        .header("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0")
        .body(Body::from(payload.to_string()))
        .unwrap_or_default()
}

async fn response(State(state): Late, UrlPath(id): UrlPath<String>, body: Bytes) -> (StatusCode, Json<Value>) {
    let outcome = serde_json::from_slice(&body)
        .map_or_else(|error| Outcome::Err { kind: "Runtime.InvalidResponse".to_owned(), message: error.to_string() }, Outcome::Ok);
    shared_of(&state).await.answer.send_replace(Some((id, outcome)));
    accepted()
}

async fn error(State(state): Late, UrlPath(id): UrlPath<String>, headers: HeaderMap, body: Bytes) -> (StatusCode, Json<Value>) {
    let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let header = headers.get("Lambda-Runtime-Function-Error-Type").and_then(|value| value.to_str().ok());
    let kind = text(&said, "errorType").or_else(|| header.map(str::to_owned)).unwrap_or_else(|| "Unhandled".to_owned());
    let message = text(&said, "errorMessage").unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
    shared_of(&state).await.answer.send_replace(Some((id, Outcome::Err { kind, message })));
    accepted()
}

async fn init_error(body: Bytes) -> (StatusCode, Json<Value>) {
    tracing::warn!(said = %String::from_utf8_lossy(&body), "the function could not be initialised");
    accepted()
}

fn accepted() -> (StatusCode, Json<Value>) {
    (StatusCode::ACCEPTED, Json(json!({"status": "OK"})))
}
