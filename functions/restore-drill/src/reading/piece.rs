//! One window of one table: read in a session of its own, counted, digested, and forgotten.

use std::time::Duration;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use shared::digest::Content;
use shared_postgres::Connection;
use shared_postgres::route::Route;
use shared_postgres::rows::row_without_newline;
use shared_postgres::trouble::{Trouble, sort};
use shared_postgres::windows::Span;
use tokio::time::{Instant, timeout_at};

/// What a window came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// How many, and their digest.
    #[serde(flatten)]
    pub content: Content,
    /// Bytes of the text.
    pub bytes: u64,
}

/// A window that was tried.
pub struct Ended {
    /// Which table: its place in the list.
    pub table: usize,
    /// Which pages.
    pub span: Span,
    /// The rows, or why not.
    pub result: Result<Rows, Trouble>,
    /// How long it took.
    pub time: Duration,
    /// The session, if it can go on: after an error sqlx's COPY is out of step.
    pub connection: Option<Connection>,
}

/// Reads a window until it is done or the time is over; then the session is dropped, and with it the server's work.
pub async fn read(route: Route, connection: Option<Connection>, table: usize, span: Span, sql: String, until: Instant) -> Ended {
    let begun = Instant::now();
    let work = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => route.connect().await?,
        };
        let rows = copy(&mut connection, &sql).await?;
        Ok((rows, connection))
    };
    let (result, connection) = match timeout_at(until, work).await {
        Ok(Ok((rows, connection))) => (Ok(rows), Some(connection)),
        Ok(Err(trouble)) => (Err(trouble), None),
        Err(_) => (Err(Trouble::Unfinished), None),
    };
    Ended { table, span, result, time: begun.elapsed(), connection }
}

async fn copy(connection: &mut Connection, sql: &str) -> Result<Rows, Trouble> {
    let mut rows = Rows::default();
    let mut stream = connection.copy_out_raw(sql).await.map_err(|error| sort(&error))?;
    while let Some(message) = stream.try_next().await.map_err(|error| sort(&error))? {
        rows.content.add_row(row_without_newline(&message).map_err(Trouble::Lost)?);
        rows.bytes += message.len() as u64;
    }
    Ok(rows)
}
