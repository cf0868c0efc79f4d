//! The settings: where the secret is, and where to point a reader.

use shared::env::Reader;

/// The settings of the notifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the SSM parameter that holds a webhook URL or a bot token.
    pub parameter: String,
    /// The channel for a bot token; a webhook has its own.
    pub channel: Option<String>,
    /// Slack's Web API, without a closing slash.
    pub api_url: String,
    /// The page of the runbook; a finding's anchor is appended.
    pub runbook_url: Option<String>,
}

const API_URL: &str = "https://slack.com/api";

impl Settings {
    /// Reads SLACK_PARAMETER, SLACK_CHANNEL, SLACK_API_URL and LIFEBOAT_RUNBOOK_URL.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let settings = Self {
            parameter: reader.required("SLACK_PARAMETER"),
            channel: reader.optional("SLACK_CHANNEL"),
            api_url: reader.optional("SLACK_API_URL").unwrap_or_else(|| API_URL.to_owned()).trim_end_matches('/').to_owned(),
            runbook_url: reader.optional("LIFEBOAT_RUNBOOK_URL"),
        };
        if !may_carry_secret(&settings.api_url) {
            reader.mistake(format!("SLACK_API_URL is `{}`: it must be https, or http to this machine", settings.api_url));
        }
        if let Some(url) = settings.runbook_url.as_deref().filter(|url| !is_link(url)) {
            reader.mistake(format!("LIFEBOAT_RUNBOOK_URL is `{url}`: it must be an http or https address"));
        }
        settings
    }
}

/// Whether a secret may be sent there: encrypted, or without leaving this machine (the local cloud).
pub fn may_carry_secret(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    url.username().is_empty() && url.password().is_none() && (url.scheme() == "https" || (url.scheme() == "http" && loopback))
}

/// Whether Slack can show it as a link: nothing in it ends the link early.
pub fn is_link(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() < 1_000
        && !url.contains(['<', '>', '|', '"', '`'])
        && !url.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_nowhere_unencrypted() {
        for good in ["https://slack.com/api", "http://127.0.0.1:8080/api", "http://127.3.2.1/x", "http://[::1]:1/x", "http://localhost:1/x"] {
            assert!(may_carry_secret(good), "{good}");
        }
        for bad in [
            "http://slack.com/api",
            "http://127.0.0.1.evil.example/",
            "ftp://127.0.0.1/",
            "slack.com",
            "https://user:pass@slack.com/",
            "http://10.0.0.1/",
        ] {
            assert!(!may_carry_secret(bad), "{bad}");
        }
    }

    #[test]
    fn every_wrong_setting_is_named() {
        let lookup = |name: &str| match name {
            "SLACK_API_URL" => Some("http://slack.com/api".to_owned()),
            "LIFEBOAT_RUNBOOK_URL" => Some("https://x/|<!channel>".to_owned()),
            _ => None,
        };
        let mut reader = Reader::new(&lookup);
        Settings::read(&mut reader);
        let mistakes = reader.finish().expect_err("three mistakes").to_string();
        for name in ["SLACK_PARAMETER", "SLACK_API_URL", "LIFEBOAT_RUNBOOK_URL"] {
            assert!(mistakes.contains(name), "{mistakes}");
        }
    }
}
