//! The one place that quotes: names and strings for statements that take no parameters.

/// An identifier in quotes.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string in quotes; `standard_conforming_strings` is on in every session of ours.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A list that a setting of names keeps (`search_path`), taken apart: the names without their quotes.
pub(super) fn names(list: &str) -> Vec<String> {
    let (mut names, mut name, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = list.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            char if char.is_whitespace() && !quoted => {}
            char => name.push(char),
        }
    }
    if !list.trim().is_empty() {
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_its_own_quotes() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's; --"), "'it''s; --'");
    }

    #[test]
    fn a_list_of_names_is_taken_apart() {
        assert_eq!(names("\"$user\", public, \"a, \"\"b\"\"\""), ["$user", "public", "a, \"b\""]);
        assert!(names("").is_empty());
        assert_eq!(names("\"\""), [""]);
    }
}
