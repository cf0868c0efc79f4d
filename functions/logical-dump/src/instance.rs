//! One run at a time on an instance: the lock, what an earlier run left behind, and the sessions of this one.

use std::time::Duration;

use shared::failure::{Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::session::{self, Limits};
use shared_postgres::{Access, Connection, ContextSql};
use sqlx::Row;

/// Key of the advisory lock: "LIFE", "DUMP". Advisory locks belong to a database, so it is always taken in the one that the URL names.
const LOCK: (i32, i32) = (0x4C49_4645, 0x4455_4D50);

/// Every session of every run has a name that begins so. The oid of the lock's database follows: whoever locks elsewhere is none of our business.
const APPLICATION: &str = "lifeboat logical-dump";

/// The instance, locked for this run.
pub struct Instance {
    /// Session that holds the lock; free for questions.
    pub control: Connection,
    /// Name of all sessions of this run.
    pub application_name: String,
    /// What the names of all runs under the same lock begin with.
    application_prefix: String,
    /// `server_version_num` / 10000.
    pub server_major: u32,
    /// Earlier runs' sessions that were ended.
    pub findings: Vec<Finding>,
}

impl Instance {
    /// Connects and takes the lock. `None` when another run holds it.
    ///
    /// # Errors
    /// When the server cannot be reached, or is a standby: a snapshot that a standby exports can be wrong when subtransactions overflow.
    pub async fn open(access: &Access, run_id: &str) -> Result<Option<Self>, Failure> {
        let mut control = access.connect(&access.database, APPLICATION).await?;
        let server_major = session::server_major(&mut control).await?;
        session::prepare(&mut control, Limits { lock_wait_ms: 10_000, server_major }).await?;
        let standby: bool = sqlx::query_scalar("SELECT pg_catalog.pg_is_in_recovery()")
            .fetch_one(&mut control)
            .await
            .context_sql("ask whether the server is a standby")?;
        if standby {
            return Err(Failure::new(FailureKind::BadSettings, "the server is a read replica")
                .hint("name the writer in the database URL: a snapshot exported on a replica is not safe"));
        }
        let locked: bool = sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1, $2)")
            .bind(LOCK.0)
            .bind(LOCK.1)
            .fetch_one(&mut control)
            .await
            .context_sql("take the lock of the instance")?;
        let domain: i64 = sqlx::query_scalar("SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database()")
            .fetch_one(&mut control)
            .await
            .context_sql("ask for the database of the lock")?;
        let application_prefix = format!("{APPLICATION} {domain} ");
        let application_name = format!("{application_prefix}{run_id}");
        let mut instance = Self { control, application_name, application_prefix, server_major, findings: Vec::new() };
        if !locked {
            instance.close().await;
            return Ok(None);
        }
        sqlx::query("SELECT pg_catalog.set_config('application_name', $1, false)")
            .bind(&instance.application_name)
            .execute(&mut instance.control)
            .await
            .context_sql("name the session")?;
        instance.end_leftovers().await?;
        Ok(Some(instance))
    }

    /// We hold the lock, so a session of any other run is the leftover of one that was killed.
    async fn end_leftovers(&mut self) -> Result<(), Failure> {
        let ended: i64 = sqlx::query_scalar(
            "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
              WHERE starts_with(application_name, $1) AND application_name <> $2 AND usename = current_user",
        )
        .bind(&self.application_prefix)
        .bind(&self.application_name)
        .fetch_one(&mut self.control)
        .await
        .context_sql("end the sessions of an earlier run")?;
        if ended > 0 {
            self.findings.push(Finding::new(
                FindingKind::LeftoversRemoved,
                "sessions",
                format!("{ended} sessions of an earlier run that was killed were ended"),
            ));
        }
        Ok(())
    }

    /// Returns when a session of production has waited behind a lock of this run for longer than it should.
    pub async fn give_way(control: &mut Connection, application_name: &str, patience: Duration) -> Failure {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let waiting = sqlx::query(
                "SELECT waiting.pid, waiting.mode, extract(epoch FROM clock_timestamp() - waiting.waitstart)::float8
                   FROM pg_catalog.pg_locks waiting
                  WHERE NOT waiting.granted AND waiting.waitstart < clock_timestamp() - make_interval(secs => $1)
                    AND EXISTS (SELECT FROM unnest(pg_catalog.pg_blocking_pids(waiting.pid)) blocker(pid)
                                  JOIN pg_catalog.pg_stat_activity ours USING (pid)
                                 WHERE ours.application_name = $2 AND ours.pid <> waiting.pid)
                  LIMIT 1",
            )
            .bind(patience.as_secs_f64())
            .bind(application_name)
            .fetch_optional(&mut *control)
            .await;
            match waiting {
                Ok(None) => {}
                Ok(Some(row)) => {
                    let (pid, mode, seconds) = (row.get::<i32, _>(0), row.get::<String, _>(1), row.get::<f64, _>(2));
                    return Failure::new(
                        FailureKind::GaveWay,
                        format!("session {pid} waited {seconds:.1} s for {mode} behind a lock of this dump, so the dump gave way"),
                    )
                    .hint("run migrations and dumps at different times, or raise GIVE_WAY_SECONDS; the dump is tried again");
                }
                // The lock of the instance is gone with this session, so the run must end.
                Err(error) => return shared_postgres::error::failure(&error).context("watch for sessions that wait behind us"),
            }
        }
    }

    /// Ends every other session of this run: after a failure they may be in the middle of something.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn end_own_sessions(&mut self) -> Result<(), Failure> {
        sqlx::query("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE application_name = $1 AND pid <> pg_catalog.pg_backend_pid()")
            .bind(&self.application_name)
            .execute(&mut self.control)
            .await
            .context_sql("end the sessions of this run")?;
        Ok(())
    }

    /// Gives the lock back.
    pub async fn close(self) {
        // The server ends the session, and with it the lock, also when this farewell is lost.
        let _ = sqlx::Connection::close(self.control).await;
    }
}
