//! The backup bucket as an operator sees it: reads everything, and for a demonstration spoils something, as root of the account.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use shared::failure::{Context, Failure};
use shared::report::Report;

use crate::attempt::{Attempt, failed};

const POLL: Duration = Duration::from_millis(100);

/// A bucket and a client.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// S3.
    pub client: Client,
    /// Its name.
    pub name: String,
}

impl Bucket {
    /// Keys below a prefix, in order.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let listed = shared::store::Store::new(self.client.clone(), &self.name).list(prefix).await?;
        Ok(listed.into_iter().map(|object| object.key).collect())
    }

    /// A whole object.
    ///
    /// # Errors
    /// When there is none.
    pub async fn read(&self, key: &str) -> Result<Vec<u8>, Failure> {
        let found = shared::store::Store::new(self.client.clone(), &self.name).get(key).await?;
        found.ok_or_else(|| failed(format!("there is no s3://{}/{key}", self.name)))
    }

    /// Copies everything below a prefix into a folder, as `aws s3 sync` would; gives the bytes.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub async fn download(&self, prefix: &str, folder: &Path) -> Result<u64, Failure> {
        let mut bytes = 0;
        for key in self.keys(prefix).await? {
            // Names below an archive's prefix are Lifeboat's own: plain names, no folders.
            let name = key.strip_prefix(prefix).filter(|name| !name.is_empty() && !name.contains('/'));
            let file = folder.join(name.ok_or_else(|| failed(format!("an unexpected object: {key}")))?);
            bytes += self.download_one(&key, &file).await.context(format!("download {key}"))?;
        }
        Ok(bytes)
    }

    async fn download_one(&self, key: &str, file: &Path) -> Result<u64, Failure> {
        let got = self.client.get_object().bucket(&self.name).key(key).send().await.map_err(shared::aws::failure)?;
        let (mut body, mut out, mut bytes) = (got.body, File::create(file).context("create the file")?, 0);
        while let Some(piece) = body.try_next().await.attempt("read")? {
            out.write_all(&piece).context("write")?;
            bytes += piece.len() as u64;
        }
        Ok(bytes)
    }

    /// Waits for a report that fits, and gives it. A report appears when its run has ended.
    ///
    /// # Errors
    /// When none appeared in this time.
    pub async fn wait_for_report(&self, job: &str, limit: Duration, fits: impl Fn(&Report) -> bool) -> Result<Report, Failure> {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            for key in self.keys(&format!("reports/{job}/")).await? {
                if seen.contains(&key) {
                    continue;
                }
                let report: Report = serde_json::from_slice(&self.read(&key).await?).context(format!("read {key}"))?;
                if fits(&report) {
                    return Ok(report);
                }
                seen.push(key);
            }
            if Instant::now() > deadline {
                return Err(failed(format!("{job} left no report within {} s; reports seen: {seen:?}", limit.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Replaces an object by one with a flipped bit. The bucket's policy and lock let nobody overwrite: the old version stays, hidden by a delete
    /// marker, and the new one is written on top, which is what an intruder with full rights could do.
    ///
    /// # Errors
    /// When the bucket refuses even that.
    pub async fn flip(&self, key: &str) -> Result<(), Failure> {
        let mut bytes = self.read(key).await?;
        let middle = bytes.len() / 2;
        let byte = bytes.get_mut(middle).ok_or_else(|| failed(format!("{key} is empty")))?;
        *byte ^= 1;
        self.delete(key).await?;
        let put = self.client.put_object().bucket(&self.name).key(key).if_none_match("*").body(ByteStream::from(bytes));
        put.send().await.map(|_| ()).map_err(|error| shared::aws::failure(error).context(format!("write {key}")))
    }

    /// Deletes an object: with versions, a delete marker hides it.
    ///
    /// # Errors
    /// When the bucket refuses.
    pub async fn delete(&self, key: &str) -> Result<(), Failure> {
        let delete = self.client.delete_object().bucket(&self.name).key(key);
        delete.send().await.map(|_| ()).map_err(|error| shared::aws::failure(error).context(format!("delete {key}")))
    }
}
