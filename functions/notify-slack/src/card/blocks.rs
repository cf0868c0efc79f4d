//! The blocks that a card is made of, each within its limit by construction, and a pile that never grows beyond what Slack takes of all together.
//!
//! Limits: api.slack.com, "Block Kit: blocks reference"; the one for all blocks together is not documented and was measured by others (slackapi/bolt-js
//! issue 2509: about 13,200 characters). Here all blocks together have at most 12,000 characters as JSON, quotes and names included.

use serde_json::{Value, json};

use crate::text::{code, fit, line, units};

const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3_000;
const CONTEXT_MAX: usize = 1_900;
const CONTEXT_ELEMENTS_MAX: usize = 10;
const BLOCKS_MAX: usize = 50;
const BLOCKS_RESERVED: usize = 5;
/// All blocks together, as JSON.
pub(super) const CHARACTERS_MAX: usize = 12_000;

/// A pile of blocks.
#[derive(Debug, Default)]
pub(super) struct Pile {
    blocks: Vec<Value>,
    characters: usize,
    /// Kept for what must come last.
    reserved: usize,
}

impl Pile {
    /// A pile with so much of it kept for its end.
    pub(super) fn reserving(reserved: usize) -> Self {
        Self { reserved, ..Self::default() }
    }

    /// Adds a block, if there is room; says whether there was.
    pub(super) fn push(&mut self, block: Value) -> bool {
        let more = characters(&block) + 1;
        let most = if self.reserved > 0 { BLOCKS_MAX - BLOCKS_RESERVED } else { BLOCKS_MAX };
        let fits = self.blocks.len() < most && self.characters + more + self.reserved <= CHARACTERS_MAX;
        if fits {
            self.characters += more;
            self.blocks.push(block);
        }
        fits
    }

    /// Adds a block, if there is one and room for it.
    pub(super) fn extend(&mut self, block: Option<Value>) {
        if let Some(block) = block {
            self.push(block);
        }
    }

    /// From now on, what was kept may be used.
    pub(super) fn release(&mut self) {
        self.reserved = 0;
    }

    pub(super) fn into_blocks(self) -> Vec<Value> {
        self.blocks
    }
}

/// What a block takes.
fn characters(block: &Value) -> usize {
    units(&block.to_string())
}

/// The heading; its sign is ours, and in the text nothing is.
pub(super) fn header(sign: &str, title: &str) -> Value {
    let text = format!("{sign} {}", fit(&line(title, HEADER_MAX), HEADER_MAX - units(sign) - 1));
    json!({"type": "header", "text": {"type": "plain_text", "text": text, "emoji": false}})
}

/// Text that is not ours: nothing in it is markup.
pub(super) fn plain(text: &str, characters_max: usize) -> Value {
    json!({"type": "section", "text": {"type": "plain_text", "text": fit(text, characters_max.min(SECTION_MAX)), "emoji": false}})
}

/// Markup that was put together here. `verbatim`: Slack makes no links and mentions of its own.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// Lines of markup, as many as fit; none if there is none.
pub(super) fn section(lines: &[String]) -> Option<Value> {
    let text = as_many(lines, "\n", SECTION_MAX - 100)?;
    Some(json!({"type": "section", "text": mrkdwn(&text)}))
}

/// Small print.
pub(super) fn context(lines: &[String]) -> Option<Value> {
    let elements: Vec<Value> =
        lines.iter().filter(|line| !line.is_empty() && units(line) <= CONTEXT_MAX).take(CONTEXT_ELEMENTS_MAX).map(|line| mrkdwn(line)).collect();
    (!elements.is_empty()).then(|| json!({"type": "context", "elements": elements}))
}

/// So many of these as fit, whole ones: cut markup would be other markup.
pub(super) fn as_many(parts: &[String], between: &str, characters_max: usize) -> Option<String> {
    let mut text = String::new();
    let mut length = 0;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let more = units(part) + if text.is_empty() { 0 } else { units(between) };
        if length + more > characters_max {
            break;
        }
        if !text.is_empty() {
            text.push_str(between);
        }
        text.push_str(part);
        length += more;
    }
    (!text.is_empty()).then_some(text)
}

/// Somebody's text within markup, in one line: its stars, strokes, backticks and emoji are replaced by signs that look like them and do nothing.
pub(super) fn prose(text: &str, characters_max: usize) -> String {
    let chars: Vec<char> = line(text, characters_max).chars().collect();
    let is_word = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_alphanumeric);
    let tame: String = chars
        .iter()
        .enumerate()
        .map(|(at, char)| match char {
            '*' => '∗',
            '~' => '∼',
            '`' => '\'',
            // Within a word it is part of a name, and Slack leaves it alone.
            '_' if !(is_word(at.checked_sub(1)) && is_word(Some(at + 1))) => 'ˍ',
            ':' if begins_emoji(&chars[at + 1..]) => '∶',
            char => *char,
        })
        .collect();
    fit(&tame, characters_max)
}

/// Whether what follows a colon is a name and another colon.
fn begins_emoji(rest: &[char]) -> bool {
    let name = rest.iter().take(80).take_while(|char| char.is_alphanumeric() || "_+-'".contains(**char)).count();
    name > 0 && rest.get(name) == Some(&':') && rest[..name].iter().any(|char| char.is_alphabetic() || "+-".contains(*char))
}

/// A link with a text that is ours or tamed.
pub(super) fn link(url: &str, text: &str) -> String {
    format!("<{}|{}>", url.replace('&', "&amp;"), prose(&text.replace('|', "/"), 120))
}

/// A name in markup.
pub(super) fn name(text: &str) -> String {
    code(text, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_do_nothing_within_markup() {
        assert_eq!(
            prose("*bold* _it_ snake_case ~x~ `c` :fire: 12:55:00 <!channel>", 200),
            "∗bold∗ ˍitˍ snake_case ∼x∼ 'c' ∶fire: 12:55:00 &lt;!channel&gt;"
        );
        assert_eq!(link("https://x.example/?a=1&b=2", "a|b> <@U1>"), "<https://x.example/?a=1&amp;b=2|a/b&gt; &lt;@U1&gt;>");
        assert!(units(&prose(&"&".repeat(5_000), 50)) <= 50);
    }

    #[test]
    fn a_pile_never_grows_beyond_its_limit() {
        for filler in ["x", "漢", "&", "\"", "\u{1}", "😀"] {
            let mut pile = Pile::reserving(1_000);
            let mut pushed = 0;
            while pile.push(plain(&filler.repeat(700), 700)) {
                pushed += 1;
            }
            pile.release();
            assert!(pile.push(header("x", filler)), "{filler}");
            let blocks = pile.into_blocks();
            assert!(pushed > 1 && units(&Value::Array(blocks).to_string()) <= CHARACTERS_MAX + 2, "{filler}");
        }
    }

    #[test]
    fn lines_are_whole_or_not_there() {
        let lines = ["aaaa".to_owned(), String::new(), "bbbb".to_owned(), "c".to_owned()];
        assert_eq!(as_many(&lines, "\n", 10).as_deref(), Some("aaaa\nbbbb"));
        assert_eq!(as_many(&lines, "\n", 3), None);
        assert_eq!((section(&[]), context(&[String::new()])), (None, None));
    }
}
