//! Which databases an instance has, and which of them a run dumps.

use shared::env::Databases;
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::{Connection, ContextSql};
use sqlx::Row;

/// Made and used by RDS itself; nobody else can connect to it.
const RDS_OWN: &str = "rdsadmin";

/// A database, as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Whether it accepts connections: `datallowconn`, and not left half-dropped.
    pub accepts_connections: bool,
    /// Whether our role may connect.
    pub may_connect: bool,
}

/// What a run dumps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// In the order of the list, or of the names.
    pub chosen: Vec<String>,
    /// What was not chosen although it was asked for.
    pub findings: Vec<Finding>,
}

/// Every database but templates and RDS's own.
///
/// # Errors
/// When the server cannot be asked, or a name is not UTF-8.
pub async fn list(connection: &mut Connection) -> Result<Vec<Database>, Failure> {
    // The names of databases are bytes to which no encoding belongs: they must not be converted from that of the database we happen to be in.
    let rows = sqlx::query(
        "SELECT pg_catalog.convert_to(datname::text, pg_catalog.getdatabaseencoding()), datallowconn AND datconnlimit <> -2, pg_catalog.has_database_privilege(oid, 'CONNECT')
           FROM pg_catalog.pg_database WHERE NOT datistemplate AND datname <> $1 ORDER BY datname",
    )
    .bind(RDS_OWN)
    .fetch_all(connection)
    .await
    .context_sql("list databases")?;
    rows.iter()
        .map(|row| {
            let name = row.try_get::<Vec<u8>, _>(0).context_sql("list databases")?;
            let name = String::from_utf8(name).map_err(|error| {
                let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Failure::new(FailureKind::Other, format!("the name of the database {shown:?} is not UTF-8"))
                    .hint("rename it; a client can only connect to a name that it can spell")
            })?;
            Ok(Database {
                name,
                accepts_connections: row.try_get(1).context_sql("list databases")?,
                may_connect: row.try_get(2).context_sql("list databases")?,
            })
        })
        .collect()
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

/// A name as SQL.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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
