//! `notify-slack`: whatever comes from the queue into Slack, one message each, in the order in which they were sent.
//!
//! A message leaves the queue only when Slack took it: whatever happens in between, it comes back, and in the end lies in the dead-letter
//! queue. So a message may be posted twice, and is never lost. This function publishes no report of its own, which it would have to post.

pub mod card;
pub mod config;
pub mod input;
pub mod slack;
pub mod text;

use std::time::Duration;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::env::Reader;
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::lambda::{Answer, Deployment, Function, Run};
use shared::report::{Report, Unit};
use shared::secrets;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::card::{Card, Places, Standing};
use crate::config::Settings;
use crate::input::{Item, Quiet};
use crate::slack::{Refused, TIMEOUT, Target};

/// Slack takes about one message a second into a channel (api.slack.com, "Rate limits").
const PAUSE: Duration = Duration::from_secs(1);
/// How often a message is tried again at once when Slack has trouble of its own; then it waits in the queue.
const TRIES_MAX: u32 = 3;
/// With less time than this, a request is not begun.
const TIME_MIN: Duration = Duration::from_secs(2);

/// The function.
pub struct NotifySlack {
    settings: Settings,
    places: Places,
    instance: String,
    ssm: aws_sdk_ssm::Client,
    http: Result<reqwest::Client, Failure>,
    state: Mutex<State>,
}

/// What one invocation leaves to the next in the same process.
#[derive(Default)]
struct State {
    /// The way in, once the secret was read.
    target: Option<Target>,
    /// When the last message was posted.
    posted_at: Option<Instant>,
}

/// A message that was not delivered.
enum Held {
    /// It goes back to the queue; the others may fare better.
    ThisOne(String),
    /// It goes back, and with it all others: Slack asks to wait, or the time is up.
    All(String),
    /// So too, and somebody must look.
    Broken(Failure),
}

impl Function for NotifySlack {
    const NAME: &'static str = "notify-slack";
    const PUBLISHES: bool = false;
    /// A batch of the queue; or one message, when CloudWatch or SNS invoke it directly.
    type Request = Value;

    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self {
        let settings = Settings::read(reader);
        let places = Places { runbook_url: settings.runbook_url.clone(), bucket: deployment.bucket.clone() };
        let (ssm, http) = (aws_sdk_ssm::Client::new(config), slack::client());
        Self { settings, places, instance: deployment.instance.clone(), ssm, http, state: Mutex::default() }
    }

    fn slot(_request: &Value, run: &Run) -> DateTime<Utc> {
        run.started_at
    }

    async fn handle(&self, request: Value, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let items = input::items(input::batch(&request), run.started_at);
        let mut state = self.state.lock().await;
        let mut tally = Tally { received: items.len(), ..Tally::default() };
        let mut back: Vec<&Item> = Vec::new();
        let (mut stopped, mut failed_in_a_row) = (None, 0);
        for item in &items {
            if stopped.is_some() {
                back.push(item);
                continue;
            }
            tally.not_understood += usize::from(item.events.iter().any(|event| !event.is_understood));
            let held = match self.deliver_item(&mut state, item, run).await {
                Ok(plain) => {
                    tally.plain += plain;
                    failed_in_a_row = 0;
                    continue;
                }
                Err(held) => held,
            };
            back.push(item);
            failed_in_a_row += 1;
            let (why, all) = match held {
                Held::ThisOne(why) => (why, false),
                Held::All(why) => (why, true),
                Held::Broken(failure) => {
                    report.fail(self.instance.as_str(), &failure);
                    (failure.to_string(), true)
                }
            };
            tracing::warn!(message = item.message_id, why, "a message goes back to the queue");
            tally.why.get_or_insert_with(|| why.clone());
            // Two in a row: it is not the message, and those behind it should not wait for the same.
            if all || failed_in_a_row > 1 {
                stopped = Some(why);
            }
        }
        tally.back = back.len();
        tally.describe(&self.instance, report);
        let ids: Option<Vec<Value>> = back.iter().map(|item| Some(json!({"itemIdentifier": item.message_id.as_ref()?}))).collect();
        let ids = ids.ok_or_else(|| Failure::new(FailureKind::BadRequest, "a message without an id was not delivered: the whole batch goes back"))?;
        Ok(Answer { reply: Some(json!({"batchItemFailures": ids})), only_answered: false })
    }
}

impl NotifySlack {
    /// Posts what a message says; gives how often only the plain form was taken. An alarm that was just made has nothing to say yet.
    async fn deliver_item(&self, state: &mut State, item: &Item, run: &Run) -> Result<usize, Held> {
        let mut plain = 0;
        for event in item.events.iter().filter(|event| event.quiet != Some(Quiet::JustMade)) {
            let card = card::root(event, &Standing::default(), &self.places);
            plain += usize::from(self.deliver(state, &card, run).await?);
        }
        Ok(plain)
    }

    /// Posts a card, at Slack's pace; says whether only its plain form was taken.
    async fn deliver(&self, state: &mut State, card: &Card, run: &Run) -> Result<bool, Held> {
        let (mut message, mut plain) = (card.message(), false);
        let (mut tries, mut secret_was_read_again) = (0, false);
        loop {
            let target = self.target(state).await.map_err(Held::Broken)?;
            match self.post(state, &target, &message, run).await? {
                Ok(()) => return Ok(plain),
                Err(Refused::Later(after)) => {
                    let after = after.unwrap_or(PAUSE * 5);
                    wait(after, run).await.map_err(|()| Held::All(format!("Slack asks to wait {} s", after.as_secs())))?;
                }
                Err(Refused::Message(why)) if !plain => {
                    tracing::warn!(why, "Slack does not take the message; it is posted as plain text");
                    (message, plain) = (card.plain_message(), true);
                }
                Err(Refused::Message(why)) => return Err(Held::ThisOne(format!("Slack does not take the message: {why}"))),
                Err(Refused::Unreachable(why)) => {
                    tries += 1;
                    let why = format!("Slack could not be reached: {why}");
                    if tries == TRIES_MAX {
                        return Err(Held::ThisOne(why));
                    }
                    wait(PAUSE * tries, run).await.map_err(|()| Held::All(why))?;
                }
                Err(Refused::Secret(why)) => {
                    // It may have been rotated since this process read it.
                    state.target = None;
                    let changed = !secret_was_read_again && !self.target(state).await.map_err(Held::Broken)?.is_same(&target);
                    secret_was_read_again = true;
                    if !changed {
                        // The next invocation reads it once more.
                        state.target = None;
                        let failure =
                            Failure::new(FailureKind::Denied, format!("Slack does not accept the secret in {}: {why}", self.settings.parameter));
                        return Err(Held::Broken(
                            failure.hint("put a valid webhook address or bot token into the parameter, then redrive the queue"),
                        ));
                    }
                }
                Err(Refused::Channel(why)) => {
                    let failure = Failure::new(FailureKind::BadSettings, format!("Slack does not let us post into the channel: {why}"));
                    return Err(Held::Broken(failure.hint("check SLACK_CHANNEL, and invite the app to the channel")));
                }
            }
        }
    }

    /// One request, no sooner than a second after the last.
    async fn post(&self, state: &mut State, target: &Target, message: &Value, run: &Run) -> Result<Result<(), Refused>, Held> {
        let http = self.http.as_ref().map_err(|failure| Held::Broken(failure.clone()))?;
        let begin = state.posted_at.map_or_else(Instant::now, |last| (last + PAUSE).max(Instant::now()));
        let left = run.work_until.saturating_duration_since(begin);
        if left < TIME_MIN {
            return Err(Held::All("the time of the invocation is up".to_owned()));
        }
        sleep_until(begin).await;
        state.posted_at = Some(begin);
        Ok(slack::post(http, target, message, TIMEOUT.min(left)).await)
    }

    /// The way in; reads the secret when there is none.
    async fn target(&self, state: &mut State) -> Result<Target, Failure> {
        if let Some(target) = &state.target {
            return Ok(target.clone());
        }
        let secret = secrets::parameter(&self.ssm, &self.settings.parameter).await?;
        let target = Target::new(secret, &self.settings)?;
        state.target = Some(target.clone());
        Ok(target)
    }
}

/// Waits, if there is time to post something afterwards.
async fn wait(duration: Duration, run: &Run) -> Result<(), ()> {
    if Instant::now() + duration + TIME_MIN > run.work_until {
        return Err(());
    }
    sleep(duration).await;
    Ok(())
}

/// The run in figures.
#[derive(Default)]
struct Tally {
    received: usize,
    back: usize,
    plain: usize,
    not_understood: usize,
    /// Why the first one was not delivered.
    why: Option<String>,
}

impl Tally {
    fn describe(&self, instance: &str, report: &mut Report) {
        let posted = self.received - self.back;
        let facts =
            [("received", self.received), ("posted", posted), ("back", self.back), ("plain", self.plain), ("notUnderstood", self.not_understood)];
        for (name, value) in facts {
            report.count(name, value as u64, Unit::Count);
        }
        let held = self.why.as_ref().map(|why| format!("; {} back to the queue: {why}", self.back)).unwrap_or_default();
        report.summary = format!("posted {posted} of {} messages{held}", self.received);
        if let Some(why) = self.why.as_ref().filter(|_| report.findings.is_empty()) {
            let seen = format!("{} of {} messages went back to the queue: {why}", self.back, self.received);
            let finding = Finding::new(FindingKind::NotDelivered, instance, seen);
            report.findings.push(finding.hint("nothing to do unless it lasts: they are tried again, and kept in the dead-letter queue after that"));
        }
    }
}
