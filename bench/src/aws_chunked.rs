//! The body encoding of S3's streaming uploads: hexadecimal length, extensions, line break, bytes, line break, …, a chunk of length 0, trailers.
//! Decoded so that sizes are those of the content; signatures and trailing checksums are not looked at.
//!
//! Source: Amazon S3 API Reference, "Signature calculations for the Authorization header: transferring payload in multiple chunks".

use axum::body::Bytes;

/// Decodes a body that arrives in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    line: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// In the line before a chunk.
    #[default]
    Length,
    /// So many bytes of the chunk are still to come.
    Content(usize),
    /// In the line break after a chunk.
    End,
    /// After the last chunk: trailers.
    Trailers,
}

impl Decoder {
    /// Takes the next piece, and hands over what it has of the content.
    ///
    /// # Errors
    /// When it is not this encoding.
    pub fn decode(&mut self, mut piece: Bytes, mut take: impl FnMut(Bytes)) -> Result<(), &'static str> {
        while !piece.is_empty() {
            match self.state {
                State::Content(left) => {
                    let content = piece.split_to(left.min(piece.len()));
                    self.state = if content.len() == left { State::End } else { State::Content(left - content.len()) };
                    take(content);
                }
                State::Trailers => return Ok(()),
                State::Length | State::End => {
                    let end = piece.iter().position(|byte| *byte == b'\n');
                    self.line.extend_from_slice(&piece.split_to(end.map_or(piece.len(), |end| end + 1)));
                    if end.is_some() {
                        self.end_line()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the last chunk was seen.
    pub fn is_complete(&self) -> bool {
        self.state == State::Trailers
    }

    fn end_line(&mut self) -> Result<(), &'static str> {
        if self.state == State::End {
            self.state = State::Length;
        } else {
            let digits = self.line.split(|byte| *byte == b';' || *byte == b'\r').next().unwrap_or_default();
            let text = std::str::from_utf8(digits).map_err(|_| "the length of a chunk is not text")?;
            let length = usize::from_str_radix(text, 16).map_err(|_| "the length of a chunk is not a hexadecimal number")?;
            self.state = if length == 0 { State::Trailers } else { State::Content(length) };
        }
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_comes_out_whatever_the_pieces() {
        let body = b"5;chunk-signature=ab\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        for size in 1..body.len() {
            let (mut decoder, mut content) = (Decoder::default(), Vec::new());
            for piece in body.chunks(size) {
                decoder.decode(Bytes::copy_from_slice(piece), |bytes| content.extend_from_slice(&bytes)).expect("decode");
            }
            assert_eq!((content.as_slice(), decoder.is_complete()), (b"hello0123456789abcdef".as_slice(), true));
        }
        let mut cut = Decoder::default();
        cut.decode(Bytes::from_static(b"5\r\nhel"), |_| {}).expect("decode");
        assert!(!cut.is_complete());
        assert!(Decoder::default().decode(Bytes::from_static(b"not hexadecimal\r\n"), |_| {}).is_err());
    }
}
