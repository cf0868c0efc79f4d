//! Rows that refer to rows that are not there, for foreign keys that the server does not enforce or never held against all rows: what such a key should
//! promise is counted instead.
//!
//! One anti-join each, ended at a limit, by its time, or when somebody waits behind it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::finding::{Finding, FindingKind};
use shared_postgres::proof::quote;
use shared_postgres::trouble::Trouble;
use sqlx::Row;
use tokio::time::timeout_at;

use crate::checks::check::{Reference, TableName};
use crate::checks::desk::{Author, Desk, Refusal};
use crate::checks::facts::denials;
use crate::checks::outcome::Count;
use crate::checks::pass::pages;
use crate::checks::sql;
use crate::model::Table;
use crate::pace::Pace;

/// A foreign key that nobody vouches for, as the catalogs have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// Its name.
    pub name: String,
    /// Schema and name of the table that refers.
    pub child: (String, String),
    /// Its columns.
    pub child_columns: Vec<String>,
    /// Schema and name of the table that is referred to.
    pub parent: (String, String),
    /// Its columns, in the same order.
    pub parent_columns: Vec<String>,
}

/// How far a night is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Keys that were looked at, by [`Untrusted::subject`].
    pub done: Vec<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Keys that are looked at in a night.
const KEYS_MAX: usize = 200;

impl Untrusted {
    /// `SCHEMA.TABLE.NAME`.
    pub fn subject(&self) -> String {
        format!("{}.{}.{}", self.child.0, self.child.1, self.name)
    }

    fn reference(&self) -> Reference {
        let name = |(schema, name): &(String, String)| TableName { schema: schema.clone(), name: name.clone() };
        Reference {
            table: name(&self.child),
            columns: self.child_columns.clone(),
            parent: name(&self.parent),
            parent_columns: self.parent_columns.clone(),
        }
    }
}

/// Looks at what was not looked at yet. `timeout`: of one statement. `Ok(true)`: everything was.
///
/// # Errors
/// When the server cannot be reached.
pub async fn look(
    desk: &mut Desk<'_>,
    keys: &[Untrusted],
    tables: &[Table],
    timeout: Duration,
    progress: &mut Progress,
    pace: &mut Pace,
) -> Result<bool, shared::failure::Failure> {
    let mut lost = false;
    for key in keys.iter().take(KEYS_MAX) {
        let subject = key.subject();
        if progress.done.contains(&subject) {
            continue;
        }
        let reference = key.reference();
        let read = pages(&reference.table, tables) + pages(&reference.parent, tables);
        if timeout_at(desk.until, pace.take(read)).await.is_err() {
            return Ok(false);
        }
        // The operators of a key's types are found by the path.
        match desk.ask(&sql::references(&reference, None), Author::Team, timeout).await {
            Ok(rows) => {
                let count = Count::limited(rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0));
                progress.findings.extend((count.number > 0).then(|| found(&subject, &reference, count)));
            }
            Err(Refusal::TimeIsOver) => return Ok(false),
            Err(Refusal::Lost(failure)) if lost => return Err(failure),
            Err(refusal) => {
                lost = matches!(refusal, Refusal::Lost(_));
                progress.findings.extend(refused(desk, &subject, &reference, &refusal, timeout).await);
            }
        }
        progress.done.push(subject);
    }
    if keys.len() > KEYS_MAX {
        let seen = format!("there are {} foreign keys that nobody enforces; {KEYS_MAX} of them were looked at", keys.len());
        let more = Finding::new(FindingKind::NotChecked, "foreign keys", seen).hint("validate them: ALTER TABLE … VALIDATE CONSTRAINT …;");
        progress.findings.retain(|finding| finding.subject != more.subject);
        progress.findings.push(more);
    }
    Ok(true)
}

fn found(subject: &str, reference: &Reference, count: Count) -> Finding {
    let seen = format!(
        "{} of {} whose {} is not in {}",
        count.said("row", "rows"),
        reference.table.subject(),
        reference.columns.join(", "),
        reference.parent.subject()
    );
    Finding::new(FindingKind::OrphanRows, subject, seen)
        .expected("the foreign key holds for every row, though the server does not enforce it")
        .hint(format!("look by: {}", sql::references_for_a_person(reference)))
}

/// What is worth saying about a refusal: a table that is gone is not.
async fn refused(desk: &mut Desk<'_>, subject: &str, reference: &Reference, refusal: &Refusal, timeout: Duration) -> Option<Finding> {
    let not_checked = |what: String| Finding::new(FindingKind::NotChecked, subject, what);
    let Refusal::Server(said) = refusal else {
        return Some(
            not_checked("orphans were not counted: the connection was lost, or somebody waited for a lock".to_owned())
                .hint("the next night tries again"),
        );
    };
    Some(match &said.trouble {
        Trouble::Vanished => return None,
        Trouble::Denied => {
            let role = quote(desk.role());
            let tables = [reference.table.clone(), reference.parent.clone()];
            let known = denials(desk, &tables).await;
            let lines: Vec<String> = known
                .iter()
                .filter_map(|(name, denial)| match (denial.may_use_schema, denial.may_select, denial.is_hidden) {
                    (false, ..) => {
                        Some(format!("GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON {} TO {role};", quote(&name.schema), sql::table(name)))
                    }
                    (_, false, _) => Some(format!("GRANT SELECT ON {} TO {role};", sql::table(name))),
                    (.., true) => Some(format!("ALTER ROLE {role} BYPASSRLS;")),
                    _ => None,
                })
                .collect();
            not_checked("orphans were not counted: the role may not read both tables whole".to_owned()).hint(lines.join(" "))
        }
        Trouble::Unfinished if said.code == "57014" => {
            let index = format!(
                "CREATE INDEX CONCURRENTLY ON {} ({});",
                sql::table(&reference.parent),
                reference.parent_columns.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
            );
            not_checked(format!("orphans were not counted within {} s", timeout.as_secs()))
                .hint(format!("an index on what is referred to helps: {index}"))
        }
        Trouble::Damaged(what) if said.code.starts_with("XX00") && said.code != "XX000" => {
            Finding::new(FindingKind::HeapCorrupt, reference.table.subject(), format!("the server could not read it or its parent: {what}"))
                .hint("take a snapshot now, then follow the runbook")
        }
        _ => not_checked(format!("orphans were not counted (SQLSTATE {})", said.code)).hint("the next night tries again"),
    })
}
