//! Is this a message that Slack takes, that pings nobody, and in which no word of somebody else's is markup? And how does it read?

use notify_slack::card::Card;
use serde_json::Value;

/// All blocks together, as JSON.
const BLOCKS_CHARACTERS_MAX: usize = 12_002;
const PLAIN_MAX: usize = 3_500;
const TEXT_MAX: usize = 400;
/// Slack's own limit of elements in a list of small print, and of what each may have.
const CONTEXT_TEXT_MAX: usize = 2_000;

/// Markup that the fuzzer writes into other people's texts; none of it may come out as such.
pub(super) const PLANTED: [&str; 6] = ["*zzbold*", "_zzslanted_", "~zzstruck~", ":zzfire:", "<!channel>", "<https://zz.example|zz>"];

/// What is wrong with a card.
pub fn mistakes(card: &Card) -> Vec<String> {
    let mut wrong = Vec::new();
    for (message, name) in [(card.message(), "the message"), (card.plain_message(), "the plain message")] {
        if let Err(refused) = local::slack::check(&message) {
            wrong.push(format!("{name}: {}: {}", refused.code, refused.detail));
        }
    }
    let characters = serde_json::to_string(&card.blocks).map_or(usize::MAX, |json| json.encode_utf16().count());
    if characters > BLOCKS_CHARACTERS_MAX {
        wrong.push(format!("the blocks have {characters} characters"));
    }
    if card.blocks.is_empty() {
        wrong.push("there are no blocks".to_owned());
    }
    for (text, most, name) in [(&card.text, TEXT_MAX, "text"), (&card.plain, PLAIN_MAX, "plain text")] {
        let units = text.encode_utf16().count();
        if !(1..=most).contains(&units) {
            wrong.push(format!("the {name} has {units} characters"));
        }
        wrong.extend(markup_mistakes(text).into_iter().map(|mistake| format!("the {name}: {mistake}")));
    }
    for block in &card.blocks {
        visit(block, &mut wrong);
    }
    wrong
}

fn visit(value: &Value, wrong: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(item, wrong)),
        Value::Object(fields) => {
            if let (Some(kind), Some(text)) = (fields.get("type").and_then(Value::as_str), fields.get("text").and_then(Value::as_str)) {
                // What Slack counts, it may count in UTF-16.
                if text.encode_utf16().count() > 3_000 {
                    wrong.push("a text has more than 3,000 characters in UTF-16".to_owned());
                }
                match kind {
                    "mrkdwn" if fields.get("verbatim") != Some(&Value::Bool(true)) => wrong.push(format!("markup that is not verbatim: {text}")),
                    "mrkdwn" => wrong.extend(markup_mistakes(text)),
                    _ if fields.get("emoji") != Some(&Value::Bool(false)) => wrong.push(format!("a plain text with emoji: {text}")),
                    _ => wrong.extend(text.contains(['<', '>']).then(|| format!("a plain text that is not escaped: {text}"))),
                }
                wrong.extend(entity_mistake(text));
            }
            if fields.get("type").is_some_and(|kind| kind == "context") {
                let long = |element: &&Value| element["text"].as_str().is_some_and(|text| text.encode_utf16().count() > CONTEXT_TEXT_MAX);
                wrong.extend(fields["elements"].as_array().into_iter().flatten().find(long).map(|_| "small print that is long".to_owned()));
            }
            fields.values().for_each(|value| visit(value, wrong));
        }
        _ => {}
    }
}

/// An `&` that is not one of the three that Slack knows.
fn entity_mistake(text: &str) -> Option<String> {
    let lonely = |place: usize| !["&amp;", "&lt;", "&gt;"].iter().any(|entity| text[place..].starts_with(entity));
    text.match_indices('&').find(|(place, _)| lonely(*place)).map(|(place, _)| format!("an `&` alone: {}", excerpt(text, place)))
}

/// What is live in a text with markup: links of the web, and dates; nothing else.
fn markup_mistakes(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(entity_mistake(text));
    let mut outside = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        outside.push_str(before);
        let Some((inside, behind)) = after.split_once('>') else {
            wrong.push(format!("a `<` without an end: {}", excerpt(after, 0)));
            break;
        };
        let is_link = inside.split_once('|').is_some_and(|(url, shown)| {
            (url.starts_with("https://") || url.starts_with("http://"))
                && !url.contains([' ', '`', '"'])
                && !shown.is_empty()
                && !shown.contains(['|', '`', '\n'])
        });
        if !is_link && !is_date(inside) {
            wrong.push(format!("something live: <{}>", excerpt(inside, 0)));
        }
        outside.push('\u{1}');
        rest = behind;
    }
    outside.push_str(rest);
    if outside.contains('>') {
        wrong.push(format!("a `>` without a beginning: {}", excerpt(&outside, outside.find('>').unwrap_or(0))));
    }
    let spans: Vec<&str> = outside.split('`').collect();
    if spans.len().is_multiple_of(2) {
        wrong.push(format!("an odd number of backticks: {}", excerpt(&outside, 0)));
    }
    for (number, span) in spans.iter().enumerate() {
        if number % 2 == 1 && (span.contains(['\n', '\u{1}']) || span.is_empty()) {
            wrong.push(format!("code that does not end where it should: {}", excerpt(span, 0)));
        }
        if number % 2 == 0 {
            wrong.extend(PLANTED.iter().filter(|planted| is_live(span, planted)).map(|planted| format!("{planted} is live")));
        }
    }
    wrong
}

/// Whether markup that was planted does something: a stroke that follows a letter begins nothing, it is part of a name.
fn is_live(text: &str, planted: &str) -> bool {
    let in_a_name = |at: usize| text[..at].chars().next_back().is_some_and(|char| char.is_ascii_alphanumeric());
    text.match_indices(planted).any(|(at, _)| !(planted.starts_with('_') && in_a_name(at)))
}

/// `!date^1795402504^{date_short_pretty} at {time}|2026-11-23 02:55 UTC`.
fn is_date(inside: &str) -> bool {
    let Some((stamp, rest)) = inside.strip_prefix("!date^").and_then(|rest| rest.split_once('^')) else { return false };
    let Some(fallback) = rest.strip_prefix("{date_short_pretty} at {time}|") else { return false };
    stamp.len() >= 9 && stamp.chars().all(|char| char.is_ascii_digit()) && fallback.ends_with(" UTC") && fallback.len() == 20
}

fn excerpt(text: &str, from: usize) -> String {
    text[from..].chars().take(80).collect()
}

/// A card as a person reads it from top to bottom: one line for each, dates in UTC, addresses left out.
pub fn in_words(card: &Card) -> String {
    let mut lines = Vec::new();
    for block in &card.blocks {
        let text = |value: &Value| shown(value["text"].as_str().unwrap_or_default());
        match block["type"].as_str().unwrap_or_default() {
            "header" => lines.push(format!("# {}", text(&block["text"]))),
            "context" => {
                let elements: Vec<String> = block["elements"].as_array().into_iter().flatten().map(text).collect();
                lines.push(format!("({})", elements.join(" | ")));
            }
            _ => lines.push(text(&block["text"])),
        }
    }
    lines.join("\n")
}

/// Links as `[text]`, dates as their fallback.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        shown.push_str(before);
        let (inside, behind) = after.split_once('>').unwrap_or((after, ""));
        match inside.split_once('|') {
            Some((url, fallback)) if url.starts_with("!date") => shown.push_str(fallback),
            Some((_, words)) => shown.push_str(&format!("[{words}]")),
            None => shown.push_str(inside),
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_markup_is_noticed() {
        for good in [
            "",
            "*ours* <https://x.example|text> `<`",
            "a <!date^1795402504^{date_short_pretty} at {time}|2026-11-23 02:55 UTC>",
            "`*zzbold*`",
            "&lt;!channel&gt;",
        ] {
            let good = good.replace("`<`", "`&lt;`");
            assert_eq!(markup_mistakes(&good), Vec::<String>::new(), "{good}");
        }
        for bad in [
            "<!channel>",
            "<@U012345>",
            "<#C1>",
            "<https://x.example>",
            "<javascript:x|y>",
            "<!date^1^{time}|x>",
            "a `b",
            "a & b",
            "x > y",
            "*zzbold*",
            "a _zzslanted_",
            "``",
            "`a\nb`",
            "<https://x|a",
        ] {
            assert!(!markup_mistakes(bad).is_empty(), "{bad}");
        }
    }
}
