//! What Slack refuses in a message. Limits: api.slack.com "Block Kit: blocks reference"; the total is not documented and was measured by others
//! (slackapi/bolt-js issue 2509). Where Slack cuts silently (a text over 40,000 characters) the stand-in refuses, so that nobody relies on it.

use serde_json::Value;

const BLOCKS_MAX: usize = 50;
const BLOCKS_CHARACTERS_MAX: usize = 13_200;
const TEXT_MAX: usize = 40_000;
const BLOCK_ID_MAX: usize = 255;

/// Why a message is refused: Slack's error code, and what exactly is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `invalid_blocks`, `no_text`, …
    pub code: &'static str,
    /// For a person.
    pub detail: String,
}

fn refused<T>(code: &'static str, detail: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, detail: detail.into() })
}

/// Checks a message as `chat.postMessage` and incoming webhooks take it.
///
/// # Errors
/// With the code that Slack would answer.
pub fn check(message: &Value) -> Result<(), Refused> {
    let Some(fields) = message.as_object() else { return refused("invalid_payload", "the body is not a JSON object") };
    let text = match fields.get("text") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => return refused("invalid_payload", "`text` is not a string"),
    };
    if length(text) > TEXT_MAX {
        return refused("msg_too_long", format!("`text` has {} characters, at most {TEXT_MAX}", length(text)));
    }
    let blocks = list(message, "blocks", "invalid_blocks")?;
    check_blocks(blocks)?;
    let attachments = list(message, "attachments", "invalid_attachments")?;
    for attachment in attachments {
        check_blocks(list(attachment, "blocks", "invalid_blocks")?)?;
    }
    if text.is_empty() && blocks.is_empty() && attachments.is_empty() {
        return refused("no_text", "a message needs `text`, `blocks` or `attachments`");
    }
    Ok(())
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn list<'a>(of: &'a Value, name: &str, code: &'static str) -> Result<&'a [Value], Refused> {
    match &of[name] {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        _ => refused(code, format!("`{name}` is not a list")),
    }
}

fn check_blocks(blocks: &[Value]) -> Result<(), Refused> {
    if blocks.len() > BLOCKS_MAX {
        return refused("invalid_blocks", format!("{} blocks, at most {BLOCKS_MAX}", blocks.len()));
    }
    let mut characters = 0;
    for (index, block) in blocks.iter().enumerate() {
        characters += check_block(block).map_err(|detail| Refused { code: "invalid_blocks", detail: format!("blocks[{index}]: {detail}") })?;
    }
    if characters > BLOCKS_CHARACTERS_MAX {
        return refused("msg_blocks_too_long", format!("{characters} characters in all blocks, at most about {BLOCKS_CHARACTERS_MAX}"));
    }
    Ok(())
}

/// Checks one block; gives how many characters it counts.
fn check_block(block: &Value) -> Result<usize, String> {
    if let Some(id) = block["block_id"].as_str() {
        within("block_id", id, 1, BLOCK_ID_MAX)?;
    }
    match block["type"].as_str() {
        Some("divider") => Ok(0),
        Some("header") => text_object(&block["text"], 150, &["plain_text"]).map_err(|error| format!("header: {error}")),
        Some("section") => section(block),
        Some("context") => {
            let elements = elements(block, 10)?;
            elements.iter().try_fold(0, |sum, element| match element["type"].as_str() {
                Some("image") => image(element).map(|count| sum + count),
                _ => text_object(element, 3_000, BOTH).map(|count| sum + count),
            })
        }
        Some("actions") => elements(block, 25)?.iter().try_fold(0, |sum, element| interactive(element).map(|count| sum + count)),
        Some("image") => image(block),
        Some("markdown") => within("markdown text", block["text"].as_str().ok_or("markdown: `text` is missing")?, 1, 12_000),
        Some("rich_text") => Ok(rich_text(&elements(block, usize::MAX)?)),
        Some(other) => Err(format!("unsupported type: {other}")),
        None => Err("`type` is missing".to_owned()),
    }
}

const BOTH: &[&str] = &["plain_text", "mrkdwn"];

fn section(block: &Value) -> Result<usize, String> {
    let mut count = 0;
    let fields = block["fields"].as_array();
    if block["text"].is_null() && fields.is_none_or(Vec::is_empty) {
        return Err("section: needs `text` or `fields`".to_owned());
    }
    if !block["text"].is_null() {
        count += text_object(&block["text"], 3_000, BOTH).map_err(|error| format!("section: {error}"))?;
    }
    if let Some(fields) = fields {
        if fields.len() > 10 {
            return Err(format!("section: {} fields, at most 10", fields.len()));
        }
        for field in fields {
            count += text_object(field, 2_000, BOTH).map_err(|error| format!("section field: {error}"))?;
        }
    }
    match &block["accessory"] {
        Value::Null => Ok(count),
        accessory if accessory["type"] == "image" => Ok(count + image(accessory)?),
        accessory => Ok(count + interactive(accessory)?),
    }
}

fn elements(block: &Value, most: usize) -> Result<Vec<Value>, String> {
    let elements = block["elements"].as_array().filter(|elements| !elements.is_empty()).ok_or("`elements` is missing or empty")?;
    if elements.len() > most {
        return Err(format!("{} elements, at most {most}", elements.len()));
    }
    Ok(elements.clone())
}

fn text_object(object: &Value, most: usize, kinds: &[&str]) -> Result<usize, String> {
    let kind = object["type"].as_str().unwrap_or_default();
    if !kinds.contains(&kind) {
        return Err(format!("a text of type `{kind}`, must be {}", kinds.join(" or ")));
    }
    within("text", object["text"].as_str().ok_or("`text` is not a string")?, 1, most)
}

fn within(what: &str, text: &str, least: usize, most: usize) -> Result<usize, String> {
    let count = length(text);
    if (least..=most).contains(&count) { Ok(count) } else { Err(format!("{what} has {count} characters, must be {least} to {most}")) }
}

fn image(element: &Value) -> Result<usize, String> {
    let alternative = within("alt_text", element["alt_text"].as_str().ok_or("image: `alt_text` is missing")?, 1, 2_000)?;
    match (element["image_url"].as_str(), element["slack_file"].is_object()) {
        (Some(url), false) => within("image_url", url, 1, 3_000).map(|_| alternative),
        (None, true) => Ok(alternative),
        _ => Err("image: needs `image_url` or `slack_file`".to_owned()),
    }
}

fn interactive(element: &Value) -> Result<usize, String> {
    let kind = element["type"].as_str().ok_or("an element without `type`")?;
    if kind != "button" {
        return Err(format!("the stand-in knows no element of type {kind}"));
    }
    if let Some(url) = element["url"].as_str() {
        within("button url", url, 1, 3_000)?;
    }
    if let Some(value) = element["value"].as_str() {
        within("button value", value, 1, 2_000)?;
    }
    text_object(&element["text"], 75, &["plain_text"]).map_err(|error| format!("button: {error}"))
}

fn rich_text(elements: &[Value]) -> usize {
    elements
        .iter()
        .map(|element| element["text"].as_str().map_or(0, length) + element["elements"].as_array().map_or(0, |below| rich_text(below)))
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(message: &Value) -> &'static str {
        check(message).err().map_or("ok", |refused| refused.code)
    }

    fn section_of(characters: usize) -> Value {
        json!({"type": "section", "text": {"type": "mrkdwn", "text": "x".repeat(characters)}})
    }

    #[test]
    fn each_limit_holds_at_its_edge() {
        let header = |characters| json!({"type": "header", "text": {"type": "plain_text", "text": "x".repeat(characters)}});
        let field = |characters| json!({"type": "mrkdwn", "text": "x".repeat(characters)});
        let fields = |count: usize| json!({"type": "section", "fields": vec![field(5); count]});
        let context = |count: usize| json!({"type": "context", "elements": vec![field(5); count]});
        let cases = [
            (json!({"blocks": [section_of(3_000)]}), json!({"blocks": [section_of(3_001)]}), "invalid_blocks"),
            (json!({"blocks": [header(150)]}), json!({"blocks": [header(151)]}), "invalid_blocks"),
            (json!({"blocks": [fields(10)]}), json!({"blocks": [fields(11)]}), "invalid_blocks"),
            (
                json!({"blocks": [{"type": "section", "fields": [field(2_000)]}]}),
                json!({"blocks": [{"type": "section", "fields": [field(2_001)]}]}),
                "invalid_blocks",
            ),
            (json!({"blocks": [context(10)]}), json!({"blocks": [context(11)]}), "invalid_blocks"),
            (json!({"blocks": vec![section_of(10); 50]}), json!({"blocks": vec![section_of(10); 51]}), "invalid_blocks"),
            (json!({"blocks": vec![section_of(3_000); 4]}), json!({"blocks": vec![section_of(3_000); 5]}), "msg_blocks_too_long"),
            (json!({"text": "x".repeat(40_000)}), json!({"text": "x".repeat(40_001)}), "msg_too_long"),
        ];
        for (good, bad, expected) in cases {
            assert_eq!(code(&good), "ok", "{:?}", check(&good));
            assert_eq!(code(&bad), expected);
        }
    }

    #[test]
    fn what_slack_does_not_know_is_refused() {
        let bad = [
            json!({"type": "banner"}),
            json!({"text": {"type": "mrkdwn", "text": "no type"}}),
            json!({"type": "header", "text": {"type": "mrkdwn", "text": "headers are plain"}}),
            json!({"type": "section", "text": {"type": "markdown", "text": "wrong type"}}),
            json!({"type": "section", "text": {"type": "mrkdwn", "text": ""}}),
            json!({"type": "section"}),
            json!({"type": "context", "elements": []}),
        ];
        for block in bad {
            assert_eq!(code(&json!({"text": "fallback", "blocks": [block.clone()]})), "invalid_blocks", "{block}");
        }
        assert_eq!(code(&json!({})), "no_text");
        assert_eq!(code(&json!([])), "invalid_payload");
    }
}
