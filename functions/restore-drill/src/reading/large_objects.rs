//! Large objects, in ranges of oids: each is read to its end within an invocation, and a range is done when all of its objects are.

use futures_util::TryStreamExt;
use shared::digest::{Content, RowHash};
use shared::manifest::LargeObjects;
use shared_postgres::Connection;
use sqlx::{AssertSqlSafe, Row};
use tokio::time::{Instant, timeout_at};

use shared_postgres::trouble::{Trouble, sort};

/// Bytes of an object that are asked for at a time.
const PIECE_BYTES: usize = 1024 * 1024;
/// Objects of a range at most; their first pieces are streamed, never held.
const RANGE_OBJECTS_MAX: usize = 200;

/// A range of oids that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The oid before the first.
    pub after: u32,
    /// The last; `None`: there was none.
    pub last: Option<u32>,
    /// What they hold.
    pub large_objects: LargeObjects,
}

struct Object {
    oid: u32,
    hash: RowHash,
    bytes: u64,
    is_whole: bool,
}

/// Reads the next range. A range that was cut off holds the objects that were read to their end; `Unfinished`: not even one.
///
/// # Errors
/// When an object cannot be read.
pub async fn next(connection: &mut Connection, after: u32, is_careful: bool, until: Instant) -> Result<Range, Trouble> {
    let mut objects: Vec<Object> = Vec::new();
    let limit = if is_careful { 1 } else { RANGE_OBJECTS_MAX };
    let is_cut = match timeout_at(until, read(connection, after, limit, &mut objects)).await {
        Ok(result) => {
            result.map_err(|error| sort(&error))?;
            false
        }
        Err(_) => true,
    };
    let mut range = Range { after, last: None, large_objects: LargeObjects::default() };
    for object in objects.iter().take_while(|object| object.is_whole) {
        let mut content = Content::default();
        content.add_hashed(&object.hash);
        range.large_objects.content.merge(content);
        range.large_objects.bytes += object.bytes;
        range.last = Some(object.oid);
    }
    if is_cut && range.last.is_none() { Err(Trouble::Unfinished) } else { Ok(range) }
}

/// Small objects come with one statement; what is left of the others is asked for one after the other.
async fn read(connection: &mut Connection, after: u32, limit: usize, objects: &mut Vec<Object>) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT oid::bigint, pg_catalog.lo_get(oid, 0, {PIECE_BYTES}) FROM pg_catalog.pg_largeobject_metadata WHERE oid > {after} ORDER BY oid LIMIT {limit}"
    );
    {
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let (oid, piece): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            let mut hash = RowHash::default();
            hash.update(format!("{oid}\t").as_bytes());
            hash.update(piece);
            let oid = u32::try_from(oid).unwrap_or(u32::MAX);
            objects.push(Object { oid, hash, bytes: piece.len() as u64, is_whole: piece.len() < PIECE_BYTES });
        }
    }
    for object in objects.iter_mut().filter(|object| !object.is_whole) {
        while !object.is_whole {
            let sql = format!("SELECT pg_catalog.lo_get({}::oid, {}::bigint, {PIECE_BYTES})", object.oid, object.bytes);
            let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
            let piece: &[u8] = row.try_get(0)?;
            object.hash.update(piece);
            object.bytes += piece.len() as u64;
            object.is_whole = piece.len() < PIECE_BYTES;
        }
    }
    Ok(())
}
