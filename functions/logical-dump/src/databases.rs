//! Which of an instance's databases a run dumps.

use shared::env::Databases;
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::databases::Database;
use shared_postgres::proof::quote;

/// What a run dumps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// In the order of the list, or of the names.
    pub chosen: Vec<String>,
    /// What was not chosen although it was asked for.
    pub findings: Vec<Finding>,
}

/// Decides which are dumped.
///
/// # Errors
/// When a database that was named is not there, or cannot be connected to: the hint is the GRANT. With `allow_missing` that is a finding.
pub fn choose(seen: &[Database], wanted: &Databases, user: &str, allow_missing: bool) -> Result<Choice, Failure> {
    let mut choice = Choice::default();
    if let Databases::Listed(names) = wanted {
        let missing: Vec<&str> = names.iter().filter(|name| !seen.iter().any(|database| database.name == **name)).map(String::as_str).collect();
        if !missing.is_empty() {
            let there: Vec<&str> = seen.iter().map(|database| database.name.as_str()).collect();
            return Err(Failure::new(FailureKind::BadRequest, format!("there is no database {}", missing.join(", ")))
                .hint(format!("the instance has: {}", there.join(", "))));
        }
    }
    for database in seen {
        let named = match wanted {
            Databases::Every => false,
            Databases::Listed(names) if names.contains(&database.name) => true,
            Databases::Listed(_) => continue,
        };
        if !database.accepts_connections {
            let finding = Finding::new(FindingKind::DatabaseNotDumped, &database.name, "it accepts no connections")
                .hint("drop it, or let it accept connections: ALTER DATABASE … ALLOW_CONNECTIONS true");
            if named {
                return Err(Failure::new(FailureKind::BadRequest, format!("the database {} accepts no connections", database.name)));
            }
            choice.findings.push(finding);
        } else if !database.may_connect {
            let grant = format!("GRANT CONNECT ON DATABASE {} TO {};", quote(&database.name), quote(user));
            if !allow_missing {
                return Err(Failure::new(FailureKind::Denied, format!("{user} may not connect to the database {}", database.name)).hint(grant));
            }
            choice.findings.push(
                Finding::new(FindingKind::TableLeftOut, &database.name, format!("{user} may not connect to it: the whole database is left out"))
                    .hint(grant),
            );
        } else {
            choice.chosen.push(database.name.clone());
        }
    }
    if choice.chosen.is_empty() {
        return Err(Failure::new(FailureKind::BadRequest, "there is no database to dump"));
    }
    Ok(choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Vec<Database> {
        let database = |name: &str, accepts_connections, may_connect| Database { name: name.into(), accepts_connections, may_connect };
        vec![database("app", true, true), database("closed", false, true), database("other", true, true)]
    }

    #[test]
    fn every_database_is_dumped_and_one_that_is_closed_is_said() {
        let choice = choose(&seen(), &Databases::Every, "backup", false).expect("choose");
        assert_eq!(choice.chosen, ["app", "other"]);
        assert_eq!(choice.findings.len(), 1);
    }

    #[test]
    fn a_list_is_taken_at_its_word() {
        let listed = |names: &[&str]| Databases::Listed(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(choose(&seen(), &listed(&["other"]), "backup", false).expect("choose").chosen, ["other"]);
        assert_eq!(choose(&seen(), &listed(&["nope"]), "backup", false).expect_err("missing").kind, FailureKind::BadRequest);
        assert_eq!(choose(&seen(), &listed(&["closed"]), "backup", false).expect_err("closed").kind, FailureKind::BadRequest);
    }

    #[test]
    fn what_may_not_be_connected_to_fails_the_run_with_the_grant() {
        let mut seen = seen();
        seen[2].may_connect = false;
        let failure = choose(&seen, &Databases::Every, "bob \"x\"", false).expect_err("denied");
        assert_eq!(failure.hint.as_deref(), Some("GRANT CONNECT ON DATABASE \"other\" TO \"bob \"\"x\"\"\";"));
        let choice = choose(&seen, &Databases::Every, "bob", true).expect("choose");
        assert_eq!(choice.chosen, ["app"]);
        assert_eq!(choice.findings.iter().filter(|finding| finding.kind == FindingKind::TableLeftOut).count(), 1);
    }
}
