//! Reads an archive to its last byte: several objects at once, each as a stream, so that memory does not grow with the backup.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::key::{ArchiveKey, MANIFEST};
use shared::store::Store;
use tokio::time::{Instant, timeout, timeout_at};

use crate::content_check::{Attempt, Judge};
use crate::listing_check::{Listed, Standing};
use crate::observe;
use crate::reading::{Read, Reading, Role};
use shared::verification::Record;

/// Objects that are read at once: one's wait for its first byte is another's time.
const AT_ONCE: usize = 4;
/// How often an object whose stream broke is asked for the rest, without a byte more.
const RESUMES_MAX: usize = 5;
/// How long a stream may stand still.
const STALL_MAX: Duration = Duration::from_secs(30);
/// The largest table of contents that is looked into: it must fit into memory, twice.
const CONTENTS_BYTES_MAX: u64 = 256 << 20;

/// What came out of reading an archive.
#[derive(Default)]
pub struct Verified {
    /// Everything that is wrong with it, the listing included.
    pub findings: Vec<Finding>,
    /// Objects that were read.
    pub objects: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Rows and large objects that were counted.
    pub rows: u64,
    /// Checksum of the manifest, if it could be opened.
    pub manifest_checksum: Option<String>,
    /// Whether the time sufficed.
    pub finished: bool,
}

/// Reads every object of an archive and compares it with the manifest.
///
/// # Errors
/// When the bucket cannot be listed.
pub async fn verify(store: &Store, key: &ArchiveKey, record: Option<&Record>, until: Instant) -> Result<Verified, Failure> {
    let inspected = observe::inspect(store, key, record).await?;
    let mut verified = Verified { finished: true, ..Verified::default() };
    let Some(manifest) = &inspected.manifest else {
        if !inspected.is_complete && inspected.others.is_empty() {
            let missing = Finding::new(FindingKind::ObjectMissing, key.object(MANIFEST), "there is no such object");
            verified.findings.push(missing.expected("a manifest, whose presence is the backup"));
        }
        verified.findings.extend(inspected.findings());
        return Ok(verified);
    };
    verified.manifest_checksum = Some(manifest.checksum.clone());
    let mut judge = Judge::new(key, manifest);
    let (first, rest): (Vec<&Listed>, Vec<&Listed>) = inspected.listed.iter().partition(|listed| Judge::comes_first(&listed.object.name));
    for phase in [first, rest] {
        let mut todo = Vec::with_capacity(phase.len());
        for listed in phase {
            let role = judge.role(&listed.object.name);
            // In a box, which is made when it begins: thousands that wait take no memory.
            todo.push(async move { (listed, Box::pin(read(store, listed, role, until)).await) });
        }
        let mut reading = stream::iter(todo).buffer_unordered(AT_ONCE);
        while let Some((listed, outcome)) = reading.next().await {
            match outcome {
                Outcome::NotListed => judge.take_missing(listed),
                Outcome::OutOfTime => {
                    verified.finished = false;
                    return Ok(verified);
                }
                Outcome::Tried(attempt) => {
                    if let Attempt::Read(read) = &attempt {
                        verified.objects += 1;
                        verified.bytes += read.bytes;
                    }
                    judge.take(listed, attempt);
                    verified.rows = judge.rows();
                }
                Outcome::TooLarge => judge.take(listed, Attempt::Unreadable(format!("larger than {CONTENTS_BYTES_MAX} bytes"))),
            }
        }
    }
    verified.findings.extend(judge.finish());
    verified.findings.extend(inspected.others);
    Ok(verified)
}

enum Outcome {
    Tried(Attempt),
    NotListed,
    TooLarge,
    OutOfTime,
}

async fn read(store: &Store, listed: &Listed, role: Role, until: Instant) -> Outcome {
    let Some(current) = listed.current.as_ref().filter(|_| listed.standing != Standing::Missing) else { return Outcome::NotListed };
    if role == Role::Contents && current.size_bytes > CONTENTS_BYTES_MAX {
        return Outcome::TooLarge;
    }
    let reading = Reading::new(&listed.object.name, role);
    let version = current.version_id.as_deref();
    match timeout_at(until, read_through(store, &listed.key, version, current.size_bytes, reading)).await {
        Err(_) => Outcome::OutOfTime,
        Ok(Ok(Some(read))) => Outcome::Tried(Attempt::Read(read)),
        Ok(Ok(None)) => Outcome::Tried(Attempt::Gone),
        Ok(Err(failure)) => Outcome::Tried(Attempt::Unreadable(failure.to_string())),
    }
}

/// Reads an object to the end that the listing shows. A stream that breaks is resumed where it broke.
async fn read_through(store: &Store, key: &str, version: Option<&str>, size_bytes: u64, mut reading: Reading) -> Result<Option<Read>, Failure> {
    let mut resumes = 0;
    loop {
        let (before, mut skipped) = (reading.bytes(), 0);
        let broke = match store.read_from(key, version, before).await? {
            None => return Ok(None),
            Some((begins_at, mut body)) => loop {
                match timeout(STALL_MAX, body.next()).await {
                    Ok(Some(Ok(piece))) => {
                        // What was read already comes again when the range was ignored.
                        let again = usize::try_from(before - begins_at - skipped).map_or(piece.len(), |again| again.min(piece.len()));
                        skipped += again as u64;
                        reading.write(&piece[again..]);
                    }
                    Ok(Some(Err(error))) => break Failure::from_error(FailureKind::Unreachable, &error),
                    Ok(None) => break Failure::new(FailureKind::Unreachable, "the stream ended early"),
                    Err(_) => break Failure::new(FailureKind::Unreachable, format!("no byte for {} seconds", STALL_MAX.as_secs())),
                }
            },
        };
        if reading.bytes() >= size_bytes {
            return Ok(Some(reading.finish()));
        }
        resumes = if reading.bytes() > before { 0 } else { resumes + 1 };
        tracing::warn!(key, bytes = reading.bytes(), size_bytes, why = %broke, "the stream of an object broke");
        if resumes > RESUMES_MAX {
            return Err(broke.context(format!("read {} from byte {} of {size_bytes} on (s3:GetObject)", store.address(key), reading.bytes())));
        }
    }
}
