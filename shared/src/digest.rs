//! The content digest: one number for the rows of a table, whatever their order and however they were sliced.
//!
//! Every row of the COPY text (without its newline) is hashed with XXH3-128, seed 0, and the hashes are added up modulo 2^128.
//! Addition commutes, so slices and restored copies give the same number; a duplicate changes it, which an XOR would not show.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, de};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The digest of a multiset of rows. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u128);

/// How many rows there are, and their digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Number of rows.
    pub rows: u64,
    /// Digest of the rows.
    pub digest: Digest,
}

impl Content {
    /// Adds one row: its bytes in COPY text format without the newline.
    pub fn add_row(&mut self, row: &[u8]) {
        self.rows += 1;
        self.digest.0 = self.digest.0.wrapping_add(xxh3_128(row));
    }

    /// Adds one row with its columns in another order: `order` names, for each place, the field of the row. A tab inside a value is written `\t`, so a
    /// raw tab always ends a field (PostgreSQL manual, COPY, "Text Format").
    pub fn add_row_in_order(&mut self, row: &[u8], order: &[usize]) {
        let fields: Vec<&[u8]> = row.split(|byte| *byte == b'\t').collect();
        let fields: Vec<&[u8]> = order.iter().filter_map(|place| fields.get(*place).copied()).collect();
        self.add_row(&fields.join(&b'\t'));
    }

    /// Adds a row that arrived in pieces.
    pub fn add_hashed(&mut self, row: &RowHash) {
        self.rows += 1;
        self.digest.0 = self.digest.0.wrapping_add(row.0.digest128());
    }

    /// Adds the rows of another slice.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.digest.0 = self.digest.0.wrapping_add(other.digest.0);
    }
}

/// The hash of one row that arrives in pieces.
#[derive(Clone, Default)]
pub struct RowHash(Xxh3);

impl RowHash {
    /// Adds the next piece of the row.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Begins the next row.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() != 32 {
            return Err(format!("a digest has 32 hexadecimal digits, this has {}", text.len()));
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|error| error.to_string())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(rows: &[&[u8]]) -> Content {
        let mut content = Content::default();
        for row in rows {
            content.add_row(row);
        }
        content
    }

    #[test]
    fn order_and_slicing_do_not_matter() {
        let whole = content(&[b"1\ta", b"2\tb", b"3\tc"]);
        let mut sliced = content(&[b"3\tc"]);
        sliced.merge(content(&[b"2\tb", b"1\ta"]));
        assert_eq!(whole, sliced);
    }

    #[test]
    fn a_duplicate_a_loss_and_a_change_are_seen() {
        let whole = content(&[b"1\ta", b"2\tb"]);
        for other in [content(&[b"1\ta"]), content(&[b"1\ta", b"2\tb", b"2\tb"]), content(&[b"1\ta", b"2\tc"]), content(&[b"1\ta", b"1\ta"])] {
            assert_ne!(whole.digest, other.digest);
        }
    }

    #[test]
    fn a_row_in_pieces_is_the_same_row() {
        let mut hash = RowHash::default();
        hash.update(b"1\t");
        hash.update(b"a");
        let mut content_in_pieces = Content::default();
        content_in_pieces.add_hashed(&hash);
        assert_eq!(content_in_pieces, content(&[b"1\ta"]));
    }

    #[test]
    fn columns_in_another_order_are_the_same_row() {
        let mut reordered = Content::default();
        reordered.add_row_in_order(b"b\t1\tc", &[1, 0, 2]);
        assert_eq!(reordered, content(&[b"1\tb\tc"]));
    }

    #[test]
    fn the_digest_of_a_row_is_fixed_for_ever() {
        // XXH3-128 with seed 0, as any other implementation gives it: old manifests must stay readable.
        assert_eq!(content(&[b""]).digest.to_string(), "99aa06d3014798d86001c324468d497f");
        assert_eq!(content(&[b""]).digest.to_string().parse(), Ok(content(&[b""]).digest));
    }
}
