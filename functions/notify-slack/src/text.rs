//! Text in Slack's dialect: pure.
//!
//! Slack wants `&`, `<` and `>` escaped and nothing else (api.slack.com, "Formatting text for app surfaces"). With `<` escaped, no text of
//! somebody else can become a link or ping a channel. A limit counts escaped characters, and an entity is never cut.

const ELLIPSIS: char = '…';

/// The text, escaped, in at most so many characters; what does not fit is replaced by an ellipsis. Characters outside the basic plane
/// count twice, as Slack may count them. Never empty: Slack refuses that.
pub fn fit(text: &str, characters_max: usize) -> String {
    let text = text.trim();
    let mut fitted = String::new();
    let (mut length, mut length_before_last) = (0, 0);
    let mut end_before_last = 0;
    for char in text.chars() {
        let mut buffer = [0; 4];
        let piece = match char {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            // Invisible, and some of them reverse what follows.
            char if is_control(char) => " ",
            char => char.encode_utf8(&mut buffer),
        };
        let added = units(piece);
        if length + added > characters_max {
            // Make room for the ellipsis.
            while length + 1 > characters_max {
                fitted.truncate(end_before_last);
                length = length_before_last;
            }
            fitted.push(ELLIPSIS);
            return fitted;
        }
        if length < characters_max {
            (end_before_last, length_before_last) = (fitted.len(), length);
        }
        fitted.push_str(piece);
        length += added;
    }
    fitted.truncate(fitted.trim_end().len());
    if fitted.is_empty() { "-".to_owned() } else { fitted }
}

fn is_control(char: char) -> bool {
    (char.is_control() && char != '\n') || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How long a text is in UTF-16, which is never shorter than in characters.
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The text as code: in one line, and with nothing that ends the code.
pub fn code(text: &str, characters_max: usize) -> String {
    format!("`{}`", fit(&line(text, characters_max).replace('`', "'"), characters_max.saturating_sub(2)))
}

/// The text in one line; no more of it than can be shown.
pub fn line(text: &str, characters_max: usize) -> String {
    text.trim_start().chars().take(characters_max + 1).map(|char| if char == '\n' { ' ' } else { char }).collect()
}

/// `bytesRead` as `bytes read`; a unit in the name is left out, because the value has it.
pub fn words(name: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for char in name.chars() {
        if words.is_empty() || char.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(char.to_lowercase());
        }
    }
    words.retain(|word| word != "seconds" && word != "hours");
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slack_would_act_on_is_escaped() {
        assert_eq!(fit("<!channel> & <@U1> <https://x|y>", 100), "&lt;!channel&gt; &amp; &lt;@U1&gt; &lt;https://x|y&gt;");
        assert_eq!(fit("a\u{202e}b\tc\u{0}", 100), "a b c");
        assert_eq!(fit(" \n ", 100), "-");
        assert_eq!(code("a`b\nc", 100), "`a'b c`");
    }

    #[test]
    fn a_text_fits_its_limit_and_is_cut_between_characters() {
        for text in ["", "short", "&&&&&&&&&&", "<<<a>>>", "äöüäöüäöü", "😀😀😀😀😀😀", "a😀&ü<b>c😀&", "👩‍👩‍👧‍👦👩‍👩‍👧‍👦"]
        {
            for most in 1..40 {
                let fitted = fit(text, most);
                assert!(units(&fitted) <= most, "{text} in {most}: {fitted}");
                let plain = fitted.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
                assert!(!plain.contains(['&', '<', '>']), "an entity was cut: {fitted}");
                if most >= 6 * text.len() {
                    assert!(!fitted.contains(ELLIPSIS) || text.contains(ELLIPSIS), "{text} in {most}");
                }
            }
        }
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
    }

    #[test]
    fn names_of_facts_become_words() {
        assert_eq!([words("bytesRead"), words("backupAgeSecondsMax"), words("rows"), words("")], ["bytes read", "backup age max", "rows", ""]);
    }
}
