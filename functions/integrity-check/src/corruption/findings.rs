//! From what is known of tables and indexes to findings and to how far the checks have come. Pure.

use shared::finding::{Finding, FindingKind};
use shared_postgres::amcheck::{Target, Tools};
use shared_postgres::proof::quote;
use shared_postgres::soundness::{Found, written};

use super::cursor::{Corrupt, Cursor, Known, Miss};
use super::plan::MISSES_MAX;

/// Blocks of a table that are named.
const BLOCKS_SHOWN_MAX: usize = 8;

/// How far the checks have come, over all nights.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Pages of everything that can be checked.
    pub pages: u64,
    /// Pages of it that were checked at least once.
    pub checked_pages: u64,
    /// Tables and indexes that can be checked.
    pub relations: u64,
    /// Those of them that were checked completely at least once.
    pub checked_relations: u64,
    /// The day, since 1970, of the oldest check of a page; `None`: some were never checked.
    pub oldest_day: Option<i32>,
    /// Indexes whose inside nothing can check here (gist, brin, hash; gin before 18).
    pub indexes_without_check: u64,
}

/// How far the checks have come.
pub fn coverage(targets: &[Target], cursor: &Cursor, is_checkable: impl Fn(&Target) -> bool) -> Coverage {
    let (mut coverage, mut oldest) = (Coverage::default(), Some(cursor.night()));
    for target in targets {
        if !is_checkable(target) {
            coverage.indexes_without_check += u64::from(target.method != "heap" && target.method != "btree");
            continue;
        }
        coverage.relations += 1;
        coverage.pages += target.pages;
        let known = cursor.known(target.oid);
        let ages = match known {
            Some(known) if target.method == "heap" => known.ages(target.pages),
            known => vec![(0, target.pages, known.and_then(Known::day))],
        };
        let ages: Vec<_> = ages.into_iter().filter(|(from, to, _)| from < to || target.method != "heap").collect();
        coverage.checked_pages += ages.iter().filter(|age| age.2.is_some()).map(|(from, to, _)| to - from).sum::<u64>();
        coverage.checked_relations += u64::from(ages.iter().all(|age| age.2.is_some()));
        for (.., day) in ages {
            oldest = oldest.zip(day).map(|(oldest, day)| oldest.min(day));
        }
    }
    coverage.oldest_day = oldest;
    coverage
}

/// What is corrupt as far as is known, tonight's or not, and what could not be checked for nights.
pub fn findings(targets: &[Target], cursor: &Cursor) -> Vec<Finding> {
    let corrupt_tables: Vec<u32> = targets
        .iter()
        .filter(|target| target.method == "heap" && cursor.known(target.oid).is_some_and(|known| known.is_corrupt().is_some()))
        .map(|target| target.oid)
        .collect();
    let (mut corrupt, mut missed) = (Vec::new(), Vec::new());
    for target in targets {
        let Some(known) = cursor.known(target.oid) else { continue };
        if let Some(found) = known.is_corrupt() {
            let again = if found.day == cursor.night() { "" } else { " (not looked at again this night)" };
            corrupt.push(if target.method == "heap" {
                heap(target, found, again)
            } else {
                index(target, found, again, corrupt_tables.contains(&target.table_oid))
            });
        }
        if let Some((nights, _, why)) = known.misses().filter(|(nights, ..)| *nights >= MISSES_MAX) {
            missed.push(not_checked(target, *nights, why));
        }
    }
    // Tables before their indexes, and always in the same order.
    corrupt.sort_by(|a, b| (a.kind.name(), &a.subject).cmp(&(b.kind.name(), &b.subject)));
    missed.sort_by(|a, b| a.subject.cmp(&b.subject));
    let (heaps, indexes) = corrupt.into_iter().partition::<Vec<_>, _>(|finding: &Finding| finding.kind == FindingKind::HeapCorrupt);
    [heaps, indexes, missed].into_iter().flat_map(|sort| Found::from(sort).findings(|finding| Some(finding.clone()))).collect()
}

fn heap(target: &Target, corrupt: &Corrupt, again: &str) -> Finding {
    let shown: Vec<String> = corrupt.blocks.iter().take(BLOCKS_SHOWN_MAX).map(u64::to_string).collect();
    let more = if corrupt.blocks.len() > BLOCKS_SHOWN_MAX { format!(" and {} more", corrupt.blocks.len() - BLOCKS_SHOWN_MAX) } else { String::new() };
    Finding::new(FindingKind::HeapCorrupt, &target.subject, format!("block {}{more} of {}: {}{again}", shown.join(", "), target.pages, corrupt.said))
        .expected("every page sound")
        .hint(
            "stop nothing and repair nothing yet: take a snapshot, then restore the newest backup with a drill and see whether it has the same damage; rows of other \
             pages can be copied out; the table is replaced from a backup that is sound (docs/runbook.md)",
        )
}

fn index(target: &Target, corrupt: &Corrupt, again: &str, table_is_corrupt: bool) -> Finding {
    let table = if table_is_corrupt { " (its table is damaged too)" } else { "" };
    let hint = if table_is_corrupt {
        "repair the table first; then REINDEX".to_owned()
    } else {
        let name = target.subject.split(", where").next().unwrap_or_default();
        format!("REINDEX INDEX CONCURRENTLY {}; no row is lost by it. If it is unique, look for rows that it let in twice first", written(name))
    };
    Finding::new(FindingKind::IndexCorrupt, &target.subject, format!("{}{table}{again}", corrupt.said))
        .expected("every row in it once, in order")
        .hint(hint)
}

fn not_checked(target: &Target, nights: u32, why: &Miss) -> Finding {
    let (seen, hint) = match why {
        Miss::Locked => {
            ("somebody held a lock on it, or waited for one", "look who locks it at that time of night, or let the checks run at another".to_owned())
        }
        Miss::TooLong => (
            "amcheck did not end in the time of an invocation",
            "give the function more time, or check it by hand on a copy (pg_amcheck); an unfinished check says nothing".to_owned(),
        ),
        Miss::Refused(code) => {
            let hint = if code == "42883" || code == "42P01" || code == "3F000" {
                "a function of this index does not find what it needs under a safe search_path: ALTER FUNCTION … SET search_path = …;".to_owned()
            } else {
                format!("run it by hand to see why: SELECT bt_index_check({}::regclass);", target.oid)
            };
            return not_checked_because(target, format!("amcheck refused to check it (SQLSTATE {code}), {nights} nights in a row"), hint);
        }
        Miss::Denied => ("the role may not check it", "grant what the finding about amcheck names".to_owned()),
    };
    not_checked_because(target, format!("{seen}, {nights} nights in a row"), hint)
}

fn not_checked_because(target: &Target, seen: String, hint: String) -> Finding {
    Finding::new(FindingKind::NotChecked, &target.subject, seen).hint(hint)
}

/// What amcheck needs and the database has not, with the statements that give it.
pub fn amcheck_missing(tools: Option<&Tools>, role: &str, major: u32) -> Option<Finding> {
    let role = quote(role);
    let Some(tools) = tools else {
        let mut functions = vec!["bt_index_check(regclass, boolean)", "verify_heapam(regclass, boolean, boolean, text, bigint, bigint)"];
        functions.extend((major >= 17).then_some("bt_index_check(regclass, boolean, boolean)"));
        functions.extend((major >= 18).then_some("gin_index_check(regclass)"));
        let hint =
            format!("as the master user, in this database: CREATE EXTENSION amcheck; GRANT EXECUTE ON FUNCTION {} TO {role};", functions.join(", "));
        return Some(
            Finding::new(
                FindingKind::NotChecked,
                "amcheck",
                "the extension amcheck is not there: nothing is known about the inside of tables and indexes",
            )
            .hint(hint),
        );
    };
    let gentle = tools.btree.iter().any(|check| !check.is_parent);
    let lacking: Vec<&str> = [("tables", tools.heap.is_some()), ("indexes", gentle), ("gin indexes", tools.gin.is_some() || major < 18)]
        .into_iter()
        .filter_map(|(what, is_there)| (!is_there).then_some(what))
        .collect();
    if lacking.is_empty() {
        return None;
    }
    // The one that locks writers out is never called, and need not be granted.
    let is_needed = |function: &&str| !function.contains("bt_index_parent_check") && !function.ends_with("bt_index_check(regclass)");
    let needed: Vec<&str> = tools.denied.iter().map(String::as_str).filter(is_needed).collect();
    let hint = if needed.is_empty() {
        "the extension is older than the server: ALTER EXTENSION amcheck UPDATE;".to_owned()
    } else {
        let enter = tools.closed_schema.as_ref().map(|schema| format!("GRANT USAGE ON SCHEMA {schema} TO {role}; ")).unwrap_or_default();
        format!("{enter}GRANT EXECUTE ON FUNCTION {} TO {role};", needed.join(", "))
    };
    let seen = format!("the role may not check {}: nothing is known about their inside", lacking.join(" and "));
    Some(Finding::new(FindingKind::NotChecked, "amcheck", seen).hint(hint))
}
