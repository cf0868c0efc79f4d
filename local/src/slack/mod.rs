//! A stand-in for Slack: takes what Slack takes, refuses what Slack refuses, at Slack's pace, and keeps what it got. `GET /` shows it as a page,
//! `GET /_messages` as JSON; `POST /_faults` makes it behave as on a bad day.
//!
//! Web API errors are status 200 with `"ok": false`; a webhook's are a status and a word (api.slack.com, "Sending messages using incoming webhooks").

mod limits;
mod page;
mod rate;
mod web;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::failure::{Context, Failure};
use tokio::sync::watch;

pub use limits::{Refused, check};
pub use page::{STYLE, message as render};

use crate::host::any_local;
use crate::http::Server;

/// How strict and how fast it is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Messages that a channel or webhook takes at once.
    pub burst: u32,
    /// Messages a second after that.
    pub per_second: f64,
    /// Channels that exist, without `#`.
    pub channels: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { burst: 4, per_second: 1.0, channels: vec!["ops".to_owned(), "alerts".to_owned()] }
    }
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Number, from 1.
    pub n: u64,
    /// `webhook`, or `api` with a bot token.
    pub via: String,
    /// Id of the channel; a webhook knows only its own.
    pub channel: String,
    /// Slack's name of the message.
    pub ts: String,
    /// The message that it answers.
    pub thread_ts: Option<String>,
    /// How often it was changed.
    pub updates: u64,
    /// What was sent: text, blocks, attachments, metadata.
    pub body: Value,
}

/// What happens to the next requests; also the JSON of `POST /_faults`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fault {
    /// Answer with this status, and take nothing.
    pub status: Option<u16>,
    /// Answer with `"ok": false` and this error (a webhook: status 400 and this word), and take nothing.
    pub error: Option<String>,
    /// `Retry-After` of that answer.
    pub retry_after: Option<u64>,
    /// Wait so long before anything else.
    pub delay_seconds: f64,
    /// Take it, and never answer.
    pub drop: bool,
    /// How many requests are hit; 0 counts as 1.
    pub count: u64,
}

/// A running stand-in; dropping it ends it.
#[derive(Debug)]
pub struct Slack {
    /// `http://127.0.0.1:PORT`: the page.
    pub url: String,
    /// What goes into the SSM parameter for webhooks.
    pub webhook_url: String,
    /// What goes into the SSM parameter for the Web API.
    pub token: String,
    /// `SLACK_API_URL`.
    pub api_url: String,
    _server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    webhook_path: String,
    token: String,
    channels: Vec<String>,
    state: Mutex<State>,
    taken: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    rate: rate::Rate,
    messages: Vec<Message>,
    faults: VecDeque<Fault>,
    refused: Vec<Refused>,
    rate_limited: u64,
}

impl Slack {
    /// Starts a stand-in.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(options: &Options) -> Result<Self, Failure> {
        let secret = format!("{:024x}", rand::random::<u64>());
        let shared = Arc::new(Shared {
            webhook_path: format!("/services/T00000000/B00000000/{secret}"),
            token: format!("xoxb-0000000000-{secret}"),
            channels: options.channels.clone(),
            state: Mutex::new(State {
                rate: rate::Rate::new(options.burst, options.per_second),
                messages: Vec::new(),
                faults: VecDeque::new(),
                refused: Vec::new(),
                rate_limited: 0,
            }),
            taken: watch::channel(0).0,
        });
        let server = Server::start(any_local(), web::router(shared.clone())).await.context("serve the Slack stand-in")?;
        let url = server.url();
        Ok(Self {
            webhook_url: format!("{url}{}", shared.webhook_path),
            token: shared.token.clone(),
            api_url: format!("{url}/api"),
            url,
            _server: server,
            shared,
        })
    }

    /// What it got, in order; a changed message in its last form.
    pub fn messages(&self) -> Vec<Message> {
        self.shared.state().messages.clone()
    }

    /// What it refused, with Slack's code.
    pub fn refused(&self) -> Vec<Refused> {
        self.shared.state().refused.clone()
    }

    /// How often it answered 429.
    pub fn rate_limited(&self) -> u64 {
        self.shared.state().rate_limited
    }

    /// Plans a fault for the next requests, after those planned before.
    pub fn fault(&self, fault: &Fault) {
        self.shared.plan(fault);
    }

    /// Waits until a message is there that fits, and gives it.
    ///
    /// # Errors
    /// When none came in this time.
    pub async fn wait_for(&self, limit: Duration, fits: impl Fn(&Message) -> bool) -> Result<Message, Failure> {
        let mut taken = self.shared.taken.subscribe();
        let waiting = async {
            loop {
                taken.mark_unchanged();
                if let Some(found) = self.messages().into_iter().find(|message| fits(message)) {
                    return found;
                }
                if taken.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        let got = tokio::time::timeout(limit, waiting).await;
        got.map_err(|_| crate::attempt::failed(format!("no such message reached Slack within {} s", limit.as_secs())))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, fault: &Fault) {
        let mut state = self.state();
        for _ in 0..fault.count.max(1) {
            state.faults.push_back(fault.clone());
        }
    }
}
