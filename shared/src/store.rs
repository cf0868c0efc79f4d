//! The bucket: objects are written once, under their final name, never over another; everything that is read is compared.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::aws;
use crate::failure::{Failure, FailureKind};
use crate::manifest::hex;

/// A bucket.
#[derive(Clone)]
pub struct Store {
    pub(crate) client: Client,
    /// Its name.
    pub bucket: String,
    /// Multipart uploads that this process began and has neither completed nor aborted: key and upload id.
    pub(crate) open_uploads: Arc<Mutex<BTreeSet<(String, String)>>>,
}

/// An object as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// S3's version id, where the bucket has versions.
    pub version_id: Option<String>,
}

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// When it was written.
    pub modified_at: DateTime<Utc>,
}

/// A multipart upload that somebody left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    /// The key that it would have made.
    pub key: String,
    /// Its id.
    pub upload_id: String,
}

/// How often a lost conditional write is tried again before it is given up.
const CONFLICT_ATTEMPTS_MAX: usize = 4;

impl Store {
    /// The bucket of this name.
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into(), open_uploads: Arc::default() }
    }

    /// `s3://BUCKET/KEY`.
    pub fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    /// Stores a small object that must not exist yet. When the reply was lost and S3 says that it exists, it is compared with what was sent.
    ///
    /// # Errors
    /// [`FailureKind::Conflict`] when other content is there already.
    pub async fn put(&self, key: &str, bytes: Vec<u8>, content_type: &str) -> Result<Stored, Failure> {
        let hash = Sha256::digest(&bytes);
        let checksum = base64(&hash);
        let stored = |version_id| Stored { size_bytes: bytes.len() as u64, sha256: hex(&hash), version_id };
        let attempted = || format!("store {} (s3:PutObject)", self.address(key));
        for attempt in 1.. {
            let call = self.client.put_object().bucket(&self.bucket).key(key).if_none_match("*").content_type(content_type);
            let error = match call.checksum_sha256(&checksum).body(ByteStream::from(bytes.clone())).send().await {
                Ok(answer) => return Ok(stored(answer.version_id)),
                Err(error) => aws::failure(error),
            };
            if error.kind != FailureKind::Conflict {
                return Err(error.context(attempted()));
            }
            if let Some(version_id) = self.find_same(key, &checksum, bytes.len() as u64).await? {
                return Ok(stored(version_id));
            }
            if attempt == CONFLICT_ATTEMPTS_MAX {
                return Err(error.context(attempted()).hint("another run wrote an object of this name; nothing was overwritten"));
            }
        }
        unreachable!("the loop returns")
    }

    /// The version id of the object under this key, if its checksum and size are these. `Some(None)` in a bucket without versions.
    ///
    /// # Errors
    /// When S3 cannot be asked.
    pub(crate) async fn find_same(&self, key: &str, checksum_sha256: &str, size_bytes: u64) -> Result<Option<Option<String>>, Failure> {
        let answer = self.client.head_object().bucket(&self.bucket).key(key).checksum_mode(ChecksumMode::Enabled).send().await;
        match answer {
            Ok(head) => {
                let same = head.checksum_sha256() == Some(checksum_sha256)
                    && head.content_length().and_then(|length| u64::try_from(length).ok()) == Some(size_bytes);
                Ok(same.then_some(head.version_id))
            }
            Err(error) if error.as_service_error().is_some_and(aws_sdk_s3::operation::head_object::HeadObjectError::is_not_found) => Ok(None),
            Err(error) => match aws::failure(error).context(format!("compare {} (s3:GetObject)", self.address(key))) {
                // Whoever may not list the whole bucket is told "forbidden" of a key that does not exist (S3 API reference, HeadObject).
                failure if failure.kind == FailureKind::Denied => Ok(None),
                failure => Err(failure),
            },
        }
    }

    /// A whole object that is known to be small; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let attempted = || format!("read {} (s3:GetObject)", self.address(key));
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => {
                let body = answer.body.collect().await.map_err(|error| Failure::from_error(FailureKind::Unreachable, &error).context(attempted()))?;
                Ok(Some(body.into_bytes().to_vec()))
            }
            Err(error) if error.as_service_error().is_some_and(aws_sdk_s3::operation::get_object::GetObjectError::is_no_such_key) => Ok(None),
            Err(error) => Err(aws::failure(error).context(attempted())),
        }
    }

    /// The body of an object from a byte on, for reading in pieces; `version_id` names one version. The number is the byte that the body really begins
    /// with: whoever answers may ignore a range and send the whole (RFC 9110, section 14.2).
    ///
    /// # Errors
    /// When it cannot be read; `Ok(None)` when there is no such object or version.
    pub async fn read_from(&self, key: &str, version_id: Option<&str>, from_byte: u64) -> Result<Option<(u64, ByteStream)>, Failure> {
        let call = self.client.get_object().bucket(&self.bucket).key(key).set_version_id(version_id.map(str::to_owned));
        let call = if from_byte > 0 { call.range(format!("bytes={from_byte}-")) } else { call };
        match call.send().await {
            Ok(answer) => {
                let is_part = answer.content_range().is_some_and(|range| range.starts_with(&format!("bytes {from_byte}-")));
                Ok(Some((if is_part { from_byte } else { 0 }, answer.body)))
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_no_such_key() || aws_sdk_s3::error::ProvideErrorMetadata::code(error) == Some("NoSuchVersion")) =>
            {
                Ok(None)
            }
            Err(error) => Err(aws::failure(error).context(format!("read {} (s3:GetObject)", self.address(key)))),
        }
    }

    /// Every object below a prefix, in the order of their keys.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| aws::failure(error).context(format!("list {} (s3:ListBucket)", self.address(prefix))))?;
            for object in page.contents.unwrap_or_default() {
                let modified_at =
                    object.last_modified.and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())).unwrap_or_default();
                listed.push(Listed {
                    key: object.key.unwrap_or_default(),
                    size_bytes: object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
                    modified_at,
                });
            }
        }
        Ok(listed)
    }

    /// Multipart uploads below a prefix that nobody completed.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn list_open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Failure> {
        let mut uploads = Vec::new();
        let (mut key_marker, mut upload_id_marker) = (None, None);
        loop {
            let call = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix);
            let page = call.set_key_marker(key_marker).set_upload_id_marker(upload_id_marker).send().await.map_err(|error| {
                aws::failure(error).context(format!("list open uploads below {} (s3:ListBucketMultipartUploads)", self.address(prefix)))
            })?;
            for upload in page.uploads.unwrap_or_default() {
                uploads.extend(upload.key.zip(upload.upload_id).map(|(key, upload_id)| OpenUpload { key, upload_id }));
            }
            if page.is_truncated != Some(true) {
                return Ok(uploads);
            }
            (key_marker, upload_id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    /// Aborts an upload. An upload that is gone already is not an error.
    ///
    /// # Errors
    /// When it cannot be aborted; its parts then cost money until the bucket's lifecycle removes them.
    pub async fn abort_upload(&self, upload: &OpenUpload) -> Result<(), Failure> {
        let answer = self.client.abort_multipart_upload().bucket(&self.bucket).key(&upload.key).upload_id(&upload.upload_id).send().await;
        match answer {
            Ok(_) => {}
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(aws_sdk_s3::operation::abort_multipart_upload::AbortMultipartUploadError::is_no_such_upload) => {}
            Err(error) => {
                return Err(aws::failure(error).context(format!("abort the upload of {} (s3:AbortMultipartUpload)", self.address(&upload.key))));
            }
        }
        self.forget_upload(&upload.key, &upload.upload_id);
        Ok(())
    }

    /// Aborts every upload that this process began and did not complete: the last step of a run that failed or was cut.
    ///
    /// # Errors
    /// The first that could not be aborted, after all were tried.
    pub async fn abort_own_uploads(&self) -> Result<usize, Failure> {
        let open: Vec<(String, String)> = self.open_uploads.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let mut result = Ok(open.len());
        for (key, upload_id) in open {
            if let Err(failure) = self.abort_upload(&OpenUpload { key, upload_id }).await {
                result = result.and(Err(failure));
            }
        }
        result
    }

    pub(crate) fn remember_upload(&self, key: &str, upload_id: &str) {
        self.open_uploads.lock().unwrap_or_else(PoisonError::into_inner).insert((key.to_owned(), upload_id.to_owned()));
    }

    pub(crate) fn forget_upload(&self, key: &str, upload_id: &str) {
        self.open_uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&(key.to_owned(), upload_id.to_owned()));
    }
}

/// Base64 as S3 wants checksums.
pub(crate) fn base64(bytes: &[u8]) -> String {
    aws_smithy_types::base64::encode(bytes)
}
