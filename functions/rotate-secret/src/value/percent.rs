//! Percent-encoding as URLs have it, strictly: what is not a proper escape is a mistake, as it is to libpq, and not text that happens to have a `%`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but RFC 3986's unreserved characters: what no reader of a URL takes for anything else, in a userinfo, a query, or a form.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Escaped, so that it can stand anywhere in a URL.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// What an escaped text says; none if an escape is broken, hides a zero byte, or if it is not UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut left) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = left.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (char::from(left.next()?).to_digit(16)?, char::from(left.next()?).to_digit(16)?);
        match u8::try_from(high * 16 + low).ok()? {
            0 => return None,
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// The same of a form, where `+` is a space (Java's `URLDecoder`).
pub(super) fn decode_form(text: &str) -> Option<String> {
    decode(&text.replace('+', " "))
}
