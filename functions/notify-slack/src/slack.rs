//! Slack's two ways in: an incoming webhook, and `chat.postMessage` with a bot token. Knows what Slack's answers mean, not what to do about them.
//!
//! The secret is an address or a token; neither ever enters an error or a log line.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use serde_json::Value;
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

use crate::config::{Settings, may_carry_secret};

/// Where messages go.
#[derive(Clone)]
pub enum Target {
    /// An incoming webhook: its address is the secret, its channel is fixed.
    Webhook(SecretString),
    /// `chat.postMessage`.
    Api {
        /// Address of the method.
        url: String,
        /// The bot token.
        token: SecretString,
        /// Channel, by id or name.
        channel: String,
    },
}

/// Why Slack did not take a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much at once; when to come back, if it said so.
    Later(Option<Duration>),
    /// It does not know the secret.
    Secret(String),
    /// The channel is gone, archived or closed to us.
    Channel(String),
    /// It does not like the message.
    Message(String),
    /// It could not be reached, or has trouble of its own.
    Unreachable(String),
}

/// How long one request may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);

impl Target {
    /// Recognises the secret by its form.
    ///
    /// # Errors
    /// When it is neither a webhook nor a token, or there is no channel for a token.
    pub fn new(secret: SecretString, settings: &Settings) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::new(FailureKind::BadSettings, format!("the parameter {} {what}", settings.parameter));
        let text = secret.expose_secret();
        let local = text.starts_with("http://") && may_carry_secret(text);
        if text.starts_with("https://hooks.slack.com/") || local {
            return Ok(Self::Webhook(secret));
        }
        if text.starts_with("xoxb-") {
            let channel = settings.channel.clone().ok_or_else(|| {
                wrong("holds a bot token, and SLACK_CHANNEL is missing")
                    .hint("set the stack's parameter SlackChannel, and invite the app to the channel")
            })?;
            return Ok(Self::Api { url: format!("{}/chat.postMessage", settings.api_url), token: secret, channel });
        }
        Err(wrong("holds neither a webhook's address nor a bot token").hint("it must begin with https://hooks.slack.com/ or with xoxb-"))
    }

    /// Whether it is the same way in.
    pub fn is_same(&self, other: &Self) -> bool {
        self.secret().expose_secret() == other.secret().expose_secret()
    }

    fn secret(&self) -> &SecretString {
        match self {
            Self::Webhook(secret) | Self::Api { token: secret, .. } => secret,
        }
    }

    /// A text of somebody else's, without the secret.
    fn scrub(&self, text: &str) -> String {
        text.replace(self.secret().expose_secret(), "[secret]").chars().take(300).collect()
    }
}

/// A client without redirects, which could carry the secret elsewhere, and without the environment's proxies.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .build()
        .map_err(|error| Failure::from_error(FailureKind::Other, &error.without_url()).context("set up the HTTP client"))
}

/// Posts one message, once.
///
/// # Errors
/// When Slack did not take it.
pub async fn post(client: &reqwest::Client, target: &Target, message: &Value, timeout: Duration) -> Result<(), Refused> {
    let request = match target {
        Target::Webhook(url) => client.post(url.expose_secret()).json(message),
        Target::Api { url, token, channel } => {
            let mut message = message.clone();
            message["channel"] = channel.as_str().into();
            client.post(url).header(AUTHORIZATION, format!("Bearer {}", token.expose_secret())).json(&message)
        }
    };
    // An address in an error would be the secret.
    let unreachable = |error: reqwest::Error| {
        let failure = Failure::from_error(FailureKind::Unreachable, &error.without_url());
        Refused::Unreachable(target.scrub(&failure.to_string()))
    };
    let response = request.timeout(timeout).send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
    let body = response.text().await.map_err(unreachable)?;
    match target {
        Target::Webhook(_) => judge_webhook(status, retry_after, &target.scrub(&body)),
        Target::Api { .. } => judge_api(status, retry_after, &body).map_err(|refused| match refused {
            Refused::Message(why) => Refused::Message(target.scrub(&why)),
            other => other,
        }),
    }
}

/// What an incoming webhook's answer means: a status, and a word (api.slack.com, "Sending messages using incoming webhooks").
fn judge_webhook(status: u16, retry_after: Option<Duration>, body: &str) -> Result<(), Refused> {
    let word = body.trim();
    match (status, word) {
        (200..=299, _) => Ok(()),
        (429, _) => Err(Refused::Later(retry_after)),
        (408 | 500..=599, _) => Err(Refused::Unreachable(format!("status {status}: {word}"))),
        (_, "channel_not_found" | "channel_is_archived" | "user_not_found" | "action_prohibited" | "posting_to_general_channel_denied") => {
            Err(Refused::Channel(word.to_owned()))
        }
        (401 | 403 | 404 | 410, _) => Err(Refused::Secret(format!("status {status}: {word}"))),
        _ => Err(Refused::Message(format!("status {status}: {word}"))),
    }
}

/// What `chat.postMessage` means: status 200 says nothing, `ok` does.
fn judge_api(status: u16, retry_after: Option<Duration>, body: &str) -> Result<(), Refused> {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let Some(error) = answer["error"].as_str() else {
        return match (status, answer["ok"].as_bool()) {
            (200..=299, Some(true)) => Ok(()),
            (429, _) => Err(Refused::Later(retry_after)),
            (401 | 403, _) => Err(Refused::Secret(format!("status {status}"))),
            _ => Err(Refused::Unreachable(format!("status {status}, and an answer that is not Slack's"))),
        };
    };
    let details: Vec<&str> = answer["response_metadata"]["messages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let said = if details.is_empty() { error.to_owned() } else { format!("{error}: {}", details.join("; ")) };
    Err(match error {
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => Refused::Later(retry_after),
        "invalid_auth"
        | "not_authed"
        | "account_inactive"
        | "token_revoked"
        | "token_expired"
        | "no_permission"
        | "missing_scope"
        | "not_allowed_token_type"
        | "org_login_required"
        | "ekm_access_denied"
        | "access_denied"
        | "team_access_not_granted" => Refused::Secret(said),
        "channel_not_found" | "not_in_channel" | "is_archived" => Refused::Channel(said),
        _ if error.starts_with("restricted_action") => Refused::Channel(said),
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => Refused::Unreachable(said),
        _ => Refused::Message(said),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(channel: Option<&str>) -> Settings {
        Settings {
            parameter: "/lifeboat/dev/slack".into(),
            channel: channel.map(str::to_owned),
            api_url: "https://slack.com/api".into(),
            runbook_url: None,
        }
    }

    fn target(secret: &str, channel: Option<&str>) -> Result<Target, String> {
        Target::new(SecretString::from(secret.to_owned()), &settings(channel)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_secrets_form_decides() {
        for webhook in ["https://hooks.slack.com/services/T/B/x", "http://127.0.0.1:8080/services/T/B/x", "http://[::1]:8080/x"] {
            assert!(matches!(target(webhook, None), Ok(Target::Webhook(_))), "{webhook}");
        }
        assert!(matches!(target("xoxb-1", Some("#ops")), Ok(Target::Api { url, .. }) if url == "https://slack.com/api/chat.postMessage"));
        assert!(target("xoxb-1", None).is_err_and(|why| why.contains("SLACK_CHANNEL")));
    }

    #[test]
    fn what_is_not_slacks_is_refused_and_never_repeated() {
        for secret in [
            "http://hooks.slack.com/services/T/B/x",
            "https://hooks.slack.com.evil.example/x",
            "https://hooks.slack.com@evil.example/x",
            "https://evil.example/https://hooks.slack.com/",
            "http://127.0.0.1.evil.example/x",
            "xoxp-user-token",
            "hello",
        ] {
            let why = target(secret, Some("#ops")).err().expect(secret);
            assert!(!why.contains(secret), "{why}");
        }
    }

    #[test]
    fn a_webhooks_answers() {
        let five = Some(Duration::from_secs(5));
        assert_eq!(judge_webhook(200, None, "ok"), Ok(()));
        assert_eq!(judge_webhook(429, five, "rate_limited"), Err(Refused::Later(five)));
        assert_eq!(judge_webhook(404, None, "channel_not_found"), Err(Refused::Channel("channel_not_found".into())));
        assert!(matches!(judge_webhook(403, None, "invalid_token"), Err(Refused::Secret(_))));
        assert!(matches!(judge_webhook(404, None, "no_service"), Err(Refused::Secret(_))));
        assert!(matches!(judge_webhook(400, None, "invalid_blocks"), Err(Refused::Message(_))));
        assert!(matches!(judge_webhook(500, None, "rollup_error"), Err(Refused::Unreachable(_))));
        assert!(matches!(judge_webhook(302, None, ""), Err(Refused::Message(_))));
    }

    #[test]
    fn the_apis_answers_are_in_the_body() {
        let error = |code: &str| judge_api(200, None, &format!(r#"{{"ok":false,"error":"{code}"}}"#)).expect_err(code);
        assert_eq!(judge_api(200, None, r#"{"ok":true,"ts":"1.2"}"#), Ok(()));
        assert_eq!(judge_api(429, Some(TIMEOUT), "busy"), Err(Refused::Later(Some(TIMEOUT))));
        assert_eq!(error("ratelimited"), Refused::Later(None));
        assert!(matches!(error("invalid_auth"), Refused::Secret(_)));
        assert!(matches!(error("channel_not_found"), Refused::Channel(_)));
        assert!(matches!(error("restricted_action_read_only_channel"), Refused::Channel(_)));
        assert!(matches!(error("invalid_blocks"), Refused::Message(_)));
        assert!(matches!(error("msg_blocks_too_long"), Refused::Message(_)));
        assert!(matches!(error("something_new"), Refused::Message(_)));
        assert!(matches!(error("internal_error"), Refused::Unreachable(_)));
        for (status, body) in [(200, "<html>"), (200, "{}"), (200, ""), (502, "bad gateway"), (200, r#"{"ok":false}"#)] {
            assert!(matches!(judge_api(status, None, body), Err(Refused::Unreachable(_))), "{status} {body}");
        }
        let detailed = judge_api(200, None, r#"{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":["too long"]}}"#);
        assert_eq!(detailed, Err(Refused::Message("invalid_blocks: too long".into())));
    }
}
