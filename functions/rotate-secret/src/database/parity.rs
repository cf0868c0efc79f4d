//! What one user of a pair lacks that the other has, as the very statements that give it: run them, and nothing is lacking.
//!
//! Compared is what each of the two was given by name; what they have through a group or PUBLIC is the same when the groups are. Never runs what it prints, and
//! never prints a user mapping's options: passwords are in them.

mod queries;

use std::collections::BTreeSet;

use shared::failure::{Failure, FailureKind};
use sqlx::Row;

use crate::database::server::{Asked, Server};
use crate::database::text::{identifier, literal, names};

/// Differences that are told; the rest is counted.
const TOLD_MAX: usize = 200;
/// Settings that are lists of names: their text is taken apart, as pg_dump does (`variable_is_guc_list_quote`).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// What came of comparing two users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parity {
    /// What the second lacks. Empty: it may take over.
    pub lacking: Vec<Difference>,
    /// Objects that the first owns itself: there is one owner, so that a pair needs a group that owns.
    pub owned: Vec<Difference>,
    /// What the second has beyond the first, and what cannot be judged; worth knowing.
    pub notes: Vec<String>,
    /// Differences that are not told, because there are so many.
    pub more: usize,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In words.
    pub what: String,
    /// What makes it go away; `None` where that cannot be said from here.
    pub statement: Option<String>,
}

impl Parity {
    /// Whether the second can do all that the first can.
    pub fn is_enough(&self) -> bool {
        self.lacking.is_empty() && self.owned.is_empty() && self.more == 0
    }

    /// The statements, in the order in which they can be run.
    pub fn statements(&self) -> impl Iterator<Item = &str> {
        self.lacking.iter().chain(&self.owned).filter_map(|difference| difference.statement.as_deref())
    }

    fn lacks(&mut self, what: String, statement: Option<String>) {
        if self.lacking.len() < TOLD_MAX {
            self.lacking.push(Difference { what, statement });
        } else {
            self.more += 1;
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < TOLD_MAX {
            self.notes.push(note);
        }
    }
}

/// Compares what `first` and `second` were given. `server`: in the database of the credential; other databases are compared by what the shared catalogue says.
///
/// # Errors
/// When there is no such role, or the connection is gone.
pub async fn compare(server: &mut Server, first: &str, second: &str) -> Result<Parity, Failure> {
    let seen = server.roles(&[first, second]).await?;
    if let Some(absent) = seen.iter().find(|role| !role.exists) {
        return Err(Failure::new(FailureKind::BadSettings, format!("there is no role {:?}", absent.name)));
    }
    let mut parity = Parity::default();
    for (what, query) in queries::of(server.major) {
        // The same question about both, put as what the second would be given.
        let about = |role: &str| sqlx::query(query).bind(role.to_owned()).bind(identifier(second));
        let has = rows(server, what, about(second)).await?;
        let wants = rows(server, what, about(first)).await?;
        subtract(&mut parity, what, second, &wants, &has);
    }
    settings(server, &mut parity, first, second).await?;
    let pair = |sql: &'static str| sqlx::query(sql).bind(first.to_owned()).bind(second.to_owned());
    for (what, statement) in pairs(server, "policies", pair(queries::POLICIES)).await? {
        parity.lacks(what, statement);
    }
    for (note, _) in pairs(server, "policies", pair(queries::POLICY_NOTES)).await? {
        parity.note(note);
    }
    for (note, _) in pairs(server, "other databases", pair(queries::OWNED_ELSEWHERE)).await? {
        parity.note(note);
    }
    for (what, statement) in pairs(server, "other differences", pair(queries::OTHERS)).await? {
        parity.lacks(what, statement);
    }
    owned(server, &mut parity, first).await?;
    Ok(parity)
}

/// Adds what is wanted and not there, and notes what is there and not wanted.
fn subtract(parity: &mut Parity, what: &str, second: &str, wants: &BTreeSet<String>, has: &BTreeSet<String>) {
    for statement in wants.difference(has) {
        parity.lacks(format!("{what}: {second:?} lacks it"), Some(statement.clone()));
    }
    for statement in has.difference(wants) {
        // The weaker form of what it will be given is nothing more.
        if !wants.iter().any(|wanted| wanted.starts_with(statement.as_str())) {
            parity.note(format!("{what}: only {second:?} has it: {statement}"));
        }
    }
}

async fn rows(server: &mut Server, what: &str, query: Asked<'_>) -> Result<BTreeSet<String>, Failure> {
    let rows = server.rows(&format!("compare {what}"), query).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn pairs(server: &mut Server, what: &str, query: Asked<'_>) -> Result<Vec<(String, Option<String>)>, Failure> {
    let rows = server.rows(&format!("compare {what}"), query).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// `ALTER ROLE … SET`, in all databases.
async fn settings(server: &mut Server, parity: &mut Parity, first: &str, second: &str) -> Result<(), Failure> {
    let mut of = [BTreeSet::new(), BTreeSet::new()];
    for (set, role) in of.iter_mut().zip([first, second]) {
        let rows = server.rows("compare settings", sqlx::query(queries::SETTINGS).bind(role)).await?;
        set.extend(rows.iter().map(|row| (row.get::<Option<String>, _>(0), row.get::<String, _>(1))));
    }
    let [wants, has] = of;
    let name = |setting: &str| setting.split_once('=').map_or(String::new(), |(name, _)| name.to_owned());
    for (database, setting) in wants.difference(&has) {
        parity.lacks(
            format!("a setting of the role: {second:?} has it not, or has another"),
            Some(set_statement(second, database.as_deref(), setting)),
        );
    }
    for (database, setting) in has.difference(&wants) {
        if !wants.iter().any(|(where_, wanted)| where_ == database && name(wanted) == name(setting)) {
            parity.note(format!("a setting of the role: only {second:?} has it: {}", set_statement(second, database.as_deref(), setting)));
        }
    }
    Ok(())
}

/// `name=value` as the catalogue keeps it, as the statement that sets it.
fn set_statement(role: &str, database: Option<&str>, setting: &str) -> String {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    let value = if LISTS.contains(&name) {
        let names: Vec<String> = names(value).iter().map(|name| literal(name)).collect();
        if names.is_empty() { literal("") } else { names.join(", ") }
    } else {
        literal(value)
    };
    let name = name.split('.').map(identifier).collect::<Vec<_>>().join(".");
    let database = database.map_or(String::new(), |database| format!(" IN DATABASE {}", identifier(database)));
    format!("ALTER ROLE {}{database} SET {name} TO {value}", identifier(role))
}

async fn owned(server: &mut Server, parity: &mut Parity, first: &str) -> Result<(), Failure> {
    let group = server.rows("look for the group that owns", sqlx::query(queries::GROUP).bind(first)).await?;
    let group: Option<String> = group.first().map(|row| row.get(0));
    let limit = i64::try_from(TOLD_MAX).unwrap_or(i64::MAX) + 1;
    let rows = server.rows("look for what the first owns", sqlx::query(queries::OWNED).bind(first).bind(limit)).await?;
    parity.more += usize::from(rows.len() > TOLD_MAX);
    for row in rows.iter().take(TOLD_MAX) {
        let (kind, name): (String, String) = (row.get(0), row.get(1));
        let statement = group.as_deref().and_then(|group| Some(format!("ALTER {} {name} OWNER TO {}", owner_kind(&kind)?, identifier(group))));
        let advice = if group.is_some() { "" } else { "; a pair needs a NOLOGIN role that owns, which both are members of and SET role to" };
        parity.owned.push(Difference { what: format!("{first:?} itself owns the {kind} {name}{advice}"), statement });
    }
    Ok(())
}

/// What `ALTER … OWNER TO` calls a kind of `pg_identify_object`. An extension's owner cannot be changed.
fn owner_kind(kind: &str) -> Option<String> {
    match kind {
        "extension" => None,
        "statistics object" => Some("STATISTICS".to_owned()),
        "composite type" => Some("TYPE".to_owned()),
        "foreign-data wrapper" => Some("FOREIGN DATA WRAPPER".to_owned()),
        other => Some(other.to_uppercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_put_as_it_was_made() {
        let statement = |setting| set_statement("b", None, setting);
        assert_eq!(statement("search_path=\"$user\", public, \"a, b\""), "ALTER ROLE \"b\" SET \"search_path\" TO '$user', 'public', 'a, b'");
        assert_eq!(statement("search_path="), "ALTER ROLE \"b\" SET \"search_path\" TO ''");
        assert_eq!(statement("app.tenant=it's=1, 2"), "ALTER ROLE \"b\" SET \"app\".\"tenant\" TO 'it''s=1, 2'");
        assert_eq!(set_statement("b", Some("d"), "work_mem=1MB"), "ALTER ROLE \"b\" IN DATABASE \"d\" SET \"work_mem\" TO '1MB'");
    }

    #[test]
    fn what_the_second_has_beyond_the_first_is_a_note() {
        let set = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
        let mut parity = Parity::default();
        subtract(&mut parity, "x", "b", &set(&["G", "H WITH GRANT OPTION"]), &set(&["H", "I"]));
        assert_eq!(parity.statements().collect::<Vec<_>>(), ["G", "H WITH GRANT OPTION"]);
        assert_eq!(parity.notes, ["x: only \"b\" has it: I"]);
    }

    #[test]
    fn what_is_not_told_is_counted() {
        let mut parity = Parity::default();
        (0..TOLD_MAX + 3).for_each(|number| parity.lacks(number.to_string(), None));
        assert_eq!((parity.lacking.len(), parity.more, parity.is_enough()), (TOLD_MAX, 3, false));
    }
}
