//! Rows as COPY text: read once, counted and digested on the way.

use futures_util::TryStreamExt;
use shared::digest::{Content, RowHash};
use shared::failure::{Failure, FailureKind};
use sqlx::AssertSqlSafe;
use sqlx::Row;

use crate::Connection;
use crate::error::ContextSql;

/// Runs a `COPY … TO STDOUT` and hands over each row with its newline. `take` gets rows one by one: "Messages sent from the backend will always
/// correspond to single data rows" (PostgreSQL manual, Message Formats, CopyData).
///
/// # Errors
/// When the connection is lost or the server refuses.
pub async fn count(connection: &mut Connection, copy_sql: &str) -> Result<Content, Failure> {
    let mut content = Content::default();
    let mut rows = connection.copy_out_raw(copy_sql).await.context_sql("begin COPY")?;
    while let Some(row) = rows.try_next().await.context_sql("read COPY")? {
        content.add_row(row_without_newline(&row)?);
    }
    Ok(content)
}

/// The row of a CopyData message.
///
/// # Errors
/// When the message is not one whole row.
pub fn row_without_newline(message: &[u8]) -> Result<&[u8], Failure> {
    message.strip_suffix(b"\n").ok_or_else(|| Failure::new(FailureKind::Corrupt, "the server sent a piece of COPY data that is not a whole row"))
}

/// `COPY table (columns) TO STDOUT`, from names that are already quoted.
pub fn copy_table_sql(target: &str) -> String {
    format!("COPY {target} TO STDOUT")
}

/// Counts and digests every large object: a row is the oid in decimal, a tab, and the object's bytes.
///
/// # Errors
/// When one cannot be read.
pub async fn count_large_objects(connection: &mut Connection) -> Result<(Content, u64), Failure> {
    let oids: Vec<i64> = sqlx::query_scalar("SELECT oid::bigint FROM pg_catalog.pg_largeobject_metadata ORDER BY oid")
        .fetch_all(&mut *connection)
        .await
        .context_sql("list large objects")?;
    let (mut content, mut bytes) = (Content::default(), 0);
    for oid in oids {
        let mut hash = RowHash::default();
        hash.update(format!("{oid}\t").as_bytes());
        for offset in (0_i64..).step_by(PIECE_BYTES) {
            let row = sqlx::query(AssertSqlSafe(format!("SELECT pg_catalog.lo_get({oid}::oid, {offset}::bigint, {PIECE_BYTES})")))
                .fetch_one(&mut *connection)
                .await
                .context_sql(format!("read large object {oid}"))?;
            let piece: Vec<u8> = row.try_get(0).context_sql("read a large object")?;
            hash.update(&piece);
            bytes += piece.len() as u64;
            if piece.len() < PIECE_BYTES {
                break;
            }
        }
        content.add_hashed(&hash);
    }
    Ok((content, bytes))
}

const PIECE_BYTES: usize = 1024 * 1024;
