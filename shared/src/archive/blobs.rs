//! `blobs*.toc`: which file of an archive holds which large object.
//!
//! One line for each: the oid, a space, and the file's name without the suffix of its compression (`pg_backup_directory.c`, `_EndLO`).

/// A large object and the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeObjectFile {
    /// `pg_largeobject_metadata.oid`.
    pub oid: u32,
    /// Name without the suffix of its compression.
    pub file_name: String,
}

/// Reads a `blobs*.toc`.
///
/// # Errors
/// When a line is not an oid and a name.
pub fn parse(text: &str) -> Result<Vec<LargeObjectFile>, String> {
    text.lines()
        .map(|line| {
            let (oid, name) = line.split_once(' ').ok_or_else(|| format!("`{line}` is not a line of a large objects' table of contents"))?;
            let oid = oid.parse().map_err(|_| format!("`{oid}` is not the oid of a large object"))?;
            Ok(LargeObjectFile { oid, file_name: name.to_owned() })
        })
        .collect()
}

/// Whether an object of an archive is such a table of contents.
pub fn is_toc(name: &str) -> bool {
    matches!(name.rsplit_once('.'), Some((stem, "toc")) if stem.starts_with("blobs"))
}
