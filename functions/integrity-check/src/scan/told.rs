//! What is said of a table that could not be read, or not all of it: each with the statement that helps. Pure.

use shared::finding::{Finding, FindingKind};
use shared_postgres::proof::quote;

use crate::model::Table;

/// Columns that are named in a finding at most.
const COLUMNS_MAX: usize = 10;

fn grant_all(table: &Table, user: &str) -> String {
    let role = quote(user);
    format!(
        "GRANT USAGE ON SCHEMA {} TO {role}; GRANT SELECT ON {} TO {role}; -- or, for everything: GRANT pg_read_all_data TO {role};",
        quote(&table.schema),
        table.quoted()
    )
}

/// The role may read nothing of it.
pub fn denied(table: &Table, user: &str) -> Finding {
    Finding::new(FindingKind::NotChecked, table.subject(), "the role may not read it, so nothing is known about its rows")
        .hint(grant_all(table, user))
}

/// The role may read only some columns: what is said beside the numbers, and the finding.
pub fn some_columns(table: &Table, user: &str) -> (String, Finding) {
    let hidden: Vec<String> = table.columns.iter().filter(|column| !column.may_select).map(|column| quote(&column.name)).collect();
    let named = hidden.iter().take(COLUMNS_MAX).cloned().collect::<Vec<_>>().join(", ");
    let more = if hidden.len() > COLUMNS_MAX { format!(" and {} more", hidden.len() - COLUMNS_MAX) } else { String::new() };
    let why = format!("the role may not read {} of {} columns: {named}{more}", hidden.len(), table.columns.len());
    let seen = format!("{why}; pages cannot be read one after the other without the others, so a large table is only sampled");
    let finding = Finding::new(FindingKind::PartlySeen, table.subject(), seen).expected("all columns can be read").hint(grant_all(table, user));
    (why, finding)
}

/// Row-level security hides rows from the role.
pub fn policies(table: &Table, user: &str) -> (String, Finding) {
    let why = "row-level security hides rows from the role";
    let seen = format!("{why}: the numbers are of the rows that its policies show, and a large table is only sampled");
    let hint = format!(
        "ALTER ROLE {} BYPASSRLS; -- or leave the table out. Policies: SELECT polname, pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = '{}'::regclass;",
        quote(user),
        table.quoted().replace('\'', "''")
    );
    (why.to_owned(), Finding::new(FindingKind::PartlySeen, table.subject(), seen).expected("all rows can be seen").hint(hint))
}

/// The server refused to compare values: only rows and nulls were counted.
pub fn only_nulls(table: &Table, code: &str) -> (String, Finding) {
    let why = format!("the server refused to compare values (SQLSTATE {code}), so only rows and nulls were counted");
    let finding = Finding::new(FindingKind::PartlySeen, table.subject(), why.clone())
        .hint("look the code up in the PostgreSQL manual, appendix \"PostgreSQL Error Codes\"; a type or an operator of an extension is the likeliest reason");
    (why, finding)
}

/// The server refused even that.
pub fn refused(table: &Table, pages: &str, code: &str) -> Finding {
    let hint = match code {
        "55000" => format!(
            "a materialized view without rows: REFRESH MATERIALIZED VIEW {}.{}; -- or, on a replica, an unlogged table, which only the primary can read",
            quote(&table.schema),
            quote(&table.name)
        ),
        _ => "look the code up in the PostgreSQL manual, appendix \"PostgreSQL Error Codes\"".to_owned(),
    };
    Finding::new(FindingKind::NotChecked, table.subject(), format!("the server refused to read {pages} (SQLSTATE {code})")).hint(hint)
}

/// Its columns, or the table itself, changed faster than it could be read.
pub fn changing(table: &Table, what: &str) -> Finding {
    Finding::new(FindingKind::NotChecked, table.subject(), format!("{what} while it was being read, every time that it was tried"))
        .hint("nothing, if migrations or VACUUM FULL ran at that time: it is read again next night")
}

/// It takes too long even page by page.
pub fn too_slow(table: &Table, pages: &str) -> Finding {
    Finding::new(FindingKind::NotChecked, table.subject(), format!("{pages} could not be read within a statement's time, however few at once"))
        .hint("look for what holds the table or the storage up: SELECT * FROM pg_stat_activity WHERE wait_event_type IN ('Lock', 'IO');")
}

/// Somebody held it all the time. For the end of a night: until then it is tried again.
pub fn locked(table: &Table) -> Finding {
    Finding::new(FindingKind::NotChecked, table.subject(), "somebody held or awaited a lock that excludes reading, whenever it was tried")
        .hint(format!("SELECT pid, mode, granted, pg_blocking_pids(pid) FROM pg_locks WHERE relation = {};", table.oid))
}

/// The server says that what it stores is damaged.
pub fn damaged(table: &Table, pages: &str, said: &str) -> Finding {
    let name = table.quoted().replace('\'', "''");
    Finding::new(FindingKind::HeapCorrupt, table.subject(), format!("in {pages}: {said}"))
        .expected("every page can be read")
        .hint(format!("SELECT * FROM verify_heapam('{name}'::regclass); then restore the table from the newest backup that verifies"))
}

/// The server failed in a way that it does not call damage.
pub fn internal(table: &Table, pages: &str, said: &str) -> Finding {
    let name = table.quoted().replace('\'', "''");
    Finding::new(FindingKind::NotChecked, table.subject(), format!("the server failed twice in {pages}: {said}"))
        .hint(format!("an internal error is often the first sign of damage: SELECT * FROM verify_heapam('{name}'::regclass);"))
}
