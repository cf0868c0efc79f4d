//! In which order a folder's files run: as the tool that they were written for would run them. Pure: names in, order out.
//!
//! - Flyway: `V1__a.sql` < `V1.1__b.sql` < `V2__c.sql` < `V10__d.sql`, version by version as numbers; repeatable `R__x.sql` last, by name.
//! - sqlx, golang-migrate, dbmate, psql: a number at the beginning, however many digits (`20240131120000_x.up.sql`), compared as a number.
//! - Undoing (`U1__x.sql`, `x.down.sql`, `x.undo.sql`) never runs in a deployment: left out, and said.
//!
//! What could be meant in two ways is refused, never guessed: a migration in another order than production's would be another migration.

use shared::failure::{Failure, FailureKind};

/// Which files run, in order, and which do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Names, in the order in which they run.
    pub run: Vec<String>,
    /// What is left out: name and reason.
    pub left_out: Vec<(String, &'static str)>,
}

/// A version's parts: each without leading zeros, compared by length and then by digits, so that no number is too long.
type Version = Vec<(usize, String)>;

enum Sort {
    Versioned { flyway: bool, version: Version },
    Repeatable,
    Unnumbered,
    LeftOut(&'static str),
}

/// Puts names into order.
///
/// # Errors
/// When the order is not certain; the message names the files, the hint says what to do.
pub fn order(names: &[String]) -> Result<Order, Failure> {
    let (mut versioned, mut repeatable, mut unnumbered, mut left_out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in names {
        if name.contains('/') && name.strip_suffix(".sql").is_some() {
            return Err(ambiguous(format!("{name} lies in a folder of its own"), "put all files of the migration directly below one prefix"));
        }
        match sort(name)? {
            Sort::Versioned { flyway, version } => versioned.push((version, flyway, name.clone())),
            Sort::Repeatable => repeatable.push(name.clone()),
            Sort::Unnumbered => unnumbered.push(name.clone()),
            Sort::LeftOut(reason) => left_out.push((name.clone(), reason)),
        }
    }
    versioned.sort();
    repeatable.sort();
    if let Some([first, second]) = versioned.array_windows().find(|[first, second]| first.0 == second.0) {
        return Err(ambiguous(format!("{} and {} have the same version", first.2, second.2), "give one of them another number"));
    }
    if let Some(other) = versioned.iter().find(|(_, flyway, _)| *flyway != versioned[0].1) {
        return Err(ambiguous(
            format!("{} and {} are named for different tools", versioned[0].2, other.2),
            "name all files in one way: V1__name.sql, or 0001_name.sql",
        ));
    }
    let others = versioned.len() + repeatable.len();
    if unnumbered.len() > 1 || (unnumbered.len() == 1 && others > 0) {
        unnumbered.sort();
        return Err(ambiguous(
            format!("nothing says when {} runs", unnumbered.join(", ")),
            "begin every name with a number that says the order: 0001_name.sql",
        ));
    }
    let run = versioned.into_iter().map(|(_, _, name)| name).chain(unnumbered).chain(repeatable).collect();
    Ok(Order { run, left_out })
}

fn ambiguous(seen: String, hint: &str) -> Failure {
    Failure::new(FailureKind::BadRequest, seen).context("put the migration's files into order").hint(hint)
}

fn sort(name: &str) -> Result<Sort, Failure> {
    let Some(stem) = name.strip_suffix(".sql") else {
        return Ok(Sort::LeftOut("is not an .sql file"));
    };
    if stem.rsplit_once('.').is_some_and(|(_, last)| matches!(last, "down" | "undo")) {
        return Ok(Sort::LeftOut("undoes a migration"));
    }
    if stem.starts_with("R__") {
        return Ok(Sort::Repeatable);
    }
    let begins_as = |letter: char| stem.strip_prefix(letter).filter(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
    if begins_as('U').is_some_and(|rest| rest.contains("__")) {
        return Ok(Sort::LeftOut("undoes a migration"));
    }
    if begins_as('B').is_some_and(|rest| rest.contains("__")) {
        return Err(ambiguous(
            format!("{name} is a baseline, which runs on an empty database only"),
            "leave it out: the copy has what production has",
        ));
    }
    if let Some(rest) = begins_as('V') {
        let (version, _) = rest.split_once("__").ok_or_else(|| {
            ambiguous(format!("{name} begins like a versioned migration, without two underscores after the version"), "call it V1__name.sql")
        })?;
        let parts: Vec<&str> = version.split(['.', '_']).collect();
        if !parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(ambiguous(format!("{name} has the version {version:?}, which is no number"), "call it V1__name.sql, or V1.2__name.sql"));
        }
        return Ok(Sort::Versioned { flyway: true, version: version_of(&parts) });
    }
    let digits = stem.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Ok(Sort::Unnumbered);
    }
    Ok(Sort::Versioned { flyway: false, version: version_of(&[&stem[..digits]]) })
}

/// `1.0` is `1` (Flyway documentation, "Versioned migrations": trailing zeros do not count).
fn version_of(parts: &[&str]) -> Version {
    let mut version: Version = parts.iter().map(|part| part.trim_start_matches('0')).map(|part| (part.len(), part.to_owned())).collect();
    while version.len() > 1 && version.last().is_some_and(|part| part.0 == 0) {
        version.pop();
    }
    version
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(names: &[&str]) -> Result<Order, Failure> {
        order(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn numbers_are_numbers_whatever_the_tool() {
        for (given, expected) in [
            (vec!["V10__d.sql", "V2__c.sql", "R__b.sql", "V1.1__b.sql", "R__a.sql", "V1__a.sql"], "V1__a V1.1__b V2__c V10__d R__a R__b"),
            (vec!["20240201000000_b.up.sql", "20240131235959_a.up.sql", "20240131235959_a.down.sql"], "20240131235959_a.up 20240201000000_b.up"),
            (vec!["10-c.sql", "9_b.sql", "0001.sql"], "0001 9_b 10-c"),
            (vec!["99999999999999999999999999_b.sql", "1_a.sql"], "1_a 99999999999999999999999999_b"),
            (vec!["upgrade.sql"], "upgrade"),
            (vec!["U1__a.sql", "V1_1__a.sql", "README.md"], "V1_1__a"),
        ] {
            let reversed: Vec<&str> = given.iter().rev().copied().collect();
            for names in [&given, &reversed] {
                let run: Vec<String> = ordered(names).expect("an order").run;
                assert_eq!(run.iter().map(|name| name.trim_end_matches(".sql")).collect::<Vec<_>>().join(" "), expected);
            }
        }
    }

    #[test]
    fn what_is_not_certain_is_refused_with_a_way_out() {
        for names in [
            vec!["1_a.sql", "01_b.sql"],
            vec!["V1__a.sql", "V1.0__b.sql"],
            vec!["V1__a.sql", "2_b.sql"],
            vec!["a.sql", "b.sql"],
            vec!["1_a.sql", "b.sql"],
            vec!["R__a.sql", "b.sql"],
            vec!["V1_a.sql"],
            vec!["V1a__a.sql"],
            vec!["B1__a.sql"],
            vec!["more/1_a.sql"],
        ] {
            let failure = ordered(&names).expect_err(names[0]);
            assert!(failure.hint.is_some() && failure.kind == FailureKind::BadRequest, "{failure}");
        }
    }

    #[test]
    fn what_is_left_out_is_said() {
        let order = ordered(&["1_a.up.sql", "1_a.down.sql", "U1__x.sql", "notes.txt"]).expect("an order");
        assert_eq!((order.run.len(), order.left_out.len()), (1, 3));
    }
}
