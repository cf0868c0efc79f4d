//! The life of an invocation, the same for every function: request → work → one report → log line, metrics, archive, topic.
//!
//! A function that finds something bad has succeeded. `Err` means that it could not do its job; the runtime then hears of it under a stable type,
//! Lambda tries again where that is configured, and the report says what happened all the same. A panic is such a failure.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::env::{self, Reader};
use crate::failure::{Context, Failure, FailureKind};
use crate::report::{self, Outcome, Report, Subject};
use crate::store::Store;
use crate::{VERSION, aws, key, telemetry};

/// SNS takes messages of at most 256 KiB (quota of Amazon SNS); the rest is for the envelope.
const MESSAGE_BYTES_MAX: usize = 200_000;

/// What every function is told about where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// `dev`, `staging` or `prod`.
    pub stage: String,
    /// The RDS instance that the stack guards.
    pub instance: String,
    /// The backup bucket.
    pub bucket: String,
    /// The topic for reports.
    pub topic_arn: String,
    /// The commit that was deployed.
    pub git_sha: String,
}

impl Deployment {
    /// Reads it from the settings.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            stage: reader.required("LIFEBOAT_STAGE"),
            instance: reader.required("LIFEBOAT_INSTANCE"),
            bucket: reader.required("LIFEBOAT_BUCKET"),
            topic_arn: reader.required("LIFEBOAT_TOPIC_ARN"),
            git_sha: reader.optional("LIFEBOAT_GIT_SHA").unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// One invocation.
#[derive(Clone, Debug)]
pub struct Run {
    /// Lambda's request id; the same for the retries of an asynchronous call.
    pub request_id: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it began, by the clock that never jumps.
    pub started: Instant,
    /// When Lambda ends the process.
    pub deadline: Instant,
    /// When work must stop, so that cleaning up and reporting still fit.
    pub work_until: Instant,
}

impl Run {
    /// An invocation that began now and may take this long. A tenth of the time, 2 to 30 seconds, is kept for the end.
    pub fn new(request_id: impl Into<String>, started_at: DateTime<Utc>, limit: Duration) -> Self {
        let reserve = (limit / 10).clamp(Duration::from_secs(2), Duration::from_secs(30));
        let now = Instant::now();
        Self { request_id: request_id.into(), started_at, started: now, deadline: now + limit, work_until: now + limit.saturating_sub(reserve) }
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        self.started_at + self.started.elapsed()
    }
}

/// What a handler gives back.
#[derive(Debug, Default)]
pub struct Answer {
    /// What the caller gets, where an envelope prescribes it; else the report.
    pub reply: Option<Value>,
    /// Whether nothing is archived and published: a dry run, a question.
    pub only_answered: bool,
}

/// A function of Lifeboat.
pub trait Function: Sized + Send + Sync + 'static {
    /// Its name: folder, package, binary and `job` of its reports.
    const NAME: &'static str;
    /// Whether its reports go to the topic. The notifier's do not: it would notify itself.
    const PUBLISHES: bool = true;
    /// What it is asked.
    type Request: DeserializeOwned + Send;

    /// Reads its settings (mistakes go into the reader) and builds its clients.
    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self;

    /// The slot that the request fills; a repeated delivery has the same.
    fn slot(request: &Self::Request, run: &Run) -> DateTime<Utc>;

    /// Does the job. What was measured and found so far stays in the report also when this fails.
    fn handle(&self, request: Self::Request, run: &Run, report: &mut Report) -> impl Future<Output = Result<Answer, Failure>> + Send;
}

/// A function that is ready to be invoked.
pub struct Handler<F> {
    function: Result<F, Failure>,
    deployment: Deployment,
    store: Store,
    sns: aws_sdk_sns::Client,
    cold: AtomicBool,
}

/// Serves invocations until Lambda ends the process: all that a `main` does.
///
/// # Errors
/// When Lambda's runtime interface is gone.
pub async fn serve<F: Function>() -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let handler = Arc::new(Handler::<F>::new(&env::process, &aws::configuration().await));
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let handler = handler.clone();
        // Boxed, for a whole job as one type is deeper than the compiler cares to look.
        async move { handler.serve_event(event).await.map_err(|failure| diagnostic(&failure)) }.boxed()
    }))
    .await
}

fn diagnostic(failure: &Failure) -> Diagnostic {
    Diagnostic { error_type: failure.kind.name().to_owned(), error_message: failure.to_string() }
}

impl<F: Function> Handler<F> {
    /// Reads the settings once. A mistake in them is not the end: every invocation then fails with the list of them, and reports it.
    pub fn new(lookup: &dyn Fn(&str) -> Option<String>, config: &SdkConfig) -> Self {
        let mut reader = Reader::new(lookup);
        let deployment = Deployment::read(&mut reader);
        let function = F::new(&mut reader, &deployment, config);
        let store = Store::new(aws_sdk_s3::Client::new(config), &deployment.bucket);
        let sns = aws_sdk_sns::Client::new(config);
        Self { function: reader.finish().map(|()| function), deployment, store, sns, cold: AtomicBool::new(true) }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that asks the clock")]
    async fn serve_event(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        let now = Utc::now();
        let left = event.context.deadline.saturating_sub(u64::try_from(now.timestamp_millis()).unwrap_or(0));
        let run = Run::new(event.context.request_id, now, Duration::from_millis(left));
        self.invoke(event.payload, &run, Utc::now).await
    }

    /// One invocation, from the request to the answer. `clock` gives the time at its end.
    ///
    /// # Errors
    /// When the job could not be done, or when nobody could be told how it ended.
    pub async fn invoke(&self, payload: Value, run: &Run, clock: fn() -> DateTime<Utc>) -> Result<Value, Failure> {
        if payload.get("kind").and_then(Value::as_str) == Some("version") {
            return Ok(json!({"function": F::NAME, "version": VERSION, "gitSha": self.deployment.git_sha, "stage": self.deployment.stage}));
        }
        let mut report = self.begin(run);
        let result = self.work(payload, run, &mut report).await;
        if let Err(failure) = &result {
            report.fail(self.deployment.instance.as_str(), failure);
            if report.summary.is_empty() {
                report.summary = format!("the run failed ({})", failure.kind.name());
            }
        }
        report.finish(clock());
        let cold_start = self.cold.swap(false, Ordering::Relaxed);
        telemetry::print(&telemetry::line(&report, &run.request_id, cold_start, clock()));
        let only_answered = result.as_ref().is_ok_and(|answer| answer.only_answered);
        let told = if only_answered { Ok(()) } else { self.tell(&report).await };
        // The job's own failure says more than that its report could not be delivered.
        let answer = result?;
        // A reply in an envelope's own form says what is done; a failure now would have it done again.
        if answer.reply.is_none() {
            told?;
        }
        match answer.reply {
            Some(reply) => Ok(reply),
            None => serde_json::to_value(report.fit(MESSAGE_BYTES_MAX)).context("write the report"),
        }
    }

    fn begin(&self, run: &Run) -> Report {
        Report {
            schema: report::SCHEMA,
            id: report::id(F::NAME, &self.deployment.instance, run.started_at),
            job: F::NAME.to_owned(),
            stage: self.deployment.stage.clone(),
            subject: Subject { instance: self.deployment.instance.clone(), database: None },
            version: VERSION.to_owned(),
            git_sha: self.deployment.git_sha.clone(),
            started_at: run.started_at,
            duration_seconds: 0.0,
            outcome: Outcome::Unknown,
            summary: String::new(),
            facts: Vec::new(),
            findings: Vec::new(),
            findings_left_out: 0,
            links: Vec::new(),
        }
    }

    async fn work(&self, payload: Value, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let function = self.function.as_ref().map_err(Clone::clone)?;
        let request: F::Request = serde_json::from_value(payload).map_err(|error| {
            Failure::new(FailureKind::BadRequest, format!("the request is not understood: {error}")).hint(format!(
                "examples of what {} accepts are in events/{}/",
                F::NAME,
                F::NAME
            ))
        })?;
        report.id = report::id(F::NAME, &self.deployment.instance, F::slot(&request, run));
        AssertUnwindSafe(function.handle(request, run, report)).catch_unwind().await.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::new(FailureKind::Panic, format!("panicked: {}", text.unwrap_or("(no message)")))
                .hint("this is a defect of Lifeboat: report it with this message"))
        })
    }

    /// Archives and publishes the report. Both are tried, whatever becomes of the other.
    async fn tell(&self, report: &Report) -> Result<(), Failure> {
        let archived = async {
            let bytes = serde_json::to_vec(report).context("write the report")?;
            self.store.put(&report_key(report), bytes, "application/json").await
        };
        let published = async {
            if !F::PUBLISHES {
                return Ok(());
            }
            let message = serde_json::to_string(&report.fit(MESSAGE_BYTES_MAX)).context("write the report")?;
            let call = self.sns.publish().topic_arn(&self.deployment.topic_arn).message(message);
            call.send().await.map(|_| ()).map_err(|error| aws::failure(error).context("publish the report (sns:Publish)"))
        };
        let (archived, published) = futures_util::future::join(archived, published).await;
        for failure in [archived.as_ref().err(), published.as_ref().err()].into_iter().flatten() {
            tracing::error!(failure = %failure, "the report could not be delivered");
        }
        archived.map(|_| ()).and(published)
    }
}

/// `reports/JOB/DATE/ID-STARTED.json`: the attempts of a run share the id and lie side by side.
pub fn report_key(report: &Report) -> String {
    let started = report.started_at;
    format!("reports/{}/{}/{}-{}.json", report.job, started.format("%Y-%m-%d"), key::segment(&report.id), started.format("%H%M%S%3f"))
}
