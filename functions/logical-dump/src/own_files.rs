//! The files that pg_dump wrote itself: configuration tables of extensions, tables whose names are not text, large objects. Counted and digested like
//! our own, from the very bytes that are stored.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use shared::archive::blobs;
use shared::archive::toc::{Toc, lossy};
use shared::compression::{Compression, Decompressor};
use shared::copy_text::RowCounter;
use shared::digest::{Content, RowHash};
use shared::failure::{Context, Failure, FailureKind};
use shared::key::ArchiveKey;
use shared::manifest::{LargeObjects, Object, Table};
use shared::store::Store;
use shared::upload::Upload;
use tokio::io::AsyncReadExt;

/// The table of contents, which is rewritten and not stored as it is.
const TOC: &str = "toc.dat";
const PIECE_BYTES: usize = 256 * 1024;

/// What pg_dump's folder holds.
pub struct OwnFiles {
    /// Its table of contents.
    pub toc: Toc,
    /// Tables whose rows it wrote.
    pub tables: Vec<Table>,
    /// Large objects.
    pub large_objects: LargeObjects,
    /// Names of the files to be stored.
    pub names: Vec<String>,
}

/// Reads the folder.
///
/// # Errors
/// When a file is missing or is not what the table of contents says.
pub fn read(folder: &Path) -> Result<OwnFiles, Failure> {
    let corrupt = |message: String| Failure::new(FailureKind::Corrupt, message).context("read what pg_dump wrote");
    let toc = Toc::parse(&std::fs::read(folder.join(TOC)).context("read toc.dat")?).map_err(corrupt)?;
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir(folder).context("list what pg_dump wrote")? {
        let name = entry.context("list what pg_dump wrote")?.file_name().to_string_lossy().into_owned();
        if name != TOC {
            let base = [".gz", ".zst", ".lz4"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name).to_owned();
            names.insert(base, name);
        }
    }
    let file = |base: &str| names.get(base).ok_or_else(|| corrupt(format!("toc.dat names {base}, which is not there")));
    let mut tables = Vec::new();
    for entry in toc.entries.iter().filter(|entry| entry.is("TABLE DATA")) {
        let Some(base) = entry.data_file() else { continue };
        let name = file(&base)?;
        let content = count_rows(&folder.join(name), name)?;
        let text = |text: &Option<Vec<u8>>| text.as_deref().map(lossy).unwrap_or_default();
        tables.push(Table {
            schema: text(&entry.namespace),
            name: text(&entry.tag),
            oid: entry.oid(),
            columns: Vec::new(),
            content,
            objects: vec![name.clone()],
            through_root: None,
            in_root_order: None,
            by_pg_dump: true,
        });
    }
    let mut large_objects = LargeObjects::default();
    for name in names.values().filter(|name| blobs::is_toc(name)) {
        let text = std::fs::read_to_string(folder.join(name)).context(format!("read {name}"))?;
        for large_object in blobs::parse(&text).map_err(corrupt)? {
            let name = file(&large_object.file_name)?;
            let mut hash = HashedBytes::default();
            hash.hash.update(format!("{}\t", large_object.oid).as_bytes());
            let hash = decompress(&folder.join(name), name, hash)?;
            large_objects.content.add_hashed(&hash.hash);
            large_objects.bytes += hash.bytes;
        }
    }
    Ok(OwnFiles { toc, tables, large_objects, names: names.into_values().collect() })
}

/// Stores a file of the folder.
///
/// # Errors
/// When it cannot be read or stored.
pub async fn store(store: &Store, archive: &ArchiveKey, folder: &Path, name: &str) -> Result<Object, Failure> {
    let mut file = tokio::fs::File::open(folder.join(name)).await.context(format!("open {name}"))?;
    let mut upload = Upload::new(store, archive.object(name));
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        if file.read_buf(&mut piece).await.context(format!("read {name}"))? == 0 {
            break;
        }
        upload.write(&mut piece).await?;
    }
    let stored = upload.finish().await?;
    Ok(Object { name: name.to_owned(), size_bytes: stored.size_bytes, sha256: stored.sha256, version_id: stored.version_id })
}

fn count_rows(path: &Path, name: &str) -> Result<Content, Failure> {
    let counter = decompress(path, name, RowCounter::default())?;
    counter.finish().map_err(|message| Failure::new(FailureKind::Corrupt, message).context(format!("read {name} of pg_dump")))
}

fn decompress<W: Write>(path: &Path, name: &str, into: W) -> Result<W, Failure> {
    let read = || -> io::Result<W> {
        let mut file = std::fs::File::open(path)?;
        let mut decompressor = Decompressor::new(Compression::of_file(name), into)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = file.read(&mut piece)?;
            if count == 0 {
                return decompressor.finish();
            }
            decompressor.write_all(&piece[..count])?;
        }
    };
    read().context(format!("read {name} of pg_dump"))
}

#[derive(Default)]
struct HashedBytes {
    hash: RowHash,
    bytes: u64,
}

impl Write for HashedBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
