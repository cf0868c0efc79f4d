//! Where in a JSON text the members of its object are. A text is checked as a whole by the library first; this only says where things begin and end, so that
//! one of them can be replaced and the others keep their bytes.

use std::ops::Range;

/// A member of the outermost object.
pub(super) struct Member {
    /// Its name.
    pub(super) name: String,
    /// Where its value is.
    pub(super) value: Range<usize>,
}

/// The members of a JSON object, in its order; none if the text is not one.
pub(super) fn members(text: &str) -> Option<Vec<Member>> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let bytes = text.as_bytes();
    let (mut members, mut at) = (Vec::new(), blanks(bytes, 0));
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = blanks(bytes, at + 1);
    while bytes.get(at) == Some(&b'"') {
        let end = value(bytes, at);
        let name = serde_json::from_str(text.get(at..end)?).ok()?;
        // The colon.
        let begin = blanks(bytes, blanks(bytes, end) + 1);
        at = value(bytes, begin);
        members.push(Member { name, value: begin..at });
        at = blanks(bytes, at);
        if bytes.get(at) == Some(&b',') {
            at = blanks(bytes, at + 1);
        }
    }
    Some(members)
}

/// The elements of an array that is at `range` of a sound text; none if it is something else.
pub(super) fn elements(text: &str, range: &Range<usize>) -> Option<Vec<Range<usize>>> {
    let bytes = text.as_bytes();
    if bytes.get(range.start) != Some(&b'[') {
        return None;
    }
    let (mut elements, mut at) = (Vec::new(), blanks(bytes, range.start + 1));
    while at + 1 < range.end {
        let end = value(bytes, at);
        elements.push(at..end);
        at = blanks(bytes, end);
        if bytes.get(at) == Some(&b',') {
            at = blanks(bytes, at + 1);
        }
    }
    Some(elements)
}

/// What a string at `range` says; none if it is something else.
pub(super) fn string(text: &str, range: &Range<usize>) -> Option<String> {
    serde_json::from_str(text.get(range.clone())?).ok()
}

/// A string as JSON has it, with its quotes.
pub(super) fn escape(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn blanks(bytes: &[u8], from: usize) -> usize {
    bytes[from.min(bytes.len())..].iter().position(|byte| !byte.is_ascii_whitespace()).map_or(bytes.len(), |count| from + count)
}

/// The end of the value that begins here.
fn value(bytes: &[u8], from: usize) -> usize {
    let (mut depth, mut at) = (0_usize, from);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                if depth == 0 {
                    return at + 1;
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            byte if depth == 0 && byte.is_ascii_whitespace() => return at,
            _ => {}
        }
        at += 1;
    }
    at
}
