//! A stream of unknown length into one object, with bounded memory.
//!
//! A short stream becomes one PutObject, a long one a multipart upload whose parts are sent from memory while the next one fills: S3 wants each
//! part's length first, and a part from memory can be sent again. Both are conditional: an object is never written over.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use crate::aws;
use crate::failure::{Failure, FailureKind};
use crate::manifest::hex;
use crate::store::{OpenUpload, Store, Stored, base64};

/// S3's least size of a part that is not the last.
const PART_BYTES_MIN: usize = 5 * 1024 * 1024;
/// Every so many parts their size doubles: 9,000 parts (S3 allows 10,000) then reach 2.5 TB, with 10 GB in parts of 5 and 10 MiB.
const PARTS_PER_SIZE: usize = 1_000;
const PARTS_MAX: usize = 9_000;

/// Size of a part by its number, from 0.
fn part_bytes(number: usize) -> usize {
    PART_BYTES_MIN << (number / PARTS_PER_SIZE)
}

/// A part that was sent, and the SHA-256 of its bytes.
type Sent = (CompletedPart, [u8; 32]);

/// An object being written. Dropping it leaves a multipart upload to [`Store::abort_own_uploads`].
pub struct Upload {
    store: Store,
    key: String,
    id: Option<String>,
    sending: Option<JoinHandle<Result<Sent, Failure>>>,
    parts: Vec<CompletedPart>,
    part_hashes: Sha256,
    hash: Sha256,
    size_bytes: u64,
    buffer: Vec<u8>,
}

impl Upload {
    /// Begins an object; nothing is sent yet.
    pub fn new(store: &Store, key: String) -> Self {
        Self {
            store: store.clone(),
            key,
            id: None,
            sending: None,
            parts: Vec::new(),
            part_hashes: Sha256::new(),
            hash: Sha256::new(),
            size_bytes: 0,
            buffer: Vec::new(),
        }
    }

    /// Takes the bytes out of `output`, and sends a part when there are enough for one.
    ///
    /// # Errors
    /// When a part could not be sent.
    pub async fn write(&mut self, output: &mut Vec<u8>) -> Result<(), Failure> {
        self.hash.update(&*output);
        self.size_bytes += output.len() as u64;
        let mut rest = output.as_slice();
        loop {
            let (now, later) = rest.split_at(rest.len().min(part_bytes(self.number()) - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            if self.buffer.len() < part_bytes(self.number()) {
                break;
            }
            rest = later;
            // The stream is long, so the next part is probably as large: growing step by step would leave holes of all sizes in memory.
            let next = Vec::with_capacity(part_bytes(self.number() + 1));
            let part = std::mem::replace(&mut self.buffer, next);
            self.send(part).await?;
        }
        output.clear();
        Ok(())
    }

    /// Bytes so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Completes the object.
    ///
    /// # Errors
    /// When it could not be stored. What was sent is removed by [`Store::abort_own_uploads`].
    pub async fn finish(mut self) -> Result<Stored, Failure> {
        if self.id.is_none() {
            return self.store.put(&self.key, std::mem::take(&mut self.buffer), "application/octet-stream").await;
        }
        if !self.buffer.is_empty() {
            let last = std::mem::take(&mut self.buffer);
            self.send(last).await?;
        }
        self.receive().await?;
        let upload_id = self.id.take().unwrap_or_default();
        let checksum = format!("{}-{}", base64(&std::mem::take(&mut self.part_hashes).finalize()), self.parts.len());
        let stored = |version_id| Stored { size_bytes: self.size_bytes, sha256: hex(&self.hash.clone().finalize()), version_id };
        let answer = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&upload_id)
            .if_none_match("*")
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.parts))).build())
            .send()
            .await;
        let version_id = match answer {
            Ok(answer) => answer.version_id,
            Err(error) => {
                // A lost reply looks like a conflict, or like an upload that does not exist: only the object itself can tell.
                let failure = aws::failure(error).context(format!("complete {} (s3:PutObject)", self.store.address(&self.key)));
                match self.store.find_same(&self.key, &checksum, self.size_bytes).await? {
                    Some(version_id) => version_id,
                    None => return Err(failure),
                }
            }
        };
        self.store.forget_upload(&self.key, &upload_id);
        Ok(stored(version_id))
    }

    fn number(&self) -> usize {
        self.parts.len() + usize::from(self.sending.is_some())
    }

    /// Sends a part while the next one fills; at most one is on its way.
    async fn send(&mut self, part: Vec<u8>) -> Result<(), Failure> {
        self.receive().await?;
        if self.parts.len() >= PARTS_MAX {
            return Err(Failure::new(FailureKind::Other, format!("{} needs more than {PARTS_MAX} parts", self.store.address(&self.key))));
        }
        if self.id.is_none() {
            self.id = Some(self.begin().await?);
        }
        let (store, key) = (self.store.clone(), self.key.clone());
        let upload_id = self.id.clone().unwrap_or_default();
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        self.sending = Some(tokio::spawn(async move {
            let hash: [u8; 32] = Sha256::digest(&part).into();
            let call = store.client.upload_part().bucket(&store.bucket).key(&key).upload_id(upload_id).part_number(number);
            let answer = call
                .checksum_sha256(base64(&hash))
                .body(ByteStream::from(part))
                // The signature covers the checksum, and S3 compares that with the body: hashing it once more for the signature proves nothing new.
                .customize()
                .disable_payload_signing()
                .send()
                .await
                .map_err(|error| aws::failure(error).context(format!("send part {number} of {} (s3:PutObject)", store.address(&key))))?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).checksum_sha256(base64(&hash)).build();
            Ok((part, hash))
        }));
        Ok(())
    }

    /// Waits for the part that is on its way.
    async fn receive(&mut self) -> Result<(), Failure> {
        if let Some(sending) = self.sending.take() {
            let (part, hash) = sending.await.map_err(|error| Failure::from_error(FailureKind::Other, &error).context("send a part"))??;
            self.part_hashes.update(hash);
            self.parts.push(part);
        }
        Ok(())
    }

    async fn begin(&self) -> Result<String, Failure> {
        let attempted = || format!("begin the upload of {} (s3:PutObject)", self.store.address(&self.key));
        let call = self.store.client.create_multipart_upload().bucket(&self.store.bucket).key(&self.key);
        let answer = call
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .content_type("application/octet-stream")
            .send()
            .await
            .map_err(|error| aws::failure(error).context(attempted()))?;
        let upload_id = answer.upload_id.ok_or_else(|| Failure::new(FailureKind::Other, "S3 gave no upload id").context(attempted()))?;
        self.store.remember_upload(&self.key, &upload_id);
        Ok(upload_id)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A part that is still on its way would arrive after the abort and be left behind.
        if let Some(sending) = &self.sending {
            sending.abort();
        }
    }
}

/// Aborts uploads that an earlier run left open below a prefix. Only for whoever holds the lock that makes it the one writer there.
///
/// # Errors
/// When they cannot be listed or aborted.
pub async fn abort_leftovers(store: &Store, prefix: &str) -> Result<Vec<OpenUpload>, Failure> {
    let uploads = store.list_open_uploads(prefix).await?;
    for upload in &uploads {
        store.abort_upload(upload).await?;
    }
    Ok(uploads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_so_that_nine_thousand_reach_two_terabytes() {
        assert_eq!(part_bytes(0), 5 << 20);
        let total: u64 = (0..PARTS_MAX).map(|number| part_bytes(number) as u64).sum();
        assert!(total > 2_000_000_000_000, "{total}");
        assert!((0..PARTS_MAX).all(|number| part_bytes(number) <= 5 << 30), "S3's largest part is 5 GiB");
    }
}
