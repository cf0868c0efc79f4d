//! SQL as text: cut into tokens, so that a fragment of the team's can be put between ours without ending what stands around it, and so that a statement
//! can be shown without the values in it. Pure.
//!
//! It does not understand SQL, and decides nothing about what a statement may do: a read-only transaction and the role's privileges do that.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Blanks and line breaks.
    Space,
    /// `-- …` or `/* … */`.
    Comment,
    /// A string, in any of its forms.
    Text,
    /// A number.
    Number,
    /// A key word, or a name without quotation marks.
    Word,
    /// A name in quotation marks.
    Name,
    /// `$1`.
    Parameter,
    /// Any other character.
    Sign,
}

/// A piece of SQL text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub sort: Sort,
    /// Its text.
    pub text: &'a str,
    /// Whether what begins in it ends in it.
    pub is_closed: bool,
}

/// Cuts text into tokens; together they are the text. The rules are those of the PostgreSQL manual, "Lexical Structure", with
/// `standard_conforming_strings` on, as our sessions have it.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let (sort, length, is_closed) = next(rest, first);
        tokens.push(Token { sort, text: &rest[..length], is_closed });
        rest = &rest[length..];
    }
    tokens
}

fn next(rest: &str, first: char) -> (Sort, usize, bool) {
    let open = |sort, length: Option<usize>| (sort, length.unwrap_or(rest.len()), length.is_some());
    let bytes = rest.as_bytes();
    match first {
        _ if first.is_whitespace() => (Sort::Space, run(rest, char::is_whitespace), true),
        '-' if rest.starts_with("--") => (Sort::Comment, rest.find('\n').unwrap_or(rest.len()), true),
        '/' if rest.starts_with("/*") => open(Sort::Comment, comment(bytes)),
        '\'' => open(Sort::Text, quoted(bytes, 1, b'\'', false)),
        '"' => open(Sort::Name, quoted(bytes, 1, b'"', false)),
        'e' | 'E' if bytes.get(1) == Some(&b'\'') => open(Sort::Text, quoted(bytes, 2, b'\'', true)),
        'b' | 'B' | 'x' | 'X' | 'n' | 'N' if bytes.get(1) == Some(&b'\'') => open(Sort::Text, quoted(bytes, 2, b'\'', false)),
        'u' | 'U' if bytes.get(1) == Some(&b'&') && bytes.get(2) == Some(&b'\'') => open(Sort::Text, quoted(bytes, 3, b'\'', false)),
        'u' | 'U' if bytes.get(1) == Some(&b'&') && bytes.get(2) == Some(&b'"') => open(Sort::Name, quoted(bytes, 3, b'"', false)),
        '$' => dollar(rest),
        '0'..='9' => (Sort::Number, number(bytes), true),
        '.' if bytes.get(1).is_some_and(u8::is_ascii_digit) => (Sort::Number, number(bytes), true),
        _ if is_name_start(first) => (Sort::Word, run(rest, |char| is_name_start(char) || char.is_ascii_digit() || char == '$'), true),
        _ => (Sort::Sign, first.len_utf8(), true),
    }
}

fn is_name_start(char: char) -> bool {
    char.is_ascii_alphabetic() || char == '_' || !char.is_ascii()
}

fn run(text: &str, is_in: impl Fn(char) -> bool) -> usize {
    text.find(|char| !is_in(char)).unwrap_or(text.len())
}

/// Length of something between quotation marks, which begins at `from`; `None`: it does not end.
fn quoted(bytes: &[u8], from: usize, mark: u8, with_backslashes: bool) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if with_backslashes => at += 1,
            byte if byte == mark && bytes.get(at + 1) == Some(&mark) => at += 1,
            byte if byte == mark => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Comments nest.
fn comment(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn dollar(rest: &str) -> (Sort, usize, bool) {
    let after = &rest[1..];
    if after.starts_with(|char: char| char.is_ascii_digit()) {
        return (Sort::Parameter, 1 + run(after, |char| char.is_ascii_digit()), true);
    }
    let name = run(after, |char| is_name_start(char) || char.is_ascii_digit());
    if !after[name..].starts_with('$') {
        return (Sort::Sign, 1, true);
    }
    let tag = &rest[..name + 2];
    match rest[tag.len()..].find(tag) {
        Some(end) => (Sort::Text, tag.len() + end + tag.len(), true),
        None => (Sort::Text, rest.len(), false),
    }
}

fn number(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let is_sign = matches!(byte, b'+' | b'-') && at > 0 && matches!(bytes[at - 1], b'e' | b'E') && !bytes.starts_with(b"0x");
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || is_sign) {
            break;
        }
        at += 1;
    }
    at
}

/// Why a text cannot stand between parentheses of ours; `None`: it can, and ends nothing but itself.
pub fn mistake(text: &str) -> Option<&'static str> {
    let (mut open, mut is_empty) = (Vec::new(), true);
    for token in tokens(text) {
        if !token.is_closed {
            return Some("a quotation or a comment does not end");
        }
        is_empty &= matches!(token.sort, Sort::Space | Sort::Comment);
        match (token.sort, token.text) {
            (Sort::Parameter, _) => return Some("it has a parameter ($1), and there is nothing to put in its place"),
            (Sort::Sign, ";") => return Some("it has a semicolon: one statement, or a part of one, is expected"),
            (Sort::Sign, "(") => open.push(")"),
            (Sort::Sign, "[") => open.push("]"),
            (Sort::Sign, sign @ (")" | "]")) if open.pop() != Some(sign) => return Some("it closes a parenthesis that it did not open"),
            _ => {}
        }
    }
    match (is_empty, open.is_empty()) {
        (true, _) => Some("it is empty"),
        (_, false) => Some("it opens a parenthesis that it does not close"),
        _ => None,
    }
}

/// A statement without the semicolon at its end, which people write.
pub fn without_end(text: &str) -> &str {
    let mut length = text.len();
    for token in tokens(text).iter().rev() {
        match (token.sort, token.text) {
            (Sort::Space | Sort::Comment, _) => length -= token.text.len(),
            (Sort::Sign, ";") => return &text[..length - 1],
            _ => break,
        }
    }
    text
}

/// A statement for a person: without the values in it, comments and needless blanks, and cut.
pub fn redacted(text: &str, characters_max: usize) -> String {
    let mut shown = String::new();
    let mut length = 0;
    for token in tokens(text) {
        let piece = match token.sort {
            Sort::Space | Sort::Comment if shown.ends_with(' ') || shown.is_empty() => "",
            Sort::Space | Sort::Comment => " ",
            Sort::Text => "'?'",
            Sort::Number => "?",
            // What does not end may be anything.
            _ if !token.is_closed => "\"?",
            _ => token.text,
        };
        length += piece.chars().count();
        if length > characters_max {
            let kept: String = shown.chars().take(characters_max.saturating_sub(1)).collect();
            return format!("{}…", kept.trim_end());
        }
        shown.push_str(piece);
    }
    shown.trim_end().to_owned()
}

/// A statement of ours on one line, as a person pastes it: what is quoted stays as it is.
pub fn on_one_line(text: &str) -> String {
    let mut line = String::new();
    for token in tokens(text) {
        match (token.sort, token.text) {
            (Sort::Space, _) if line.ends_with(' ') || line.is_empty() => {}
            (Sort::Space, _) => line.push(' '),
            (_, text) => line.push_str(text),
        }
        // Wherever a person pastes it, the server's own functions are found without it.
        if line.ends_with("pg_catalog.") && token.text == "." {
            line.truncate(line.len() - "pg_catalog.".len());
        }
    }
    line.trim_end().to_owned()
}

/// A string as SQL text, whatever it holds and whatever the session says about backslashes.
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn sorts(text: &str) -> Vec<(Sort, &str)> {
        tokens(text).into_iter().filter(|token| token.sort != Sort::Space).map(|token| (token.sort, token.text)).collect()
    }

    #[test]
    fn each_kind_of_token_is_told_apart() {
        use Sort::{Comment, Name, Number, Parameter, Sign, Text, Word};
        assert_eq!(sorts("a$1 'b''c' E'd\\'e'"), [(Word, "a$1"), (Text, "'b''c'"), (Text, "E'd\\'e'")]);
        assert_eq!(sorts("$x$ ' $y$ $x$ $1 $"), [(Text, "$x$ ' $y$ $x$"), (Parameter, "$1"), (Sign, "$")]);
        assert_eq!(sorts("\"a\"\"b\" U&\"c\""), [(Name, "\"a\"\"b\""), (Name, "U&\"c\"")]);
        assert_eq!(sorts("1.5e-3-0x1F-.5"), [(Number, "1.5e-3"), (Sign, "-"), (Number, "0x1F"), (Sign, "-"), (Number, ".5")]);
        assert_eq!(sorts("/* a /* b */ c */ -- d\ne"), [(Comment, "/* a /* b */ c */"), (Comment, "-- d"), (Word, "e")]);
        assert_eq!(sorts("ünï>=1"), [(Word, "ünï"), (Sign, ">"), (Sign, "="), (Number, "1")]);
    }

    #[test]
    fn tokens_of_any_text_are_the_text() {
        let pieces = ["'", "\"", "$", "$a$", "--", "/*", "*/", "\n", "ü", "1", "e", "E'", "\\", "(", ")", ";", " ", ".", "U&"];
        for seed in 0..3000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let text: String = (0..rng.random_range(0..20)).map(|_| pieces[rng.random_range(0..pieces.len())]).collect();
            assert_eq!(tokens(&text).iter().map(|token| token.text).collect::<String>(), text, "seed {seed}");
            let _ = (mistake(&text), without_end(&text), redacted(&text, 10));
        }
    }

    #[test]
    fn what_ends_what_stands_around_it_is_refused() {
        for good in ["a > 1", "a = ')'", "a = $$;$$", "f(x[1], (2)) -- )", "\");\" = 1", "true /* ; */"] {
            assert_eq!(mistake(good), None, "{good}");
        }
        for bad in ["", " -- a", "a)", "(a", "a) OR (b", "a; DROP TABLE t", "'", "a = E'\\'", "/* /* */", "$x$", "\"", "a = $1", "([)]"] {
            assert!(mistake(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn one_semicolon_at_the_end_is_taken_away() {
        assert_eq!(without_end("SELECT 1 ; -- all\n"), "SELECT 1 ");
        assert_eq!(without_end("SELECT ';'"), "SELECT ';'");
        assert_eq!(without_end("SELECT 1;;"), "SELECT 1;");
    }

    #[test]
    fn no_value_is_left_in_a_statement_that_is_shown() {
        let cases = [
            ("ALTER ROLE a PASSWORD 'hunter2'", "ALTER ROLE a PASSWORD '?'"),
            ("SELECT  $1 /* user=42 */ FROM \"t 1\"\nWHERE a = 77.5", "SELECT $1 FROM \"t 1\" WHERE a = ?"),
            ("SET x = E'hun\\'ter'; SELECT $q$hunter$q$", "SET x = '?'; SELECT '?'"),
            ("SELECT 'hunt", "SELECT '?'"),
        ];
        for (text, shown) in cases {
            assert_eq!(redacted(text, 300), shown);
        }
        assert_eq!(redacted("SELECT abc FROM t", 10), "SELECT ab…");
    }

    #[test]
    fn one_line_keeps_what_is_quoted() {
        let text = "SELECT pg_catalog.left(\"a\n b\", 3)\n   FROM  t WHERE c = 'pg_catalog.  x'";
        assert_eq!(on_one_line(text), "SELECT left(\"a\n b\", 3) FROM t WHERE c = 'pg_catalog.  x'");
    }

    #[test]
    fn a_literal_is_one_token() {
        for text in ["a", "it's", "\\", "\\'", "'; DROP TABLE t; --", "E'", "$$"] {
            let literal = literal(text);
            assert_eq!(sorts(&literal).len(), 1, "{literal}");
            assert_eq!(mistake(&literal), None, "{literal}");
        }
    }
}
