//! The name of a rotation, and how it is found again where it left a trace.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One rotation of one secret: `20261123t020000z-0badcafe00112233`. It says nothing that may not be known: it stands in comments that every role can read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RotationId(String);

impl RotationId {
    /// The rotation of this secret for this slot; `distinguishing` makes two calls of one second differ, and retries of one call equal.
    pub fn new(secret: &str, slot: DateTime<Utc>, distinguishing: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [secret, distinguishing] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let hex = hex(&hash.finalize()[..8]);
        Self(format!("{}-{hex}", slot.format("%Y%m%dt%H%M%Sz")))
    }

    /// The rotation that Secrets Manager drives under this token, the same at each of its steps.
    pub fn of_token(secret: &str, token: &str) -> Self {
        let Self(id) = Self::new(secret, DateTime::UNIX_EPOCH, token);
        Self(id.rsplit_once('-').map_or_else(|| id.clone(), |(_, hex)| format!("token-{hex}")))
    }

    /// A token for Secrets Manager (32 to 64 characters), the same for the same rotation.
    pub fn token(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes())[..16])
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RotationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

const MARK_BEGIN: &str = "[lifeboat rotation ";
const UNDONE: &str = " undone";
const RETIRED: &str = " retired";

/// What was done to a role's password last, as its comment says: it is written in the transaction that did it, so it is true or nothing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is the new one of this rotation.
    Set(RotationId),
    /// This rotation had set a new one, and set the old one again.
    Undone(RotationId),
    /// This rotation took it away, and the right to log in.
    Retired(RotationId),
}

/// The comment of a role with the mark of a new password in place of an older mark; what else is said of the role stays.
pub fn marked(comment: Option<&str>, rotation: &RotationId) -> String {
    with_mark(comment, rotation, "")
}

/// The same, when the old password was set again.
pub fn undone(comment: Option<&str>, rotation: &RotationId) -> String {
    with_mark(comment, rotation, UNDONE)
}

/// The same, when the password and the right to log in were taken away.
pub fn retired(comment: Option<&str>, rotation: &RotationId) -> String {
    with_mark(comment, rotation, RETIRED)
}

fn with_mark(comment: Option<&str>, rotation: &RotationId, word: &str) -> String {
    let rest = without_mark(comment.unwrap_or_default());
    let separator = if rest.is_empty() { "" } else { " " };
    format!("{rest}{separator}{MARK_BEGIN}{rotation}{word}]")
}

/// The mark of a comment; `None` where no rotation has left one.
pub fn mark(comment: &str) -> Option<Mark> {
    let (_, after) = comment.rsplit_once(MARK_BEGIN)?;
    let (text, _) = after.split_once(']')?;
    let id = |text: &str| RotationId(text.to_owned());
    Some(if let Some(text) = text.strip_suffix(UNDONE) {
        Mark::Undone(id(text))
    } else if let Some(text) = text.strip_suffix(RETIRED) {
        Mark::Retired(id(text))
    } else if text.is_empty() {
        return None;
    } else {
        Mark::Set(id(text))
    })
}

fn without_mark(comment: &str) -> String {
    match comment.rsplit_once(MARK_BEGIN) {
        Some((before, after)) => {
            let behind = after.split_once(']').map_or("", |(_, behind)| behind);
            format!("{}{behind}", before.trim_end())
        }
        None => comment.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(distinguishing: &str) -> RotationId {
        RotationId::new("shop", "2026-11-23T02:00:00Z".parse().expect("time"), distinguishing)
    }

    #[test]
    fn a_retry_has_the_same_id_and_another_call_has_not() {
        assert_eq!(id("a"), id("a"));
        assert_ne!(id("a"), id("b"));
        assert!(id("a").as_str().starts_with("20261123t020000z-") && id("a").as_str().len() == 33);
    }

    #[test]
    fn the_mark_is_found_again_and_leaves_the_comment() {
        for comment in [None, Some(""), Some("the shop's user"), Some("a [lifeboat rotation b")] {
            let once = marked(comment, &id("a"));
            assert_eq!(mark(&once), Some(Mark::Set(id("a"))), "{once}");
            let twice = retired(Some(&once), &id("b"));
            assert_eq!(mark(&twice), Some(Mark::Retired(id("b"))), "{twice}");
            let thrice = undone(Some(&twice), &id("a"));
            assert_eq!(mark(&thrice), Some(Mark::Undone(id("a"))), "{thrice}");
            assert_eq!(marked(Some(&thrice), &id("a")), once);
        }
        assert_eq!(marked(Some(&marked(Some("the shop's user"), &id("a"))), &id("b")), format!("the shop's user [lifeboat rotation {}]", id("b")));
        assert_eq!(mark("the shop's user"), None);
    }
}
