//! URLs through a rotation: what four readers (libpq, psycopg, sqlx, JDBC), and Python's `urllib` that others stand on, made of a URL before, they must make of it
//! after, but for user and password, which are exactly the new ones.
//!
//! Where a reader refuses a URL before, it must refuse it after: that is not ours to change.

mod generate;
mod jdbc;
mod read;

use std::collections::BTreeMap;
use std::path::Path;

pub use generate::Case;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rotate_secret::value::{Form, Value};
use shared::failure::Failure;
use shared::secrets::{ExposeSecret, SecretString};

use crate::soak::Counts;

/// What a reader makes of a URL, by its own names; none if it refuses it.
type Reading = Option<BTreeMap<String, String>>;

/// What was seen.
#[derive(Debug, Default)]
pub struct Rotated {
    /// How often each reader read a URL, and what the URLs have.
    pub counts: Counts,
    /// What should not be, with the case.
    pub wrong: Vec<String>,
}

/// Draws URLs from a seed and rotates each; Python is that of the local cloud.
///
/// # Panics
/// When Python cannot be asked.
pub async fn rotate_drawn(python: &Path, seed: u64, count: usize) -> Rotated {
    let mut rng = StdRng::seed_from_u64(seed);
    let cases: Vec<Case> = (0..count).map(|_| generate::case(&mut rng)).collect();
    rotate(python, &cases).await
}

/// Rotates each case and compares.
///
/// # Panics
/// When Python cannot be asked.
pub async fn rotate(python: &Path, cases: &[Case]) -> Rotated {
    let mut rotated = Rotated::default();
    let mut pairs: Vec<(&Case, Value, String)> = Vec::new();
    for case in cases {
        let result =
            read_value(case).and_then(|value| value.with(&case.user, &SecretString::from(case.password.as_str())).map(|after| (value, after)));
        match result {
            Ok((value, after)) => pairs.push((case, value, after.expose_secret().to_owned())),
            Err(failure) => rotated.wrong.push(format!("{case:?}: refused: {failure}")),
        }
    }
    compare_all(python, &pairs, &mut rotated).await;
    rotated
}

/// What is wrong with `after` as the rotated URL of a case.
///
/// # Panics
/// When Python cannot be asked, or the URL is refused.
pub async fn compare(python: &Path, case: &Case, after: &str) -> Vec<String> {
    let mut rotated = Rotated::default();
    let value = read_value(case).expect("a URL that is taken");
    compare_all(python, &[(case, value, after.to_owned())], &mut rotated).await;
    rotated.wrong
}

fn read_value(case: &Case) -> Result<Value, Failure> {
    Value::read(&Form::Url, &SecretString::from(case.url.as_str()))
}

async fn compare_all(python: &Path, pairs: &[(&Case, Value, String)], rotated: &mut Rotated) {
    let urls = pairs.iter().flat_map(|(case, _, after)| [case.url.as_str(), after.as_str()]);
    let python = read::by_python(python, urls).await;
    let mut python = python.chunks_exact(2);
    for (case, value, after) in pairs {
        let both = python.next().expect("an answer for each URL");
        let mut readings = Vec::new();
        if case.is_jdbc() {
            readings.push(("jdbc", jdbc::read(&case.url), jdbc::read(after)));
        } else {
            for reader in ["libpq", "psycopg", "urllib"] {
                readings.push((reader, both[0].get(reader).cloned(), both[1].get(reader).cloned()));
            }
            readings.push(("sqlx", read::by_sqlx(&case.url), read::by_sqlx(after)));
        }
        for (reader, before, now) in readings {
            let verdict = if before.is_some() { "reads" } else { "refuses" };
            rotated.counts.add(&format!("{reader} {verdict}"));
            if let Err(wrong) = same_but_for_the_credential(case, value, before, now) {
                rotated.wrong.push(format!("{reader}: {wrong}: {case:?} became {after:?}"));
            }
        }
    }
}

fn same_but_for_the_credential(case: &Case, value: &Value, before: Reading, after: Reading) -> Result<(), String> {
    let Some(mut before) = before else {
        return if after.is_none() { Ok(()) } else { Err("it refused the URL before, and takes it now".to_owned()) };
    };
    let Some(after) = after else { return Err("it took the URL before, and refuses it now".to_owned()) };
    // What we took for user and password is what the reader takes for them.
    if before.get("user").map(String::as_str) != Some(value.user()) {
        return Err(format!("the user is {:?} to it", before.get("user")));
    }
    let password = value.password().map(ExposeSecret::expose_secret);
    if before.get("password").map(String::as_str).filter(|password| !password.is_empty()) != password {
        return Err(format!("the password is {:?} to it", before.get("password")));
    }
    before.insert("user".to_owned(), case.user.clone());
    before.insert("password".to_owned(), case.password.clone());
    if before != after {
        return Err(format!("it reads {after:?} in place of {before:?}"));
    }
    Ok(())
}
