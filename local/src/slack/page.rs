//! Messages as Slack shows them, roughly: for the stand-in's page and for the demo's report. Self-contained: no script, font or image from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::Message;

/// Style of [`message`]; the page that shows messages includes it once.
pub const STYLE: &str = include_str!("slack.css");

/// The whole page.
pub(super) fn page(messages: &[Message]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content="3";
                title { "Slack stand-in: " (messages.len()) " messages" }
                style { (PreEscaped(STYLE)) }
            }
            body.slack-page {
                h1 { "Slack stand-in" }
                @if messages.is_empty() { p { "No message yet." } }
                @for kept in messages { (message(kept)) }
            }
        }
    }
}

/// One message.
pub fn message(message: &Message) -> Markup {
    let body = &message.body;
    let blocks = body["blocks"].as_array();
    let attachments = body["attachments"].as_array();
    html! {
        article.slack-message.slack-reply[message.thread_ts.is_some()] {
            header {
                span.slack-avatar { "L" }
                strong { (body["username"].as_str().unwrap_or("Lifeboat")) }
                span.slack-tag { "APP" }
                time { (message.ts) }
                @if message.updates > 0 { span.slack-edited { "changed " (message.updates) "×" } }
            }
            div.slack-body {
                @if let Some(blocks) = blocks {
                    @for one in blocks { (block(one)) }
                } @else if let Some(text) = body["text"].as_str() {
                    p { (mrkdwn(text)) }
                }
                @for attachment in attachments.into_iter().flatten() {
                    div.slack-attachment style=(format!("border-color: {}", colour(attachment))) {
                        @if let Some(text) = attachment["text"].as_str() { p { (mrkdwn(text)) } }
                        @for one in attachment["blocks"].as_array().into_iter().flatten() { (block(one)) }
                    }
                }
            }
        }
    }
}

/// A colour of six hexadecimal digits, as the message has it; anything else is grey.
fn colour(attachment: &Value) -> String {
    let colour = attachment["color"].as_str().unwrap_or_default();
    let named = match colour {
        "good" => "#2eb886",
        "warning" => "#daa038",
        "danger" => "#a30200",
        other => other,
    };
    let digits = named.trim_start_matches('#');
    if digits.len() == 6 && digits.chars().all(|char| char.is_ascii_hexdigit()) { format!("#{digits}") } else { "#dddddd".to_owned() }
}

fn block(block: &Value) -> Markup {
    let elements = || block["elements"].as_array().into_iter().flatten();
    match block["type"].as_str() {
        Some("header") => html! { h3 { (text(&block["text"])) } },
        Some("divider") => html! { hr; },
        Some("section") => html! {
            section {
                @if !block["text"].is_null() { p { (text(&block["text"])) } }
                @if let Some(fields) = block["fields"].as_array() {
                    div.slack-fields { @for field in fields { div { (text(field)) } } }
                }
            }
        },
        Some("context") => html! { div.slack-context { @for element in elements() { span { (text(element)) } } } },
        Some("actions") => html! {
            div.slack-actions { @for element in elements() { a href=[web_address(element["url"].as_str())] { (text(&element["text"])) } } }
        },
        Some("markdown") => html! { pre { (block["text"].as_str().unwrap_or_default()) } },
        Some(other) => html! { p.slack-unknown { "(" (other) ")" } },
        None => html! {},
    }
}

fn text(object: &Value) -> Markup {
    let text = object["text"].as_str().unwrap_or_default();
    if object["type"] == "mrkdwn" {
        mrkdwn(text)
    } else {
        html! { (with_emoji(text)) }
    }
}

/// Only what a browser may follow: a link is not a place for `javascript:`.
fn web_address(url: Option<&str>) -> Option<&str> {
    url.filter(|url| url.starts_with("https://") || url.starts_with("http://"))
}

/// Slack's own markup, as far as a report uses it: `*bold*`, `_italic_`, `` `code` ``, fenced code, `<url|text>`.
fn mrkdwn(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split("```").enumerate() {
            @if index % 2 == 1 { pre { (unescaped(part.trim_matches('\n'))) } } @else { (inline(part)) }
        }
    }
}

fn inline(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (unescaped(part)) } } @else { (links(part)) }
        }
    }
}

fn links(text: &str) -> Markup {
    let mut parts = text.split('<');
    let first = parts.next().unwrap_or_default();
    html! {
        (styled(first))
        @for part in parts {
            @if let Some((inside, after)) = part.split_once('>') {
                @let (url, shown) = inside.split_once('|').unwrap_or((inside, inside));
                a href=[web_address(Some(&unescaped(url)))] { (unescaped(shown)) }
                (styled(after))
            } @else { "<" (styled(part)) }
        }
    }
}

/// Bold and italic, where the marks stand alone at both ends of a word or phrase.
fn styled(text: &str) -> Markup {
    let mut marked: Vec<(char, &str)> = vec![(' ', text)];
    for mark in ['*', '_'] {
        marked = marked.into_iter().flat_map(|(style, part)| if style == ' ' { split_marked(part, mark) } else { vec![(style, part)] }).collect();
    }
    html! {
        @for (style, part) in marked {
            @match style { '*' => strong { (with_emoji(&unescaped(part))) }, '_' => em { (with_emoji(&unescaped(part))) }, _ => (with_emoji(&unescaped(part))) }
        }
    }
}

fn split_marked(text: &str, mark: char) -> Vec<(char, &str)> {
    let boundary = |char: Option<char>| char.is_none_or(|char| !char.is_alphanumeric());
    let mut parts = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(begin) = rest[from..].find(mark).map(|at| at + from) {
        let inner = &rest[begin + 1..];
        let end = inner.find(mark).filter(|end| {
            let phrase = &inner[..*end];
            let fits = !phrase.is_empty() && !phrase.contains('\n') && phrase.trim() == phrase;
            fits && boundary(rest[..begin].chars().next_back()) && boundary(inner[end + 1..].chars().next())
        });
        match end {
            Some(end) => {
                parts.push((' ', &rest[..begin]));
                parts.push((mark, &inner[..end]));
                rest = &inner[end + 1..];
                from = 0;
            }
            None => from = begin + 1,
        }
    }
    parts.push((' ', rest));
    parts
}

/// Slack wants three characters escaped; maud escapes them again for the browser.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn with_emoji(text: &str) -> String {
    const EMOJI: [(&str, &str); 10] = [
        (":white_check_mark:", "✅"),
        (":large_green_circle:", "🟢"),
        (":large_yellow_circle:", "🟡"),
        (":large_orange_circle:", "🟠"),
        (":red_circle:", "🔴"),
        (":white_circle:", "⚪"),
        (":warning:", "⚠️"),
        (":x:", "❌"),
        (":grey_question:", "❔"),
        (":rotating_light:", "🚨"),
    ];
    EMOJI.iter().fold(text.to_owned(), |text, (name, sign)| text.replace(name, sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_markup_becomes_html_and_nothing_else_does() {
        let shown = mrkdwn("*bold* a*b_c &lt;i&gt; <https://x.example/?a=1&amp;b=2|here> `*code*` <javascript:alert(1)|no>").into_string();
        assert!(shown.contains("<strong>bold</strong> a*b_c &lt;i&gt; "), "{shown}");
        assert!(shown.contains("<a href=\"https://x.example/?a=1&amp;b=2\">here</a>"), "{shown}");
        assert!(shown.contains("<code>*code*</code>"), "{shown}");
        assert!(shown.contains("<a>no</a>") && !shown.contains("javascript"), "{shown}");
    }
}
