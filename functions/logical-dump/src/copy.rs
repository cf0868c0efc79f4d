//! The rows: slices of tables, copied over several connections under one snapshot, each read once: compressed, counted and digested on the way to S3.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::TryStreamExt;
use shared::compression::{BLOCK_BYTES, Compression, Compressor};
use shared::copy_text::END_OF_DATA;
use shared::digest::Content;
use shared::failure::{Context, Failure, FailureKind};
use shared::key::ArchiveKey;
use shared::manifest::Object;
use shared::store::Store;
use shared::upload::Upload;
use shared_postgres::rows::{copy_table_sql, row_without_newline};
use shared_postgres::session::{self, Limits};
use shared_postgres::{Access, Connection, ContextSql};
use sqlx::AssertSqlSafe;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use crate::catalog::Relation;
use crate::slices;

/// An object up to this size is stored while the connection goes on with the next table: thousands of small tables would otherwise wait for S3 one by one.
const BACKGROUND_BYTES_MAX: u64 = 256 * 1024;
/// So many at a time, for each connection.
const BACKGROUND_STORES_MAX: usize = 8;

/// One object to be made: a table, or a slice of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// `pg_class.oid` of the table.
    pub oid: u32,
    /// What it is, for a person.
    pub what: String,
    /// The statement.
    pub copy_sql: String,
    /// Name of the data file without the suffix of its compression.
    pub file: String,
    /// Places of the partition root's columns in our rows, where they differ.
    pub root_order: Option<Vec<usize>>,
    /// Bytes of the table that it covers, about.
    pub weight_bytes: u64,
}

/// An object that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// `pg_class.oid` of the table.
    pub oid: u32,
    /// Name of the data file without suffix.
    pub file: String,
    /// Its rows.
    pub content: Content,
    /// Its rows with the columns in the order of the partition root, where that differs.
    pub in_root_order: Content,
    /// Bytes of the text before compression.
    pub text_bytes: u64,
    /// As it was stored.
    pub object: Object,
}

/// Where the copies come from and go to.
#[derive(Clone)]
pub struct Route {
    /// The server.
    pub access: Access,
    /// Name of the sessions of this run.
    pub application_name: String,
    /// The archive.
    pub archive: ArchiveKey,
    /// Id of the snapshot.
    pub snapshot: String,
    /// About waiting.
    pub limits: Limits,
    /// How data files are compressed.
    pub compression: Compression,
    /// The bucket.
    pub store: Store,
}

/// The tasks for a table: one, or one for each slice. Only a heap can be sliced: another access method need not read a range of ctid as a range.
pub fn tasks(relation: &Relation, slice_bytes: Option<u64>, page_bytes: u64) -> Vec<Task> {
    let columns = relation.column_list();
    let slices = match slice_bytes {
        Some(slice_bytes) if relation.is_heap => slices::cut(relation.size_bytes / page_bytes, slice_bytes / page_bytes),
        _ => Vec::new(),
    };
    if slices.len() < 2 {
        return vec![Task {
            oid: relation.oid,
            what: relation.quoted.clone(),
            copy_sql: copy_table_sql(&format!("{}{columns}", relation.quoted)),
            file: format!("t{}", relation.oid),
            root_order: relation.root_order(),
            weight_bytes: relation.size_bytes,
        }];
    }
    let count = slices.len();
    slices
        .into_iter()
        .enumerate()
        .map(|(number, slice)| Task {
            oid: relation.oid,
            what: format!("{} (slice {} of {count})", relation.quoted, number + 1),
            copy_sql: format!(
                "COPY (SELECT {} FROM ONLY {} WHERE {}) TO STDOUT",
                relation.quoted_columns.join(", "),
                relation.quoted,
                slice.condition()
            ),
            file: format!("t{}_{:04}", relation.oid, number + 1),
            root_order: relation.root_order(),
            weight_bytes: relation.size_bytes / count as u64,
        })
        .collect()
}

/// Copies everything, the biggest first. The first failure ends all.
///
/// # Errors
/// When a connection is lost, the server refuses, or an object cannot be stored.
pub async fn copy_all(route: &Route, mut tasks: Vec<Task>, connections: usize) -> Result<Vec<Copied>, Failure> {
    tasks.sort_by_key(|task| std::cmp::Reverse(task.weight_bytes));
    let workers = connections.min(tasks.len());
    let queue = Arc::new(Mutex::new(VecDeque::from(tasks)));
    // Dropping the set, when the run is cut, ends every worker.
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(work(route.clone(), queue.clone()));
    }
    let mut copied = Vec::new();
    while let Some(worker) = running.join_next().await {
        copied.extend(worker.map_err(|error| Failure::from_error(FailureKind::Panic, &error).context("copy tables"))??);
    }
    Ok(copied)
}

async fn work(route: Route, queue: Arc<Mutex<VecDeque<Task>>>) -> Result<Vec<Copied>, Failure> {
    let mut connection = join_snapshot(&route).await?;
    let mut copied = Vec::new();
    let mut storing: JoinSet<Result<Copied, Failure>> = JoinSet::new();
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(task) = next() {
        let what = task.what.clone();
        let (upload, finish) = copy(&route, &mut connection, task).await.context(format!("copy {what}"))?;
        if upload.size_bytes() > BACKGROUND_BYTES_MAX {
            copied.push(finish.finish(upload).await?);
            continue;
        }
        while storing.len() >= BACKGROUND_STORES_MAX {
            copied.extend(take(storing.join_next().await)?);
        }
        storing.spawn(finish.finish(upload));
    }
    while !storing.is_empty() {
        copied.extend(take(storing.join_next().await)?);
    }
    sqlx::query("COMMIT").execute(&mut connection).await.context_sql("end the transaction of a copying session")?;
    let _ = sqlx::Connection::close(connection).await;
    Ok(copied)
}

fn take(stored: Option<Result<Result<Copied, Failure>, tokio::task::JoinError>>) -> Result<Option<Copied>, Failure> {
    stored.map(|stored| stored.map_err(|error| Failure::from_error(FailureKind::Panic, &error).context("store an object"))?).transpose()
}

/// A session in a transaction that sees the snapshot.
async fn join_snapshot(route: &Route) -> Result<Connection, Failure> {
    let mut connection = route.access.connect(&route.archive.database, &route.application_name).await?;
    session::prepare(&mut connection, route.limits).await?;
    sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut connection).await.context_sql("begin")?;
    // The id is the server's own.
    sqlx::raw_sql(AssertSqlSafe(format!("SET TRANSACTION SNAPSHOT '{}'", route.snapshot)))
        .execute(&mut connection)
        .await
        .context_sql("import the snapshot")?;
    Ok(connection)
}

/// What is left to do when all rows are read.
struct Finish {
    task: Task,
    content: Content,
    in_root_order: Content,
    text_bytes: u64,
    name: String,
}

impl Finish {
    async fn finish(self, upload: Upload) -> Result<Copied, Failure> {
        let stored = upload.finish().await?;
        let object = Object { name: self.name, size_bytes: stored.size_bytes, sha256: stored.sha256, version_id: stored.version_id };
        Ok(Copied {
            oid: self.task.oid,
            file: self.task.file,
            content: self.content,
            in_root_order: self.in_root_order,
            text_bytes: self.text_bytes,
            object,
        })
    }
}

/// Reads one task's rows into an upload that is complete but for its end.
async fn copy(route: &Route, connection: &mut Connection, task: Task) -> Result<(Upload, Finish), Failure> {
    let name = format!("{}.dat{}", task.file, route.compression.suffix());
    let mut compressing = Compressing::begin(route.compression, Upload::new(&route.store, route.archive.object(&name)));
    let (mut content, mut in_root_order, mut block) = (Content::default(), Content::default(), Vec::new());
    let mut rows = connection.copy_out_raw(&task.copy_sql).await.context_sql("begin")?;
    while let Some(message) = rows.try_next().await.context_sql("read rows")? {
        let row = row_without_newline(&message)?;
        content.add_row(row);
        if let Some(order) = &task.root_order {
            in_root_order.add_row_in_order(row, order);
        }
        block.extend_from_slice(&message);
        if block.len() >= BLOCK_BYTES {
            block = compressing.add(block).await?;
        }
    }
    drop(rows);
    block.extend_from_slice(END_OF_DATA);
    let (upload, text_bytes) = compressing.finish(block).await?;
    Ok((upload, Finish { task, content, in_root_order, text_bytes, name }))
}

/// The way of an object's text into its upload, block by block. While one is compressed by another thread the connection fills the next; the server
/// would stand still otherwise, as soon as the buffers of the network are full.
struct Compressing {
    upload: Upload,
    text_bytes: u64,
    /// What is being compressed, or was.
    last: JoinHandle<io::Result<(Compressor, Vec<u8>)>>,
}

impl Compressing {
    fn begin(compression: Compression, upload: Upload) -> Self {
        Self { upload, text_bytes: 0, last: spawn_blocking(move || Ok((Compressor::new(compression)?, Vec::new()))) }
    }

    /// Begins to compress a block. Gives the one before, emptied, to be filled again.
    async fn add(&mut self, block: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let (mut compressor, before) = self.end_last().await?;
        self.text_bytes += block.len() as u64;
        self.last = spawn_blocking(move || compressor.write_all(&block).map(|()| (compressor, block)));
        Ok(before)
    }

    /// Compresses the last block. Gives the upload, to be finished, and the bytes of the text.
    async fn finish(mut self, block: Vec<u8>) -> Result<(Upload, u64), Failure> {
        self.add(block).await?;
        let (compressor, _) = self.end_last().await?;
        self.upload.write(&mut compressor.finish().context("compress")?).await?;
        Ok((self.upload, self.text_bytes))
    }

    async fn end_last(&mut self) -> Result<(Compressor, Vec<u8>), Failure> {
        let ended = (&mut self.last).await.map_err(|error| Failure::from_error(FailureKind::Panic, &error).context("compress"))?;
        let (mut compressor, mut block) = ended.context("compress")?;
        self.upload.write(compressor.output()).await?;
        block.clear();
        // One huge row must not make every block as huge for the rest of the table.
        block.shrink_to(2 * BLOCK_BYTES);
        Ok((compressor, block))
    }
}
