//! One statement that reads the team's flags: of each row the columns that are there, as JSON, so that no column needs to be known before.

use std::time::Duration;

use serde_json::{Map, Value};
use shared::finding::{Finding, FindingKind};
use shared_postgres::proof::quote;
use shared_postgres::trouble::Trouble;
use sqlx::Row;

use super::{FLAGS_MAX, Seen, Settings, Source, read};
use crate::checks::desk::{Author, Desk, Refusal};
use crate::checks::facts::denials;
use crate::checks::sql::table;
use crate::sql_text::literal;

const TIMEOUT: Duration = Duration::from_secs(30);

/// What the flags came to: seen, or why not; `None`: the time is over.
pub async fn look(desk: &mut Desk<'_>, settings: &Settings) -> Option<Result<Seen, Finding>> {
    let (source, author) = match &settings.source {
        Source::Table(name) => (table(name), Author::Ours),
        Source::Query(sql) => (format!("(\n{}\n)", sql.text), Author::Team),
    };
    let columns: Vec<String> = settings.columns.all().into_iter().map(literal).collect();
    let sql = format!(
        "SELECT (SELECT coalesce(pg_catalog.jsonb_object_agg(key, value), '{{}}') FROM pg_catalog.jsonb_each(pg_catalog.to_jsonb(\"lifeboat flag\"))
                  WHERE key = ANY (ARRAY[{}]::pg_catalog.text[]))::pg_catalog.text
           FROM {source} AS \"lifeboat flag\" LIMIT {}",
        columns.join(", "),
        FLAGS_MAX + 1
    );
    match desk.ask(&sql, author, TIMEOUT).await {
        Ok(rows) => {
            let rows: Vec<Map<String, Value>> = rows.iter().filter_map(|row| serde_json::from_str(row.try_get(0).ok()?).ok()).collect();
            let seen = read(settings, &rows);
            Some(if seen.wrong.is_empty() { Ok(seen) } else { Err(invalid(seen.wrong.join("; "))) })
        }
        Err(Refusal::TimeIsOver) => None,
        Err(refusal) => Some(Err(refused(desk, settings, &refusal).await)),
    }
}

fn invalid(what: String) -> Finding {
    Finding::new(FindingKind::CheckInvalid, "flags", what).expected("[flags] of the team's file fits the table").hint(
        "name the columns in [flags]: name-column, enabled-column, rollout-column, created-column, updated-column, kind-column, permanent-column",
    )
}

async fn refused(desk: &mut Desk<'_>, settings: &Settings, refusal: &Refusal) -> Finding {
    let not_checked = |what: String| Finding::new(FindingKind::NotChecked, "flags", what);
    let Refusal::Server(said) = refusal else {
        return not_checked("the flags could not be read: the connection was lost, or somebody waited for a lock".to_owned());
    };
    let message = said.message.as_ref().map(|message| format!("{message} ")).unwrap_or_default();
    match (&said.trouble, &settings.source) {
        (Trouble::Denied, Source::Table(name)) => {
            let role = quote(desk.role());
            let denial = denials(desk, std::slice::from_ref(name)).await.pop().map(|(_, denial)| denial).unwrap_or_default();
            let (seen, help) = if !denial.may_use_schema {
                (
                    "the role may not use the schema of the flags",
                    format!("GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON {} TO {role};", quote(&name.schema), table(name)),
                )
            } else if denial.may_select && denial.is_hidden {
                ("row-level security hides flags from the role", format!("ALTER ROLE {role} BYPASSRLS;"))
            } else {
                ("the role may not read the flags", format!("GRANT SELECT ON {} TO {role};", table(name)))
            };
            not_checked(seen.to_owned()).hint(help)
        }
        (Trouble::Denied | Trouble::Unfinished | Trouble::Damaged(_) | Trouble::Lost(_), _) => {
            not_checked(format!("the flags could not be read: {message}(SQLSTATE {})", said.code)).hint("the next night tries again")
        }
        (Trouble::Vanished | Trouble::Refused(_), _) => invalid(format!("the flags cannot be read: {message}(SQLSTATE {})", said.code)),
    }
}
