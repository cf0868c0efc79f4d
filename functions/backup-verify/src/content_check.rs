//! An archive's bytes against its manifest: pure, fed by whoever reads them.
//!
//! The [`Judge`] puts together what came out of the objects, table by table, and says what is wrong. Every object has at most one finding
//! of its own: the one that says most.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use shared::archive::blobs::{self, LargeObjectFile};
use shared::archive::toc::{Entry, Toc};
use shared::compression::Compression;
use shared::digest::Content;
use shared::finding::{Finding, FindingKind};
use shared::key::{ArchiveKey, MANIFEST};
use shared::manifest::Manifest;

use crate::listing_check::{Listed, Standing};
use crate::reading::{Read, Role, Yielded};

/// Name of pg_dump's table of contents.
pub const TOC: &str = "toc.dat";

/// How an object could be read.
pub enum Attempt {
    /// To its end.
    Read(Read),
    /// It is not there.
    Gone,
    /// Not at all, and why.
    Unreadable(String),
}

/// Puts together what came out of an archive's objects.
pub struct Judge<'a> {
    archive: &'a ArchiveKey,
    manifest: &'a Manifest,
    /// Names of all objects.
    names: HashSet<&'a str>,
    /// Table of an object, by its place in the manifest.
    table_of: HashMap<&'a str, usize>,
    tables: Vec<Sum>,
    large_objects: Sum,
    large_object_bytes: u64,
    /// Large objects by the name of the object that holds each.
    large_object_of: HashMap<String, u32>,
    /// Objects that a table of contents names.
    named: BTreeSet<String>,
    /// Whether every table of contents could be read.
    contents_known: bool,
    findings: Vec<Finding>,
    rows: u64,
}

#[derive(Clone, Default)]
struct Sum {
    content: Content,
    /// Whether a part is unknown, so that the sum says nothing; the part has a finding of its own.
    incomplete: bool,
}

impl<'a> Judge<'a> {
    /// Begins with a manifest that was opened.
    pub fn new(archive: &'a ArchiveKey, manifest: &'a Manifest) -> Self {
        let table_of = manifest.tables.iter().enumerate().flat_map(|(index, table)| table.objects.iter().map(move |name| (name.as_str(), index)));
        Self {
            archive,
            manifest,
            names: manifest.objects.iter().map(|object| object.name.as_str()).collect(),
            table_of: table_of.collect(),
            tables: vec![Sum::default(); manifest.tables.len()],
            large_objects: Sum::default(),
            large_object_bytes: 0,
            large_object_of: HashMap::new(),
            named: BTreeSet::new(),
            contents_known: true,
            findings: Vec::new(),
            rows: 0,
        }
    }

    /// Whether an object must be read before the others: a table of contents says what they are.
    pub fn comes_first(name: &str) -> bool {
        name == TOC || blobs::is_toc(name)
    }

    /// What an object's bytes mean, as far as it is known yet.
    pub fn role(&self, name: &str) -> Role {
        if Self::comes_first(name) {
            Role::Contents
        } else if self.table_of.contains_key(name) {
            Role::Rows
        } else {
            self.large_object_of.get(name).map_or(Role::Plain, |oid| Role::LargeObject(*oid))
        }
    }

    /// Rows and large objects that were counted.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes what came out of an object.
    pub fn take(&mut self, listed: &Listed, attempt: Attempt) {
        let finding = match attempt {
            Attempt::Gone => {
                Some(Finding::new(FindingKind::ObjectMissing, &listed.key, "it was listed, but is not there").expected(as_written(listed)))
            }
            Attempt::Unreadable(why) => Some(
                Finding::new(FindingKind::ObjectUnreadable, &listed.key, why)
                    .expected(as_written(listed))
                    .hint("nothing is known about its bytes; the next run tries again"),
            ),
            Attempt::Read(read) if read.sha256 == listed.object.sha256 => {
                self.take_content(listed, read.yielded);
                self.findings.extend(listed.finding.clone());
                return;
            }
            Attempt::Read(read) => Some(self.other_bytes(listed, &read)),
        };
        self.findings.extend(finding);
        self.leave_out(&listed.object.name);
    }

    /// Takes an object that was not read, because the listing already says that it is not there.
    pub fn take_missing(&mut self, listed: &Listed) {
        self.findings.extend(listed.finding.clone());
        self.leave_out(&listed.object.name);
    }

    fn leave_out(&mut self, name: &str) {
        if let Some(index) = self.table_of.get(name) {
            self.tables[*index].incomplete = true;
        } else if Self::comes_first(name) {
            self.contents_known = false;
            // Without it, it is not known which objects are large ones.
            self.large_objects.incomplete = true;
        } else if name.starts_with("blob") {
            self.large_objects.incomplete = true;
        }
    }

    /// The bytes are not those that were written: whose are they?
    fn other_bytes(&self, listed: &Listed, read: &Read) -> Finding {
        let owner = self.manifest.objects.iter().find(|object| object.sha256 == read.sha256 && object.name != listed.object.name);
        let finding = match owner {
            Some(owner) => Finding::new(FindingKind::ObjectSwapped, &listed.key, format!("the bytes of {}", owner.name)).expected(as_written(listed)),
            None if listed.standing == Standing::OtherSize => {
                let seen = format!("{} bytes, SHA-256 {}", read.bytes, read.sha256);
                Finding::new(FindingKind::ObjectTruncated, &listed.key, seen).expected(as_written(listed))
            }
            None => {
                let decodes = read.yielded.as_ref().err().map(|error| format!("; they do not decode: {error}")).unwrap_or_default();
                let seen = format!("{} bytes with SHA-256 {}{decodes}", read.bytes, read.sha256);
                Finding::new(FindingKind::ObjectCorrupt, &listed.key, seen).expected(as_written(listed))
            }
        };
        match listed.finding.as_ref().and_then(|finding| finding.hint.clone()) {
            Some(hint) => finding.hint(hint),
            None => finding.hint(format!("{}: look for a copy of the object, or dump again", self.what(&listed.object.name))),
        }
    }

    /// What is lost with an object.
    fn what(&self, name: &str) -> String {
        match self.table_of.get(name) {
            Some(index) => format!("it holds rows of {}", self.table_name(*index)),
            None if name == TOC => "without it nothing can be restored".to_owned(),
            None => "it is a part of the backup".to_owned(),
        }
    }

    fn table_name(&self, index: usize) -> String {
        let table = &self.manifest.tables[index];
        format!("{}.{}", table.schema, table.name)
    }

    fn take_content(&mut self, listed: &Listed, yielded: Result<Yielded, String>) {
        let name = listed.object.name.as_str();
        match yielded {
            Ok(Yielded::Nothing) => {}
            Ok(Yielded::Rows(content)) => {
                self.rows += content.rows;
                if let Some(index) = self.table_of.get(name) {
                    self.tables[*index].content.merge(content);
                }
            }
            Ok(Yielded::LargeObject(content, bytes)) => {
                self.rows += content.rows;
                self.large_objects.content.merge(content);
                self.large_object_bytes += bytes;
            }
            Ok(Yielded::Contents(bytes)) => {
                if let Err(why) = self.take_contents(name, &bytes) {
                    self.mismatch(listed.key.clone(), why, "a table of contents of pg_dump");
                    self.leave_out(name);
                }
            }
            Err(why) => {
                let seen = format!("the bytes are as written, but do not decode: {why}");
                self.mismatch(listed.key.clone(), format!("{seen} ({})", self.what(name)), "data that pg_restore can read");
                self.leave_out(name);
            }
        }
    }

    fn take_contents(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        if name == TOC {
            let toc = Toc::parse(bytes)?;
            let named: Vec<String> = toc.entries.iter().filter_map(Entry::data_file).map(|file| self.object_name(&file)).collect();
            self.named.extend(named);
        } else {
            let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
            for LargeObjectFile { oid, file_name } in blobs::parse(text)? {
                let object = self.object_name(&file_name);
                self.named.insert(object.clone());
                self.large_object_of.insert(object, oid);
            }
        }
        Ok(())
    }

    /// The object that holds a file of the table of contents, which names it without the suffix of its compression.
    fn object_name(&self, file: &str) -> String {
        let suffixes = [Compression::None, Compression::Zstd(1), Compression::Gzip(1)].map(Compression::suffix);
        suffixes.iter().map(|suffix| format!("{file}{suffix}")).find(|name| self.names.contains(name.as_str())).unwrap_or_else(|| file.to_owned())
    }

    fn mismatch(&mut self, subject: String, seen: String, expected: impl Into<String>) {
        let hint = "the backup was written wrong: this is a defect of Lifeboat, dump again and report it";
        self.findings.push(Finding::new(FindingKind::ContentMismatch, subject, seen).expected(expected).hint(hint));
    }

    /// What is wrong, once every object was taken.
    pub fn finish(mut self) -> Vec<Finding> {
        self.compare_tables();
        self.compare_large_objects();
        self.compare_names();
        self.findings
    }

    fn compare_tables(&mut self) {
        for index in 0..self.tables.len() {
            let Sum { content, incomplete } = self.tables[index].clone();
            let expected = self.manifest.tables[index].content;
            if !incomplete && content != expected {
                let subject = format!("{}{}", self.archive.prefix(), self.table_name(index));
                self.mismatch(subject, describe(content), describe(expected));
            }
        }
    }

    fn compare_large_objects(&mut self) {
        let expected = self.manifest.large_objects;
        let same = self.large_objects.content == expected.content && self.large_object_bytes == expected.bytes;
        if !self.large_objects.incomplete && !same {
            let seen = format!("{}, {} bytes", describe(self.large_objects.content), self.large_object_bytes);
            let subject = format!("{}large objects", self.archive.prefix());
            self.mismatch(subject, seen, format!("{}, {} bytes", describe(expected.content), expected.bytes));
        }
    }

    /// Manifest and tables of contents must name the same objects: pg_restore goes by the latter.
    fn compare_names(&mut self) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for object in &self.manifest.objects {
            *seen.entry(&object.name).or_default() += 1;
        }
        let mut wrong = Vec::new();
        for (name, times) in &seen {
            if *times > 1 {
                wrong.push((MANIFEST, format!("names {name} {times} times"), "every object once"));
            }
        }
        for table in &self.manifest.tables {
            for name in table.objects.iter().filter(|name| !seen.contains_key(name.as_str())) {
                wrong.push((MANIFEST, format!("{name} of {}.{} is not among its objects", table.schema, table.name), "every table's objects"));
            }
        }
        if !seen.contains_key(TOC) {
            wrong.push((MANIFEST, format!("{TOC} is not among its objects"), "a whole archive"));
        }
        if self.contents_known {
            for name in self.named.iter().filter(|name| !seen.contains_key(name.as_str())) {
                wrong.push((TOC, format!("names the file {name}, which is not in the manifest"), "a file for every data entry"));
            }
            let of_data = |name: &str| name.contains(".dat") && name != TOC || blobs::is_toc(name);
            for name in seen.keys().filter(|name| of_data(name) && !self.named.contains(**name)) {
                wrong.push((TOC, format!("does not name {name}, so it would not be restored"), "an entry for every data file"));
            }
        }
        for (object, seen, expected) in wrong {
            self.mismatch(self.archive.object(object), seen, expected);
        }
    }
}

fn as_written(listed: &Listed) -> String {
    format!("{} bytes with SHA-256 {}", listed.object.size_bytes, listed.object.sha256)
}

fn describe(content: Content) -> String {
    format!("{} rows, digest {}", content.rows, content.digest)
}

#[cfg(test)]
#[path = "content_check_tests.rs"]
mod tests;
