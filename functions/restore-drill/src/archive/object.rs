//! An object of the archive, read as a stream and held against the manifest: resumed where it breaks, and named when it is not what was written.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use sha2::{Digest as _, Sha256};
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::key::ArchiveKey;
use shared::manifest::{Manifest, Object, hex};
use shared::store::Store;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// How often an object whose stream broke is asked for the rest, without a byte more.
const RESUMES_MAX: usize = 5;
/// How long a stream may stand still.
const STALL_MAX: Duration = Duration::from_secs(30);
/// The largest object that is kept in memory: a table of contents.
const SMALL_BYTES_MAX: u64 = 256 << 20;

/// An object as the manifest knows it, and what else is needed to read and to judge it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub store: &'a Store,
    pub archive: &'a ArchiveKey,
    pub manifest: &'a Manifest,
    pub object: &'a Object,
}

/// Why an object did not give what was written.
pub(super) enum Trouble {
    /// It is not what was written.
    Damaged(Box<Finding>),
    /// It could not be read; trying again may help.
    Failed(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The bytes of an object, as they come.
pub(super) struct Reader<'a> {
    source: Source<'a>,
    key: String,
    body: Option<ByteStream>,
    /// Bytes of this body that were read already.
    again: u64,
    read: u64,
    resumes: usize,
    sha256: Sha256,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        let key = source.archive.object(&source.object.name);
        Self { source, key, body: None, again: 0, read: 0, resumes: 0, sha256: Sha256::new() }
    }

    /// The next piece; `None` at the end, once all of it is known to be what was written.
    pub(super) async fn next(&mut self) -> Result<Option<impl Deref<Target = [u8]> + Send + use<>>, Trouble> {
        loop {
            let Some(body) = &mut self.body else {
                let Some((begins_at, body)) = self.source.store.read_from(&self.key, None, self.read).await? else {
                    return Err(self.damaged(FindingKind::ObjectMissing, "there is no such object".to_owned()));
                };
                self.again = self.read - begins_at;
                self.body = Some(body);
                continue;
            };
            let broke = match timeout(STALL_MAX, body.next()).await {
                Ok(Some(Ok(mut piece))) => {
                    // What was read already comes again when the range was ignored.
                    let skip = usize::try_from(self.again).map_or(piece.len(), |again| again.min(piece.len()));
                    self.again -= skip as u64;
                    let piece = piece.split_off(skip);
                    if piece.is_empty() {
                        continue;
                    }
                    self.read += piece.len() as u64;
                    self.resumes = 0;
                    if self.read > self.source.object.size_bytes {
                        return Err(self.damaged(FindingKind::ObjectTruncated, format!("more than {} bytes", self.source.object.size_bytes)));
                    }
                    self.sha256.update(&piece);
                    return Ok(Some(piece));
                }
                Ok(None) => return self.judge().map(|()| None),
                Ok(Some(Err(error))) => Failure::from_error(FailureKind::Unreachable, &error),
                Err(_) => Failure::new(FailureKind::Unreachable, format!("no byte for {} seconds", STALL_MAX.as_secs())),
            };
            self.body = None;
            self.resumes += 1;
            tracing::warn!(key = self.key, bytes = self.read, why = %broke, "the stream of an object broke");
            if self.resumes > RESUMES_MAX {
                return Err(broke.context(format!("read {} from byte {} on (s3:GetObject)", self.key, self.read)).into());
            }
            // Bytes at the very end: asked for from there on, S3 would answer that there is no such range.
            if self.read == self.source.object.size_bytes {
                return self.judge().map(|()| None);
            }
        }
    }

    fn judge(&self) -> Result<(), Trouble> {
        let (object, sha256) = (self.source.object, hex(&self.sha256.clone().finalize()));
        if sha256 == object.sha256 && self.read == object.size_bytes {
            return Ok(());
        }
        let other = self.source.manifest.objects.iter().find(|other| other.sha256 == sha256 && other.name != object.name);
        Err(match other {
            Some(other) => self.damaged(FindingKind::ObjectSwapped, format!("the bytes of {}", other.name)),
            None if self.read == object.size_bytes => self.damaged(FindingKind::ObjectCorrupt, format!("{} bytes with SHA-256 {sha256}", self.read)),
            None => self.damaged(FindingKind::ObjectTruncated, format!("{} bytes, SHA-256 {sha256}", self.read)),
        })
    }

    fn damaged(&self, kind: FindingKind, seen: String) -> Trouble {
        Trouble::Damaged(Box::new(damaged(self.source, kind, seen)))
    }
}

fn damaged(source: Source<'_>, kind: FindingKind, seen: String) -> Finding {
    let (object, manifest) = (source.object, source.manifest);
    let lost = match manifest.tables.iter().find(|table| table.objects.contains(&object.name)) {
        Some(table) => format!("it holds rows of {}.{}, which were not loaded", table.schema, table.name),
        None if object.name == super::contents::TOC => "without it nothing can be restored".to_owned(),
        None => "what it holds was not restored".to_owned(),
    };
    let version = object.version_id.as_deref().map(|id| format!(" (its version {id} may still be there)")).unwrap_or_default();
    Finding::new(kind, source.archive.object(&object.name), seen)
        .expected(format!("{} bytes with SHA-256 {}", object.size_bytes, object.sha256))
        .hint(format!("{lost}: look for a copy of the object{version}, or restore another backup"))
}

/// An object that is known to be small, whole.
pub(super) async fn fetch(source: Source<'_>) -> Result<Vec<u8>, Trouble> {
    if source.object.size_bytes > SMALL_BYTES_MAX {
        let failure = Failure::new(FailureKind::Other, format!("{} has more than {SMALL_BYTES_MAX} bytes", source.object.name));
        return Err(failure.hint("restore this archive by hand, with pg_restore: see the manual").into());
    }
    let (mut reader, mut bytes) = (Reader::new(source), Vec::new());
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// An object into a file of the same name.
pub(super) async fn fetch_into(source: Source<'_>, folder: &Path) -> Result<(), Trouble> {
    let mut file = tokio::fs::File::create(folder.join(&source.object.name)).await.context(format!("create {}", source.object.name))?;
    let mut reader = Reader::new(source);
    while let Some(piece) = reader.next().await? {
        file.write_all(&piece).await.context(format!("write {}", source.object.name))?;
    }
    file.flush().await.context(format!("write {}", source.object.name))?;
    Ok(())
}
