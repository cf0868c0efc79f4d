//! The migration: an S3 prefix of ordered `.sql` files, read within limits, and the hash of exactly these files.
//!
//! The hash is what a deployment compares: a rehearsal says nothing about files that differ by one byte, one name, or their order.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::failure::{Context, Failure, FailureKind};
use shared::manifest::hex;
use shared::store::Store;

use super::order::order;

const FILES_MAX: usize = 1000;
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name below the prefix.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// The line that a byte is in, from 1.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.text.get(..offset).unwrap_or(&self.text).matches('\n').count() + 1
    }
}

/// A migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// In the order in which they run.
    pub files: Vec<File>,
    /// Objects below the prefix that are no part of it: name and reason.
    pub left_out: Vec<String>,
}

impl Files {
    /// Puts files into order.
    ///
    /// # Errors
    /// When the order is not certain, or when there is none to run.
    pub fn new(mut files: Vec<File>) -> Result<Self, Failure> {
        let order = order(&files.iter().map(|file| file.name.clone()).collect::<Vec<_>>())?;
        if order.run.is_empty() {
            return Err(Failure::new(FailureKind::BadRequest, "there is no migration: no .sql file that would run").hint("check the prefix"));
        }
        files.retain(|file| order.run.contains(&file.name));
        files.sort_by_key(|file| order.run.iter().position(|name| *name == file.name));
        Ok(Self { files, left_out: order.left_out.iter().map(|(name, reason)| format!("{name}: {reason}")).collect() })
    }

    /// SHA-256 over names, lengths and contents in order, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"lifeboat migration 1\n");
        for file in &self.files {
            for part in [file.name.as_bytes(), file.text.as_bytes()] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        hex(&hash.finalize())
    }
}

/// Reads the files below a prefix.
///
/// # Errors
/// When they cannot be read, are too many or too large, are not UTF-8, or when their order is not certain.
pub async fn read(store: &Store, prefix: &str) -> Result<Files, Failure> {
    let prefix = format!("{}/", prefix.trim_end_matches('/'));
    let listed = store.list(&prefix).await?;
    let attempted = || format!("read the migration at {}", store.address(&prefix));
    let names: Vec<String> = listed.iter().filter_map(|object| object.key.strip_prefix(&prefix)).map(str::to_owned).collect();
    let order = order(&names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>()).context(attempted())?;
    let bytes: u64 =
        listed.iter().filter(|object| object.key.strip_prefix(&prefix).is_some_and(is_in(&order.run))).map(|object| object.size_bytes).sum();
    if order.run.len() > FILES_MAX || bytes > BYTES_MAX {
        let seen = format!("{} files of {bytes} bytes; at most {FILES_MAX} of {BYTES_MAX} are read", order.run.len());
        return Err(Failure::new(FailureKind::BadRequest, seen).context(attempted()).hint("rehearse only the migrations that are pending"));
    }
    let mut files = Vec::with_capacity(order.run.len());
    for name in &order.run {
        let bytes = store.get(&format!("{prefix}{name}")).await?;
        let bytes = bytes.ok_or_else(|| Failure::new(FailureKind::Conflict, format!("{name} was removed while it was read")).context(attempted()))?;
        let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| Failure::new(FailureKind::BadRequest, format!("{name} is not UTF-8 text")).context(attempted()))?;
        files.push(File { name: name.clone(), text });
    }
    let mut files = Files::new(files).context(attempted())?;
    files.left_out = order.left_out.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
    Ok(files)
}

fn is_in(names: &[String]) -> impl Fn(&str) -> bool {
    move |name| names.iter().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Files {
        Files::new(files.iter().map(|(name, text)| File { name: (*name).to_owned(), text: (*text).to_owned() }).collect()).expect("files")
    }

    #[test]
    fn the_hash_is_of_names_lengths_and_contents_in_order() {
        let one = files(&[("1_a.sql", "x"), ("2_b.sql", "y")]);
        assert_eq!(one.hash(), files(&[("2_b.sql", "y"), ("1_a.sql", "x")]).hash(), "the order of the listing does not count");
        assert_eq!(one.hash(), files(&[("2_b.sql", "y"), ("1_a.sql", "x"), ("1_a.down.sql", "z")]).hash(), "what does not run does not count");
        for other in [
            files(&[("1_a.sql", "x"), ("2_b.sql", "y ")]),
            files(&[("1_a.sql", "xy"), ("2_b.sql", "")]),
            files(&[("1_a.sql", "x"), ("2_c.sql", "y")]),
            files(&[("1_a.sql", "y"), ("2_b.sql", "x")]),
            files(&[("1_a.sql", "x")]),
        ] {
            assert_ne!(one.hash(), other.hash());
        }
        assert_eq!(one.hash().len(), 64);
    }

    #[test]
    fn nothing_to_run_is_an_error() {
        assert!(Files::new(vec![]).is_err());
        assert!(Files::new(vec![File { name: "1_a.down.sql".into(), text: String::new() }]).is_err());
    }
}
