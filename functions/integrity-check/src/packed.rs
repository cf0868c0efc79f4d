//! JSON in gzip, as it lies in the bucket.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::failure::{Context, Failure, FailureKind};

/// What an object may hold, unpacked: more is not ours.
const BYTES_MAX: u64 = 256 << 20;
/// The type of such objects.
pub const CONTENT_TYPE: &str = "application/gzip";

/// Packs a value.
///
/// # Errors
/// Never for what is made of our own types.
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    serde_json::to_writer(&mut encoder, value).context("pack an object")?;
    encoder.flush().context("pack an object")?;
    encoder.finish().context("pack an object")
}

/// Unpacks a value.
///
/// # Errors
/// When it is not what was packed.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let reader = std::io::BufReader::new(MultiGzDecoder::new(bytes).take(BYTES_MAX));
    serde_json::from_reader(reader).map_err(|error| Failure::from_error(FailureKind::Corrupt, &error).context("unpack an object"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_anything_else_is_refused() {
        let value = vec![("täble".to_owned(), 1.5), (String::new(), f64::MAX)];
        let bytes = pack(&value).expect("pack");
        assert_eq!(unpack::<Vec<(String, f64)>>(&bytes).expect("unpack"), value);
        for bad in [&bytes[..bytes.len() - 9], b"", b"{}"] {
            assert_eq!(unpack::<Vec<(String, f64)>>(bad).expect_err("refused").kind, FailureKind::Corrupt);
        }
    }
}
