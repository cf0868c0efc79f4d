//! The readers that exist: libpq, psycopg and urllib in Python, sqlx here.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use local::process::Job;
use sqlx::postgres::PgConnectOptions;

use super::Reading;

const PROGRAM: &str = "tests/src/urls/readers.py";

/// What Python's readers make of each URL.
pub(super) async fn by_python<'a>(python: &Path, urls: impl Iterator<Item = &'a str>) -> Vec<BTreeMap<String, BTreeMap<String, String>>> {
    let folder = tempfile::tempdir().expect("a folder");
    let (questions, answers) = (folder.path().join("urls.json"), folder.path().join("readings.json"));
    let urls: Vec<&str> = urls.collect();
    std::fs::write(&questions, serde_json::to_vec(&urls).expect("JSON")).expect("write the URLs");
    let program = crate::world::file(PROGRAM);
    // Nothing of our environment: PGUSER and its like would be read, too.
    Job::new(python).args(["-B".as_ref(), program.as_os_str(), questions.as_os_str(), answers.as_os_str()]).run_well().await.expect("ask Python");
    serde_json::from_slice(&std::fs::read(&answers).expect("the answers")).expect("JSON")
}

/// What sqlx makes of a URL: everything that its options say of themselves. They give the password to nobody but `Debug`; the URL that they can print again
/// is none where a user or a host needs an escape.
pub(super) fn by_sqlx(url: &str) -> Reading {
    let options = PgConnectOptions::from_str(url).ok()?;
    let mut reading = BTreeMap::from([("user".to_owned(), options.get_username().to_owned())]);
    let printed = format!("{options:?}");
    if let Some((_, after)) = printed.split_once(", password: Some(\"") {
        let (password, _) = after.split_once("\"), database: ").expect("the password's end");
        reading.insert("password".to_owned(), password.replace("\\\"", "\"").replace("\\\\", "\\"));
    }
    let without = options.username("user").password("password");
    reading.insert("the rest".to_owned(), format!("{without:?}"));
    Some(reading)
}
