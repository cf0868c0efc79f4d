//! One statement of amcheck in a session, that gives way: as soon as somebody waits for a lock because of it, it is cancelled.
//!
//! amcheck takes no more than what any reader takes. But it may read for minutes, and so long would an ALTER TABLE wait, and everybody behind that.

use std::time::Duration;

use shared_postgres::Connection;
use shared_postgres::trouble::{Trouble, sort};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, Row};
use tokio::time::{Instant, sleep, timeout_at};

use crate::session::Sessions;

/// Between two looks at who waits.
const LOOK: Duration = Duration::from_millis(250);
/// How much later than we the server may end a statement.
const LATE: Duration = Duration::from_secs(5);

const WAITS: &str = "
SELECT pg_cancel_backend($1) FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks h ON h.relation = w.relation AND h.database = w.database
 WHERE w.locktype = 'relation' AND h.locktype = 'relation' AND NOT w.granted AND h.granted AND h.pid = $1 AND w.pid <> $1 AND w.mode = 'AccessExclusiveLock' LIMIT 1";

/// The two sessions: one that works, one that watches over it once it takes longer.
pub(super) struct Pair<'a> {
    sessions: &'a Sessions,
    worker: Option<(Connection, i32)>,
    /// What its statements may take at most, as it was told.
    limit: Option<Duration>,
    watcher: Option<Connection>,
}

/// Why a statement gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Somebody waited, or held a lock.
    GaveWay,
    /// What the server says.
    Because(Trouble),
}

impl<'a> Pair<'a> {
    pub(super) fn new(sessions: &'a Sessions) -> Self {
        Self { sessions, worker: None, limit: None, watcher: None }
    }

    /// The working session; a new one, if the last was lost.
    pub(super) async fn worker(&mut self) -> Result<&mut Connection, Trouble> {
        if self.worker.is_none() {
            let (mut connection, _) = self.sessions.connect("amcheck").await.map_err(Trouble::Lost)?;
            let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.map_err(|error| sort(&error))?;
            self.worker = Some((connection, pid));
        }
        self.worker.as_mut().map(|(connection, _)| connection).ok_or(Trouble::Unfinished)
    }

    /// Says good-bye.
    pub(super) async fn close(self) {
        for connection in self.worker.map(|(connection, _)| connection).into_iter().chain(self.watcher) {
            let _ = connection.close().await;
        }
    }

    /// Runs a statement until it ends, somebody waits for it, or the time is over; the server ends it then too.
    pub(super) async fn run(&mut self, sql: &str, until: Instant) -> Result<Vec<PgRow>, Stopped> {
        let left = until.saturating_duration_since(Instant::now());
        let ended = timeout_at(until, async {
            let limit = self.limit;
            let worker = self.worker().await?;
            // As there may be thousands of small ones, a limit that is a little too late is left as it is: we leave in time anyway.
            if limit.is_none_or(|limit| limit > left + LATE) {
                let set = format!("SET statement_timeout = {}", (left.as_millis() + 500).min(i32::MAX as u128));
                sqlx::query(AssertSqlSafe(set)).execute(worker).await.map_err(|error| sort(&error))?;
                self.limit = Some(left);
            }
            Ok(self.watched(sql).await)
        });
        let result = match ended.await {
            Ok(Ok(result)) => result,
            Ok(Err(trouble)) => Err(Stopped::Because(trouble)),
            // The statement goes on in a session that nobody reads: the server ends it.
            Err(_) => {
                (self.worker, self.limit) = (None, None);
                Err(Stopped::Because(Trouble::Unfinished))
            }
        };
        if matches!(&result, Err(Stopped::Because(Trouble::Lost(_)))) {
            (self.worker, self.limit) = (None, None);
        }
        result
    }

    async fn watched(&mut self, sql: &str) -> Result<Vec<PgRow>, Stopped> {
        let Some((worker, pid)) = &mut self.worker else { return Err(Stopped::Because(Trouble::Unfinished)) };
        let work = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(worker);
        tokio::pin!(work);
        let mut gave_way = false;
        loop {
            tokio::select! {
                rows = &mut work => return rows.map_err(|error| match sqlstate(&error).as_deref() {
                    // Somebody holds a lock: lock_not_available.
                    Some("55P03") => Stopped::GaveWay,
                    Some("57014") if gave_way => Stopped::GaveWay,
                    // serialization_failure: on a replica, what the primary removed; or an index too new for our snapshot. Another time.
                    Some("40001") => Stopped::Because(Trouble::Unfinished),
                    _ => Stopped::Because(sort(&error)),
                }),
                () = sleep(LOOK) => {}
            }
            if self.watcher.is_none() {
                self.watcher = self.sessions.connect("watch").await.ok().map(|(connection, _)| connection);
            }
            // Without a watcher nobody could be let through: then the statement's own time is its only limit.
            let Some(watcher) = &mut self.watcher else { continue };
            match sqlx::query(WAITS).bind(*pid).fetch_optional(&mut *watcher).await {
                Ok(row) => gave_way |= row.is_some_and(|row| row.get(0)),
                Err(_) => self.watcher = None,
            }
        }
    }
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    shared_postgres::error::sqlstate(error)
}
