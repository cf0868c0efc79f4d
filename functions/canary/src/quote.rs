//! What a server said, for a message: short, on one line, and without a secret that it may have sent back.

use shared::secrets::{ExposeSecret, SecretString};

/// Longer pieces are cut.
const PIECE_CHARS_MAX: usize = 80;
/// Longer sentences are cut.
const SENTENCE_CHARS_MAX: usize = 300;

/// Knows what must not be repeated.
pub struct Quote {
    secrets: Vec<SecretString>,
}

impl Quote {
    /// These values are never repeated.
    pub fn new(secrets: Vec<SecretString>) -> Self {
        Self { secrets }
    }

    /// A piece of an answer, in quotes.
    pub fn piece(&self, text: &str) -> String {
        let (short, is_cut) = cut(&self.clean(text), PIECE_CHARS_MAX);
        format!("{short:?}{}", if is_cut { "…" } else { "" })
    }

    /// A sentence of ours with something of an answer in it.
    pub fn sentence(&self, text: &str) -> String {
        let line = self.clean(text).replace(char::is_control, " ");
        let (short, is_cut) = cut(&line, SENTENCE_CHARS_MAX);
        if is_cut { format!("{short}…") } else { short }
    }

    /// A name that an answer gives itself: its first word.
    pub fn word(&self, text: &str) -> String {
        cut(self.sentence(text).split_whitespace().next().unwrap_or_default(), PIECE_CHARS_MAX).0
    }

    fn clean(&self, text: &str) -> String {
        let is_in = |secret: &&SecretString| text.contains(secret.expose_secret());
        self.secrets.iter().filter(is_in).fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), "(secret)"))
    }
}

fn cut(text: &str, chars_max: usize) -> (String, bool) {
    let short: String = text.chars().take(chars_max).collect();
    let is_cut = short.len() < text.len();
    (short, is_cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_short_and_without_secrets() {
        let quote = Quote::new(vec![SecretString::from("s3cret token".to_owned()), SecretString::from("other".to_owned())]);
        assert_eq!(quote.piece("you sent s3cret token\n"), r#""you sent (secret)\n""#);
        assert_eq!(quote.sentence("it leads\nto https://x/s3cret token/other"), "it leads to https://x/(secret)/(secret)");
        assert_eq!(quote.word("0badcafe built today"), "0badcafe");
        let long = quote.piece(&"é".repeat(500));
        assert_eq!((long.chars().count(), long.ends_with("\"…")), (PIECE_CHARS_MAX + 3, true));
        assert_eq!(quote.sentence(&"é".repeat(500)).chars().count(), SENTENCE_CHARS_MAX + 1);
    }
}
