//! The bytes of one object, as they come: hashed, and decoded into what they mean. Pure; memory does not grow with the object, except
//! for a table of contents.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};
use shared::compression::{Compression, Decompressor};
use shared::copy_text::RowCounter;
use shared::digest::{Content, RowHash};
use shared::manifest::hex;

/// What the bytes of an object mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A table of contents, small enough to be kept.
    Contents,
    /// Rows of a table.
    Rows,
    /// A large object.
    LargeObject(u32),
    /// Nothing that is looked into.
    Plain,
}

/// The bytes of one object, as they come.
pub struct Reading {
    sha256: Sha256,
    bytes: u64,
    sink: Sink,
}

enum Sink {
    Nothing,
    Keep(Vec<u8>),
    Rows(Decompressor<RowCounter>),
    LargeObject(Decompressor<LargeObjectRow>),
    Broken(String),
}

/// What came out of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// How many.
    pub bytes: u64,
    /// What they decode to.
    pub yielded: Result<Yielded, String>,
}

/// What an object decodes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yielded {
    /// It was not looked into.
    Nothing,
    /// A table of contents.
    Contents(Vec<u8>),
    /// Rows of a table.
    Rows(Content),
    /// A large object: one row, and its bytes.
    LargeObject(Content, u64),
}

impl Reading {
    /// Begins an object. Its name says how it is compressed; pg_dump does not compress a table of contents.
    pub fn new(name: &str, role: Role) -> Self {
        let compression = Compression::of_file(name);
        let broken = |error: io::Error| Sink::Broken(error.to_string());
        let sink = match role {
            Role::Plain => Sink::Nothing,
            Role::Contents => Sink::Keep(Vec::new()),
            Role::Rows => Decompressor::new(compression, RowCounter::default()).map_or_else(broken, Sink::Rows),
            Role::LargeObject(oid) => Decompressor::new(compression, LargeObjectRow::new(oid)).map_or_else(broken, Sink::LargeObject),
        };
        Self { sha256: Sha256::new(), bytes: 0, sink }
    }

    /// Takes the next bytes. What cannot be decoded is hashed all the same.
    pub fn write(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        self.bytes += piece.len() as u64;
        let written = match &mut self.sink {
            Sink::Nothing | Sink::Broken(_) => Ok(()),
            Sink::Keep(kept) => {
                kept.extend_from_slice(piece);
                Ok(())
            }
            Sink::Rows(decompressor) => decompressor.write_all(piece),
            Sink::LargeObject(decompressor) => decompressor.write_all(piece),
        };
        if let Err(error) = written {
            self.sink = Sink::Broken(error.to_string());
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the object.
    pub fn finish(self) -> Read {
        let text = |error: io::Error| error.to_string();
        let yielded = match self.sink {
            Sink::Nothing => Ok(Yielded::Nothing),
            Sink::Keep(kept) => Ok(Yielded::Contents(kept)),
            Sink::Rows(decompressor) => decompressor.finish().map_err(text).and_then(RowCounter::finish).map(Yielded::Rows),
            Sink::LargeObject(decompressor) => decompressor.finish().map_err(text).map(|row| Yielded::LargeObject(row.content(), row.bytes)),
            Sink::Broken(error) => Err(error),
        };
        Read { sha256: hex(&self.sha256.finalize()), bytes: self.bytes, yielded }
    }
}

/// A large object as one row: its oid in decimal, a tab, and its bytes.
struct LargeObjectRow {
    hash: RowHash,
    bytes: u64,
}

impl LargeObjectRow {
    fn new(oid: u32) -> Self {
        let mut hash = RowHash::default();
        hash.update(format!("{oid}\t").as_bytes());
        Self { hash, bytes: 0 }
    }

    fn content(&self) -> Content {
        let mut content = Content::default();
        content.add_hashed(&self.hash);
        content
    }
}

impl Write for LargeObjectRow {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
