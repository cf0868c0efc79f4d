//! What an error of the server says about the data that was being read: decided by SQLSTATE, never by the words of a message.
//!
//! A message is shown only where it cannot hold a value of somebody's row: those of damage name files, blocks and positions.

use shared::failure::Failure;

use crate::error::{failure, sqlstate};

/// Why a piece could not be read or checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server says that what it stores is damaged, or cannot be found.
    Damaged(String),
    /// Our role may not.
    Denied,
    /// It was cut off, by us or by a lock; it may be tried again.
    Unfinished,
    /// What was asked for is not there any more.
    Vanished,
    /// Something else that trying again does not change, with the SQLSTATE.
    Refused(String),
    /// The connection or the server: nothing is known about the data.
    Lost(Failure),
}

/// Longest message that is shown, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 400;

/// Sorts an error. The classes are those of the PostgreSQL manual, appendix "PostgreSQL Error Codes".
pub fn sort(error: &sqlx::Error) -> Trouble {
    let Some(code) = sqlstate(error) else { return Trouble::Lost(failure(error)) };
    sort_code(&code, &said(error), || failure(error))
}

/// The same, for the code alone: `said` is shown only for damage.
fn sort_code(code: &str, said: &str, lost: impl Fn() -> Failure) -> Trouble {
    match code {
        "42501" => Trouble::Denied,
        // lock_not_available, query_canceled, deadlock_detected, serialization_failure (of a replica that had to go on).
        "55P03" | "57014" | "40P01" | "40001" => Trouble::Unfinished,
        // undefined_table, undefined_object, invalid_schema_name.
        "42P01" | "42704" | "3F000" => Trouble::Vanished,
        // XX: data_corrupted, index_corrupted, and internal errors, which is what a broken page often makes. 58: a file that cannot be read.
        _ if code.starts_with("XX") || code.starts_with("58") => Trouble::Damaged(format!("{said} (SQLSTATE {code})")),
        // 08 connection, 53 out of something, 57 somebody ended it.
        _ if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => Trouble::Lost(lost()),
        _ => Trouble::Refused(code.to_owned()),
    }
}

fn said(error: &sqlx::Error) -> String {
    let message = error.as_database_error().map(|error| error.message().lines().next().unwrap_or_default().to_owned()).unwrap_or_default();
    message.chars().take(MESSAGE_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use shared::failure::FailureKind;

    use super::*;

    fn sorted(code: &str) -> Trouble {
        sort_code(code, "block 7", || Failure::new(FailureKind::Unreachable, "gone"))
    }

    #[test]
    fn only_damage_is_damage() {
        for code in ["XX000", "XX001", "XX002", "58P01", "58030"] {
            assert_eq!(sorted(code), Trouble::Damaged(format!("block 7 (SQLSTATE {code})")));
        }
        for code in ["42501", "55P03", "57014", "42P01", "42704", "57P01", "53300", "08006", "22P02", "54000", "40P01"] {
            assert!(!matches!(sorted(code), Trouble::Damaged(_)), "{code}");
        }
    }

    #[test]
    fn what_is_no_damage_is_told_apart_and_shows_no_message() {
        assert_eq!(sorted("42501"), Trouble::Denied);
        assert_eq!(sorted("57014"), Trouble::Unfinished);
        assert_eq!(sorted("42P01"), Trouble::Vanished);
        assert_eq!(sorted("22P02"), Trouble::Refused("22P02".to_owned()));
        assert!(matches!(sorted("57P01"), Trouble::Lost(_)) && matches!(sorted("53200"), Trouble::Lost(_)));
    }
}
