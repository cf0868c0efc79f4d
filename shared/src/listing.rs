//! Listings of the bucket beyond the plain one: folders, and every version of every object.
//!
//! One listing of the versions says at once what exists, how large it is, whether it is still the version that was written, and whether
//! a delete marker hides it; a HEAD for each object would say less for a thousand times the requests.

use aws_sdk_s3::types::ChecksumMode;
use chrono::{DateTime, Utc};

use crate::aws;
use crate::failure::Failure;
use crate::store::{Listed, Store};

/// What lies directly below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// Prefixes of the folders in it, each with its closing slash.
    pub folders: Vec<String>,
    /// The objects in it.
    pub objects: Vec<Listed>,
}

/// One version of an object, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its key.
    pub key: String,
    /// S3's version id; `None` in a bucket without versions.
    pub version_id: Option<String>,
    /// Whether it is what a reader gets who asks for the key alone.
    pub is_latest: bool,
    /// Whether it is a delete marker: the key looks empty, older versions are still there.
    pub is_delete_marker: bool,
    /// Size in bytes; 0 for a delete marker.
    pub size_bytes: u64,
    /// When it was written.
    pub modified_at: DateTime<Utc>,
}

/// What S3 knows about an object's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 in base64, as S3 computed it when the object was written; of a multipart upload that of the parts' hashes, `-` and their number
    /// (S3 User Guide, "Checking object integrity").
    pub checksum_sha256: Option<String>,
}

impl Head {
    /// The SHA-256 of the bytes in hexadecimal, unless the object came in several parts.
    pub fn sha256(&self) -> Option<String> {
        let bytes = aws_smithy_types::base64::decode(self.checksum_sha256.as_deref()?).ok()?;
        Some(crate::manifest::hex(&bytes))
    }
}

impl Store {
    /// Asks for an object's size and checksum; `None` if there is no such object.
    ///
    /// # Errors
    /// When S3 cannot be asked.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, Failure> {
        match self.client.head_object().bucket(&self.bucket).key(key).checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(head) => Ok(Some(Head { size_bytes: size(head.content_length), checksum_sha256: head.checksum_sha256 })),
            Err(error) if error.as_service_error().is_some_and(aws_sdk_s3::operation::head_object::HeadObjectError::is_not_found) => Ok(None),
            Err(error) => Err(aws::failure(error).context(format!("ask for the checksum of {} (s3:GetObject)", self.address(key)))),
        }
    }

    /// What lies directly below a prefix that ends with a slash.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn list_folder(&self, prefix: &str) -> Result<Folder, Failure> {
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).delimiter("/").into_paginator().send();
        let mut folder = Folder::default();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| aws::failure(error).context(format!("list {} (s3:ListBucket)", self.address(prefix))))?;
            folder.folders.extend(page.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix));
            folder.objects.extend(page.contents.unwrap_or_default().into_iter().map(|object| Listed {
                key: object.key.unwrap_or_default(),
                size_bytes: size(object.size),
                modified_at: time(object.last_modified),
            }));
        }
        Ok(folder)
    }

    /// Every version of every object below a prefix, and the delete markers.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn list_versions(&self, prefix: &str) -> Result<Vec<Version>, Failure> {
        let mut listed = Vec::new();
        let (mut key_marker, mut version_id_marker) = (None, None);
        loop {
            let call = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
            let page =
                call.set_key_marker(key_marker).set_version_id_marker(version_id_marker).send().await.map_err(|error| {
                    aws::failure(error).context(format!("list the versions below {} (s3:ListBucketVersions)", self.address(prefix)))
                })?;
            listed.extend(page.versions.unwrap_or_default().into_iter().map(|version| Version {
                key: version.key.unwrap_or_default(),
                version_id: version_id(version.version_id),
                is_latest: version.is_latest.unwrap_or_default(),
                is_delete_marker: false,
                size_bytes: size(version.size),
                modified_at: time(version.last_modified),
            }));
            listed.extend(page.delete_markers.unwrap_or_default().into_iter().map(|marker| Version {
                key: marker.key.unwrap_or_default(),
                version_id: version_id(marker.version_id),
                is_latest: marker.is_latest.unwrap_or_default(),
                is_delete_marker: true,
                size_bytes: 0,
                modified_at: time(marker.last_modified),
            }));
            if page.is_truncated != Some(true) {
                return Ok(listed);
            }
            (key_marker, version_id_marker) = (page.next_key_marker, page.next_version_id_marker);
        }
    }
}

/// Where a bucket has no versions, S3 calls the only one `null`.
fn version_id(id: Option<String>) -> Option<String> {
    id.filter(|id| id != "null")
}

fn size(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

fn time(time: Option<aws_smithy_types::DateTime>) -> DateTime<Utc> {
    time.and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())).unwrap_or_default()
}
