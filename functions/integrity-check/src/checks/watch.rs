//! Nobody waits behind a check: while a statement runs, a second session looks whether anybody waits for a lock of the first, and then ends the statement.
//!
//! A window of a scan is over within a second; a query of the team's may take minutes, and a migration that waits for it keeps everybody else waiting.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use shared_postgres::Connection;
use tokio::time::{sleep, timeout};

use crate::session::Sessions;

/// Before the first look, and between two. A statement that is over sooner needs no second session.
const PAUSE: Duration = Duration::from_millis(300);
/// A look takes milliseconds; one that takes longer says nothing.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// Ends what a session runs, if anybody waits for it.
const END_IF_IN_THE_WAY: &str = "
SELECT coalesce(bool_or(pg_catalog.pg_cancel_backend($1)), false)
  FROM (SELECT FROM pg_catalog.pg_locks w WHERE NOT w.granted AND w.pid <> $1 AND $1 = ANY (pg_catalog.pg_blocking_pids(w.pid)) LIMIT 1) AS waiting";

/// Does something in the session of a backend, and says whether it was told to end. `second` is the session that looks, made when it is needed.
pub(super) async fn over<T>(second: &mut Option<Connection>, sessions: &Sessions, backend: i32, work: impl Future<Output = T>) -> (T, bool) {
    let mut work = pin!(work);
    let mut was_told = false;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return (done, was_told),
            () = sleep(PAUSE) => {}
        }
        // A look that fails ends nothing: the time limits of the statement hold anyway.
        match timeout(LOOK_MAX, look(second, sessions, backend)).await {
            Ok(Some(told)) => was_told |= told,
            _ => *second = None,
        }
    }
}

async fn look(second: &mut Option<Connection>, sessions: &Sessions, backend: i32) -> Option<bool> {
    if second.is_none() {
        *second = Some(sessions.connect("watch").await.ok()?.0);
    }
    sqlx::query_scalar(END_IF_IN_THE_WAY).bind(backend).fetch_one(second.as_mut()?).await.ok()
}
