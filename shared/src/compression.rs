//! The compressions of a directory archive, as streams that are written to.
//!
//! pg_restore finds the compression of a file by its suffix, so a suffix is part of each. zstd needs a pg_restore of major 16 or
//! newer.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize, de};

/// How the data files of an archive are compressed. Written as `zstd:1`, `gzip:6` or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// gzip with a level of 1 to 9.
    Gzip(u8),
    /// zstd with a level of 1 to 19.
    Zstd(u8),
}

impl Compression {
    /// What is appended to the name of a data file.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip(_) => ".gz",
            Self::Zstd(_) => ".zst",
        }
    }

    /// The compression of a file by its name.
    pub fn of_file(name: &str) -> Self {
        match name.rsplit_once('.') {
            Some((_, "zst")) => Self::Zstd(1),
            Some((_, "gz")) => Self::Gzip(6),
            _ => Self::None,
        }
    }

    /// The value of pg_dump's `--compress` for a client of this major. Before 16 it is a bare gzip level.
    pub fn pg_dump_option(self, client_major: u32) -> String {
        match self {
            Self::None => "0".to_owned(),
            Self::Gzip(level) if client_major < 16 => level.to_string(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Gzip(level) => write!(formatter, "gzip:{level}"),
            Self::Zstd(level) => write!(formatter, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<u8>().map_err(|_| format!("`{level}` is not a compression level"))?)),
            None => (text, None),
        };
        match (name, level) {
            ("none", None) => Ok(Self::None),
            ("gzip", None) => Ok(Self::Gzip(6)),
            ("gzip", Some(level @ 1..=9)) => Ok(Self::Gzip(level)),
            ("zstd", None) => Ok(Self::Zstd(1)),
            ("zstd", Some(level @ 1..=19)) => Ok(Self::Zstd(level)),
            _ => Err(format!("`{text}` is not a compression; use zstd[:1-19], gzip[:1-9] or none")),
        }
    }
}

impl Serialize for Compression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Compression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Bytes to be compressed at a time. Larger blocks save little, smaller ones begin without history too often (2 MiB: 0.3 % smaller).
pub const BLOCK_BYTES: usize = 1024 * 1024;

/// Compresses what is written to it; the compressed bytes are taken out as they come. Write in blocks of about [`BLOCK_BYTES`]: each is a unit of its own.
pub enum Compressor {
    /// As it is.
    None(Vec<u8>),
    /// gzip.
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    /// zstd.
    Zstd(ZstdFrames),
}

/// A zstd file made of frames, one for each write, which every reader takes for one file (RFC 8878, section 3). A frame that is compressed in one go
/// finds its matches in one piece of memory; a stream keeps a ring of it, and the search across its seam is slower.
pub struct ZstdFrames {
    compressor: zstd::bulk::Compressor<'static>,
    frame: Vec<u8>,
    output: Vec<u8>,
    begun: bool,
}

/// Level 1 remembers 2^14 places by default. With twice as many COPY text becomes 2 to 3 % smaller in the same time.
const LEVEL_1_HASH_LOG: u32 = 15;

impl ZstdFrames {
    fn new(level: u8) -> io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(level.into())?;
        compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
        if level == 1 {
            compressor.set_parameter(zstd::zstd_safe::CParameter::HashLog(LEVEL_1_HASH_LOG))?;
        }
        Ok(Self { compressor, frame: Vec::new(), output: Vec::new(), begun: false })
    }

    fn add_frame(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        self.compressor.compress_to_buffer(bytes, &mut self.frame)?;
        self.output.append(&mut self.frame);
        self.begun = true;
        Ok(bytes.len())
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        // A file without any frame is no zstd file.
        if !self.begun {
            self.add_frame(&[])?;
        }
        Ok(self.output)
    }
}

impl Compressor {
    /// Begins a stream.
    ///
    /// # Errors
    /// When the compressor cannot be set up (out of memory).
    pub fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(Vec::new()),
            Compression::Gzip(level) => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level.into()))),
            Compression::Zstd(level) => Self::Zstd(ZstdFrames::new(level)?),
        })
    }

    /// What has come out so far and was not taken yet.
    pub fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::None(output) => output,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(frames) => &mut frames.output,
        }
    }

    /// Ends the stream and gives what has not been taken.
    ///
    /// # Errors
    /// When the compressor fails.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::None(output) => Ok(output),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(frames) => frames.finish(),
        }
    }
}

impl Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(output) => output.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(frames) => frames.add_frame(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decompresses what is written to it into another writer.
pub enum Decompressor<W: Write> {
    /// As it is.
    None(W),
    /// gzip.
    Gzip(Box<flate2::write::MultiGzDecoder<W>>),
    /// zstd.
    Zstd(Box<zstd::stream::write::Decoder<'static, W>>),
}

impl<W: Write> Decompressor<W> {
    /// Begins a stream into `inner`.
    ///
    /// # Errors
    /// When the decompressor cannot be set up (out of memory).
    pub fn new(compression: Compression, inner: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(inner),
            Compression::Gzip(_) => Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(inner))),
            Compression::Zstd(_) => Self::Zstd(Box::new(zstd::stream::write::Decoder::new(inner)?)),
        })
    }

    /// Ends the stream and gives back the inner writer.
    ///
    /// # Errors
    /// When the stream is cut or damaged at its end.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(inner) => Ok(inner),
            Self::Gzip(decoder) => decoder.finish(),
            Self::Zstd(mut decoder) => {
                decoder.flush()?;
                Ok(decoder.into_inner())
            }
        }
    }
}

impl<W: Write> Write for Decompressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(inner) => inner.write(bytes),
            Self::Gzip(decoder) => decoder.write(bytes),
            Self::Zstd(decoder) => decoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(inner) => inner.flush(),
            Self::Gzip(decoder) => decoder.flush(),
            Self::Zstd(decoder) => decoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, compression) in
            [("zstd", Compression::Zstd(1)), ("zstd:19", Compression::Zstd(19)), ("gzip:9", Compression::Gzip(9)), ("none", Compression::None)]
        {
            assert_eq!(text.parse(), Ok(compression));
            assert_eq!(compression.to_string().parse(), Ok(compression));
        }
        for wrong in ["", "zstd:20", "zstd:0", "gzip:10", "none:1", "lz4", "zstd:x"] {
            assert!(wrong.parse::<Compression>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let data: Vec<u8> = (0..300_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
        for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(1)] {
            let mut compressor = Compressor::new(compression).expect("set up");
            data.chunks(7919).for_each(|chunk| compressor.write_all(chunk).expect("compress"));
            let compressed = compressor.finish().expect("finish");
            let mut decompressor = Decompressor::new(compression, Vec::new()).expect("set up");
            compressed.chunks(101).for_each(|chunk| decompressor.write_all(chunk).expect("decompress"));
            assert!(decompressor.finish().expect("finish") == data, "{compression}");
        }
    }
}
