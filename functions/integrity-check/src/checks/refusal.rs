//! What it means for a check that the server refused its statement: written wrong, not allowed, not finished, or damaged. Decided by SQLSTATE. Pure.

use shared_postgres::proof::quote;
use shared_postgres::trouble::Trouble;

use super::check::{Check, TableName};
use super::desk::{Refusal, Said};
use super::outcome::Outcome;
use super::sql::table;

/// What the catalogs say about a table that our role may not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denial {
    /// Whether the role may use the schema.
    pub may_use_schema: bool,
    /// Whether the role may read the table.
    pub may_select: bool,
    /// Whether row-level security hides rows from the role.
    pub is_hidden: bool,
}

/// Judges a refusal. `statement` is what was refused; `denial`: of the table that the role may not read, where that is known.
pub fn judge(check: &Check, refusal: &Refusal, statement: &str, role: &str, denials: &[(TableName, Denial)]) -> Outcome {
    let said = match refusal {
        Refusal::Server(said) => said,
        Refusal::GaveWay => {
            let seen = "it was ended because somebody waited for a lock behind it, a migration, say";
            return Outcome::NotChecked(seen.to_owned(), None);
        }
        Refusal::TimeIsOver => return Outcome::NotChecked("the night's time was over before it".to_owned(), None),
        Refusal::Lost(failure) => return Outcome::NotChecked(format!("the connection was lost while it ran: {failure}"), None),
    };
    match (&said.trouble, said.code.as_str()) {
        (Trouble::Damaged(what), "XX001" | "XX002") => Outcome::Damaged(what.clone()),
        // A cache look-up that fails beside a DROP says so too.
        (Trouble::Damaged(_), code) => Outcome::NotChecked(format!("the server failed by itself (SQLSTATE {code})"), None),
        (Trouble::Denied, _) => denied(said, role, denials),
        (Trouble::Unfinished, "57014") => Outcome::NotChecked(
            format!("it was not finished after {} s", check.timeout.as_secs()),
            Some("make it cheaper (an index, a `where` on recent rows), or raise its `timeout-seconds`".to_owned()),
        ),
        (Trouble::Unfinished, code) => Outcome::NotChecked(format!("it waited for a lock that somebody held (SQLSTATE {code})"), None),
        (Trouble::Lost(failure), _) => Outcome::NotChecked(format!("the connection was lost while it ran: {failure}"), None),
        // Serialization failures, and on a replica a conflict with what is replayed.
        (_, code) if code.starts_with("40") => Outcome::NotChecked(format!("the server ended it for the sake of others (SQLSTATE {code})"), None),
        (_, code) => Outcome::Invalid(invalid(check, said, code, statement)),
    }
}

fn denied(said: &Said, role: &str, denials: &[(TableName, Denial)]) -> Outcome {
    let role = quote(role);
    for (name, denial) in denials {
        if !denial.may_use_schema {
            let grant = format!("GRANT USAGE ON SCHEMA {0} TO {role}; GRANT SELECT ON {1} TO {role};", quote(&name.schema), table(name));
            return Outcome::NotChecked(format!("the role may not use the schema {}", name.schema), Some(grant));
        }
        if !denial.may_select {
            return Outcome::NotChecked(
                format!("the role may not read {}", name.subject()),
                Some(format!("GRANT SELECT ON {} TO {role};", table(name))),
            );
        }
    }
    if let Some((name, _)) = denials.iter().find(|(_, denial)| denial.is_hidden) {
        return Outcome::NotChecked(
            format!("row-level security hides rows of {} from the role, so what it would count is not everything", name.subject()),
            Some(format!("ALTER ROLE {role} BYPASSRLS; or: CREATE POLICY lifeboat_reads_all ON {} FOR SELECT TO {role} USING (true);", table(name))),
        );
    }
    let message = said.message.as_deref().unwrap_or("the role may not do something that it does");
    Outcome::NotChecked(
        format!("{message} (SQLSTATE {})", said.code),
        Some(format!(
            "GRANT SELECT ON the tables that it reads, or EXECUTE on its functions, TO {role}; where row-level security is meant: ALTER ROLE {role} BYPASSRLS;"
        )),
    )
}

fn invalid(check: &Check, said: &Said, code: &str, statement: &str) -> String {
    let line = line(check, said, statement);
    let what = match code {
        "25006" => "it writes, which no check can",
        "21000" => "its query gives more than one row; one number was expected",
        _ => "the server refuses it",
    };
    let message = said.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("line {line}: {what}{message} (SQLSTATE {code})")
}

/// The line of the file that an error is at, where it is in the team's SQL.
fn line(check: &Check, said: &Said, statement: &str) -> usize {
    let inside = check.sql().zip(said.position).and_then(|(sql, position)| {
        let begin = statement[..statement.find(&sql.text)?].chars().count();
        let before: String = sql.text.chars().take(position.checked_sub(begin)?).collect();
        (before.len() < sql.text.len()).then(|| sql.line + if sql.is_block { before.matches('\n').count() } else { 0 })
    });
    inside.unwrap_or(check.line)
}

#[cfg(test)]
mod tests {
    use shared::failure::{Failure, FailureKind};

    use super::*;
    use crate::checks::{State, TeamFile};

    fn state(code: &str, trouble: Trouble) -> (State, String) {
        let text = "[[check]]\nname = \"n\"\nkind = \"not-null\"\ntable = \"s.t\"\ncolumn = \"c\"\n";
        let check = TeamFile::read(text).checks.remove(0);
        let said = Said { code: code.to_owned(), message: Some("words".to_owned()), position: None, trouble };
        let outcome = judge(&check, &Refusal::Server(Box::new(said)), "", "r", &[]);
        let result = crate::checks::outcome::conclude(&check, outcome, 0.0);
        (result.state, result.finding.map(|finding| finding.kind.name().to_owned()).unwrap_or_default())
    }

    #[test]
    fn only_damage_is_damage_and_only_what_is_written_wrong_is_invalid() {
        let damaged = |code: &str| state(code, Trouble::Damaged("page 3".to_owned()));
        assert_eq!((damaged("XX001"), damaged("XX002").1.as_str()), ((State::NotChecked, "heapCorrupt".to_owned()), "heapCorrupt"));
        assert_eq!(damaged("XX000"), (State::NotChecked, "notChecked".to_owned()));
        let unfinished = ["55P03", "57014", "40P01"].map(|code| state(code, Trouble::Unfinished).0);
        assert_eq!(unfinished, [State::NotChecked; 3]);
        assert_eq!(state("42501", Trouble::Denied).0, State::NotChecked);
        assert_eq!(state("40001", Trouble::Refused("40001".to_owned())).0, State::NotChecked);
        assert_eq!(state("53100", Trouble::Lost(Failure::new(FailureKind::Other, "disk full"))).0, State::NotChecked);
        for code in ["42601", "42703", "22P02", "25006", "P0001", "0A000"] {
            assert_eq!(state(code, Trouble::Refused(code.to_owned())), (State::Invalid, "checkInvalid".to_owned()));
        }
        assert_eq!(state("42P01", Trouble::Vanished).0, State::Invalid);
    }

    #[test]
    fn the_line_is_that_of_the_mistake_where_it_is_in_the_teams_sql() {
        let text = "[[check]]\nname = \"n\"\nkind = \"sql\"\nsql = \"\"\"\nSELECT ü\n  FROM\n nowhere\n\"\"\"\n";
        let check = TeamFile::read(text).checks.remove(0);
        let statement = crate::checks::sql::rows(check.sql().expect("sql"), false);
        let at = |word: &str| statement[..statement.find(word).expect("the word")].chars().count();
        let line = |position| line(&check, &Said { code: String::new(), message: None, position, trouble: Trouble::Denied }, &statement);
        assert_eq!((line(Some(at("ü"))), line(Some(at("nowhere"))), line(Some(0)), line(Some(at("lifeboat"))), line(None)), (5, 7, 1, 1, 1));
    }
}
