//! The roles of a fresh scratch instance: from the archive's `globals.sql`, filtered. Nobody can log in, nobody has a password, nobody is more than the
//! instance's master may make; RDS's and PostgreSQL's own roles are never touched. Pure, but for [`restore`].

use serde_json::json;
use shared::failure::Failure;
use shared::finding::{Finding, FindingKind};
use shared_postgres::{Connection, ContextSql};
use sqlx::AssertSqlSafe;

use crate::ledger;
use crate::statement::{identifier, refusal};

/// The step in the ledger.
pub(super) const STEP: &str = "globals";
/// Attributes that are kept.
const KEPT: [&str; 6] = ["INHERIT", "NOINHERIT", "CREATEDB", "NOCREATEDB", "CREATEROLE", "NOCREATEROLE"];
/// Names in one finding.
const NAMES_MAX: usize = 20;

/// What becomes of a statement of `globals.sql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// A role is made.
    Create(String),
    /// It is run.
    Run(String),
    /// It is left out; what it was, and why.
    LeftOut(String),
    /// It says nothing.
    Nothing,
}

/// Cuts SQL text into statements, each into words; quoted names are one word, with their quotes.
fn statements(sql: &str) -> Vec<Vec<String>> {
    let (mut statements, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let mut chars = sql.chars().peekable();
    let mut line_begins = true;
    while let Some(char) = chars.next() {
        match char {
            // `\restrict` and its like are for psql.
            '\\' if line_begins => while chars.next_if(|char| *char != '\n').is_some() {},
            '-' if chars.peek() == Some(&'-') && word.is_empty() => while chars.next_if(|char| *char != '\n').is_some() {},
            '"' | '\'' => {
                let escapes = char == '\'' && word.eq_ignore_ascii_case("e");
                word.push(char);
                while let Some(inner) = chars.next() {
                    word.push(inner);
                    if escapes && inner == '\\' {
                        word.extend(chars.next());
                    } else if inner == char {
                        match chars.next_if_eq(&char) {
                            Some(again) => word.push(again),
                            None => break,
                        }
                    }
                }
            }
            ';' => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                statements.push(std::mem::take(&mut words));
            }
            char if char.is_whitespace() => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            ',' => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                words.push(",".to_owned());
            }
            other => word.push(other),
        }
        line_begins = char == '\n';
    }
    statements
}

/// A name without its quotes.
fn name(word: &str) -> String {
    match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => word.to_owned(),
    }
}

/// RDS's own roles, and PostgreSQL's.
fn is_reserved(role: &str) -> bool {
    role.starts_with("pg_") || role.starts_with("rds") || role == "postgres"
}

/// What becomes of each statement.
pub(super) fn filter(sql: &str) -> Vec<Global> {
    statements(sql).iter().filter(|words| !words.is_empty()).map(|words| judge(words)).collect()
}

fn judge(words: &[String]) -> Global {
    let word = |place: usize| words.get(place).map_or("", String::as_str);
    let all = words.join(" ");
    match (word(0), word(1)) {
        ("SET", _) => Global::Nothing,
        ("CREATE" | "ALTER", "ROLE") if is_reserved(&name(word(2))) => Global::Nothing,
        ("CREATE", "ROLE") => Global::Create(name(word(2))),
        ("ALTER", "ROLE") if word(3) == "WITH" => attributes(word(2), &words[4..]),
        ("ALTER", "ROLE") => Global::Run(all),
        ("COMMENT", "ON") if word(2) == "ROLE" => Global::Run(all),
        ("GRANT", role) if words.iter().any(|word| word == "TO") && !words.iter().any(|word| word == "ON") => {
            let to = words.iter().position(|word| word == "TO").unwrap_or(0);
            let member = name(word(to + 1));
            if is_reserved(&member) || name(role).starts_with("rds") {
                return Global::LeftOut(format!("GRANT {role} TO {}", word(to + 1)));
            }
            let granted_by = words.windows(2).position(|pair| pair[0] == "GRANTED" && pair[1] == "BY").unwrap_or(words.len());
            // Who granted it is a role that need not be able to here.
            Global::Run(words[..granted_by].join(" "))
        }
        // Tablespaces name folders, parameters' privileges belong to a superuser.
        _ => Global::LeftOut(words.iter().take(3).cloned().collect::<Vec<_>>().join(" ")),
    }
}

/// The attributes that a role gets; those that it had and does not get are said.
fn attributes(role: &str, words: &[String]) -> Global {
    let kept: Vec<&str> = words.iter().map(String::as_str).filter(|word| KEPT.contains(word)).collect();
    let lost: Vec<&str> = words.iter().map(String::as_str).filter(|word| ["SUPERUSER", "REPLICATION", "BYPASSRLS"].contains(word)).collect();
    if lost.is_empty() {
        Global::Run(format!("ALTER ROLE {role} WITH NOLOGIN {}", kept.join(" ")))
    } else {
        Global::LeftOut(format!("{} of {role}", lost.join(", ")))
    }
}

/// Makes the roles, all of them in one transaction with the ledger's line. One that exists is left as it is.
///
/// # Errors
/// When the connection is lost. What the server refuses is said in a finding.
pub(super) async fn restore(control: &mut Connection, sql: &str, us: &str, server_major: u32) -> Result<(), Failure> {
    // Bytes: roles are the whole server's, and their names need not be text in this database's encoding.
    let names: Vec<Vec<u8>> = sqlx::query_scalar(r"SELECT replace(rolname::text, '\', '\\')::bytea FROM pg_catalog.pg_roles")
        .fetch_all(&mut *control)
        .await
        .context_sql("list roles")?;
    let existing: Vec<String> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let superuser: bool = sqlx::query_scalar("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")
        .fetch_one(&mut *control)
        .await
        .context_sql("ask who we are")?;
    sqlx::raw_sql("BEGIN").execute(&mut *control).await.context_sql("begin")?;
    let mut left_out = Vec::new();
    for global in filter(sql) {
        match global {
            Global::Nothing => {}
            Global::LeftOut(what) => left_out.push(what),
            Global::Create(role) if existing.contains(&role) => {}
            Global::Create(role) => {
                let role = identifier(&role);
                attempt(control, &format!("CREATE ROLE {role} NOLOGIN"), &mut left_out).await?;
                // Whoever restores must be able to give away what he made; a superuser is that anyway.
                if !superuser {
                    let options = if server_major >= 16 { " WITH INHERIT TRUE, SET TRUE" } else { "" };
                    attempt(control, &format!("GRANT {role} TO {}{options}", identifier(us)), &mut left_out).await?;
                }
            }
            // Of a role that was there before, nothing is changed.
            Global::Run(sql) if sql.starts_with("ALTER ROLE ") && existing.contains(&name(sql.split_whitespace().nth(2).unwrap_or_default())) => {}
            Global::Run(sql) => attempt(control, &sql, &mut left_out).await?,
        }
    }
    let detail = if left_out.is_empty() {
        json!({})
    } else {
        let count = left_out.len();
        left_out.truncate(NAMES_MAX);
        let seen = format!("{count} statements about roles were left out: {}", left_out.join("; "));
        let hint = "the roles themselves are there, unable to log in; production's own are made by whoever makes production's roles";
        json!({"finding": Finding::new(FindingKind::RestoreStatementLeftOut, "roles", seen).hint(hint)})
    };
    ledger::record(control, STEP, &detail).await?;
    sqlx::raw_sql("COMMIT").execute(&mut *control).await.context_sql("commit the roles")?;
    Ok(())
}

async fn attempt(control: &mut Connection, sql: &str, left_out: &mut Vec<String>) -> Result<(), Failure> {
    sqlx::raw_sql("SAVEPOINT one").execute(&mut *control).await.context_sql("set a savepoint")?;
    let ended = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *control).await;
    match ended {
        Ok(_) => {
            sqlx::raw_sql("RELEASE SAVEPOINT one").execute(&mut *control).await.context_sql("release a savepoint")?;
        }
        Err(error) => {
            let Some(refusal) = refusal(&error) else { return Err(shared_postgres::error::failure(&error).context("make roles")) };
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT one").execute(&mut *control).await.context_sql("make roles")?;
            let begins: String = sql.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
            left_out.push(format!("{begins} ({})", refusal.message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_becomes_more_than_he_may_be() {
        let sql = "--\n-- Roles\n--\n\\restrict abc\nSET client_encoding = 'UTF8';\nCREATE ROLE app;\nALTER ROLE app WITH NOSUPERUSER INHERIT NOCREATEROLE CREATEDB LOGIN NOREPLICATION NOBYPASSRLS;\n\
            CREATE ROLE \"odd;\"\"name\";\nALTER ROLE \"odd;\"\"name\" WITH SUPERUSER INHERIT LOGIN BYPASSRLS;\nCREATE ROLE rdsadmin;\nALTER ROLE rdsadmin WITH SUPERUSER;\n\
            ALTER ROLE app SET search_path TO 'a; b', 'c';\nGRANT app TO \"odd;\"\"name\" WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;\n\
            GRANT rds_superuser TO app;\nGRANT pg_read_all_data TO app GRANTED BY rdsadmin;\nCREATE TABLESPACE t OWNER app LOCATION '/x';\nCOMMENT ON ROLE app IS 'it''s';\n";
        let run = |sql: &str| Global::Run(sql.to_owned());
        assert_eq!(
            filter(sql),
            [
                Global::Nothing,
                Global::Create("app".to_owned()),
                run("ALTER ROLE app WITH NOLOGIN INHERIT NOCREATEROLE CREATEDB"),
                Global::Create("odd;\"name".to_owned()),
                Global::LeftOut("SUPERUSER, BYPASSRLS of \"odd;\"\"name\"".to_owned()),
                Global::Nothing,
                Global::Nothing,
                run("ALTER ROLE app SET search_path TO 'a; b' , 'c'"),
                run("GRANT app TO \"odd;\"\"name\" WITH ADMIN OPTION , INHERIT TRUE"),
                Global::LeftOut("GRANT rds_superuser TO app".to_owned()),
                run("GRANT pg_read_all_data TO app"),
                Global::LeftOut("CREATE TABLESPACE t".to_owned()),
                run("COMMENT ON ROLE app IS 'it''s'"),
            ]
        );
    }
}
