//! PostgreSQL's COPY text format, as far as a backup needs it: where a row ends, and where the data ends.
//!
//! A newline inside a value is written `\n`, so a raw newline always ends a row (PostgreSQL manual, COPY, "Text Format"). A
//! data file of an archive ends with `\.` and three newlines. Nothing here looks inside a row.

use std::io::{self, Write};

use crate::digest::{Content, RowHash};

/// What a data file of a directory archive ends with (pg_dump writes it: `pg_backup_archiver.c`, `WriteDataChunks`).
pub const END_OF_DATA: &[u8] = b"\\.\n\n\n";

/// Counts and digests the rows of a data file as its decompressed bytes are written to it, in pieces of any size.
#[derive(Default)]
pub struct RowCounter {
    content: Content,
    /// Begin of a row whose end has not arrived; short rows only, see `hash`.
    pending: Vec<u8>,
    /// Hash of a row that is too long to be kept.
    hash: Option<RowHash>,
    /// How much of [`END_OF_DATA`] has been seen.
    ended: usize,
}

/// Rows up to this length are kept whole until their end arrives; longer ones are hashed in pieces.
const PENDING_BYTES_MAX: usize = 64 * 1024;

impl RowCounter {
    /// The rows, once the end of data was seen.
    ///
    /// # Errors
    /// When the data does not end as it must: it was cut.
    pub fn finish(self) -> Result<Content, String> {
        if self.ended == END_OF_DATA.len() {
            Ok(self.content)
        } else {
            Err(format!("the data ends after {} rows without the end-of-data mark", self.content.rows))
        }
    }

    /// Takes the piece of a row that ends here.
    fn end_row(&mut self, tail: &[u8]) {
        if let Some(mut hash) = self.hash.take() {
            hash.update(tail);
            self.content.add_hashed(&hash);
        } else if self.pending.is_empty() {
            self.take_row_or_mark(tail);
        } else {
            let mut row = std::mem::take(&mut self.pending);
            row.extend_from_slice(tail);
            self.take_row_or_mark(&row);
            row.clear();
            self.pending = row;
        }
    }

    fn take_row_or_mark(&mut self, row: &[u8]) {
        if row == b"\\." {
            self.ended = 3;
        } else {
            self.content.add_row(row);
        }
    }
}

impl Write for RowCounter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let mut rest = piece;
        while !rest.is_empty() {
            if self.ended > 0 {
                let expected = END_OF_DATA.get(self.ended).copied();
                if expected != Some(rest[0]) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes follow the end-of-data mark"));
                }
                self.ended += 1;
                rest = &rest[1..];
            } else if let Some(end) = memchr::memchr(b'\n', rest) {
                self.end_row(&rest[..end]);
                rest = &rest[end + 1..];
            } else {
                if let Some(hash) = &mut self.hash {
                    hash.update(rest);
                } else if self.pending.len() + rest.len() > PENDING_BYTES_MAX {
                    let mut hash = RowHash::default();
                    hash.update(&self.pending);
                    hash.update(rest);
                    self.pending.clear();
                    self.hash = Some(hash);
                } else {
                    self.pending.extend_from_slice(rest);
                }
                break;
            }
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(data: &[u8], piece: usize) -> Result<Content, String> {
        let mut counter = RowCounter::default();
        for chunk in data.chunks(piece) {
            counter.write_all(chunk).map_err(|error| error.to_string())?;
        }
        counter.finish()
    }

    #[test]
    fn pieces_of_any_size_give_the_same_rows() {
        let mut data = b"1\ta\n\n\\\\.\n".to_vec();
        data.extend(std::iter::repeat_n(b'x', 200_000));
        data.extend_from_slice(b"\nlast\n\\.\n\n\n");
        let whole = count(&data, usize::MAX).expect("whole");
        assert_eq!(whole.rows, 5);
        for piece in [1, 2, 3, 7, 64, 4096, 65_537] {
            assert_eq!(count(&data, piece), Ok(whole), "pieces of {piece}");
        }
    }

    #[test]
    fn an_empty_table_has_no_rows() {
        assert_eq!(count(END_OF_DATA, 1).map(|content| content.rows), Ok(0));
    }

    #[test]
    fn cut_data_and_data_after_the_end_are_refused() {
        for data in [&b""[..], b"1\n", b"1\n\\.", b"1\n\\.\n", b"1\n\\.\n\n", b"1\n\\.\n\n\n\n", b"\\.\n\n\n1\n"] {
            assert!(count(data, 3).is_err(), "{:?}", String::from_utf8_lossy(data));
        }
    }
}
