//! The one writer of a secret: a session that holds a lock of the database, and says until when the invocation that holds it can be alive.
//!
//! A function that is killed or frozen may leave its backend behind, with a change in the middle or a commit whose answer nobody reads. Whoever comes next ends
//! that backend and takes the lock: PostgreSQL gives the lock up last, so that then nothing of the other can happen any more. Only under the lock is a mark
//! believed. Never goes through a pooler: a lock of the session would be anybody's.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use shared::failure::{Failure, FailureKind};
use shared_postgres::Access;
use sqlx::Row;
use tokio::time::Instant;

use crate::database::server::Server;

/// First half of the lock's key: "LROT". The second is the secret's.
const LOCK: i32 = 0x4C52_4F54;
/// Every session of ours has a name that begins so.
const APPLICATION: &str = "lifeboat rotate-secret";
/// PostgreSQL cuts `application_name` here.
const NAME_BYTES_MAX: usize = 63;
/// Characters of an invocation's id in the name.
const INVOCATION_CHARS: usize = 8;
/// How long somebody who can be alive is waited for: a backend of a killed process goes away by itself.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How long a backend that was told to end may take.
const END_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// The server's clock and ours may differ by this much.
const CLOCKS_SECONDS: i64 = 5;

/// Which invocation holds the lock, and until when it can be alive at the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its short id; no two invocations may have the same. A session of the same invocation is taken for one that it lost, and ended.
    pub invocation: String,
    /// Its deadline.
    pub alive_until: DateTime<Utc>,
}

/// What came of trying to take the lock.
pub enum Taken {
    /// It is ours.
    Ours(Session),
    /// Somebody else is at it.
    Busy {
        /// Who.
        who: String,
        /// Until when at the latest, where it is one of ours.
        until: Option<DateTime<Utc>>,
    },
}

/// A session that holds the lock of a secret.
pub struct Session {
    server: Server,
    lock: i32,
}

/// The name of a session: whose it is, in what PostgreSQL shows to everybody. ASCII, for the server replaces anything else.
fn application_name(secret: &str, holder: &Holder) -> String {
    let invocation = short(&holder.invocation, INVOCATION_CHARS);
    let head = format!("{APPLICATION} {} {invocation} ", holder.alive_until.timestamp());
    format!("{head}{}", short(secret, NAME_BYTES_MAX.saturating_sub(head.len())))
}

/// At most so many characters, and none but harmless ones. What is changed or cut gets a piece of its hash, so that two names stay two.
fn short(text: &str, chars_max: usize) -> String {
    let harmless: String = text.chars().map(|char| if char.is_ascii_alphanumeric() || "-_./".contains(char) { char } else { '_' }).collect();
    if harmless == text && text.len() <= chars_max {
        return harmless;
    }
    let hash = Sha256::digest(text.as_bytes());
    let hash = format!("{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2]);
    let kept: String = harmless.chars().take(chars_max.saturating_sub(hash.len() + 1)).collect();
    format!("{kept}~{hash}").chars().take(chars_max).collect()
}

/// What the name of a session says of its holder. `None`: it is none of ours.
fn holder(application_name: &str) -> Option<(DateTime<Utc>, String)> {
    let mut words = application_name.strip_prefix(APPLICATION)?.strip_prefix(' ')?.split(' ');
    let until = DateTime::from_timestamp(words.next()?.parse().ok()?, 0)?;
    let invocation = words.next()?.to_owned();
    words.next().map(|_| (until, invocation))
}

/// Second half of the lock's key. Two secrets with the same exclude one another, no more.
fn lock_key(secret: &str) -> i32 {
    let hash = Sha256::digest(secret.as_bytes());
    i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Who has the lock.
struct Found {
    pid: i32,
    name: Option<String>,
    user: Option<String>,
    same_role: bool,
    server_now: i64,
}

impl Session {
    /// Connects to the rotator's database and takes the lock of a secret; ends whoever holds it and cannot be alive any more.
    ///
    /// # Errors
    /// When the server cannot be reached, is a standby, or refuses to end a session.
    pub async fn take(access: &Access, secret: &str, holder: &Holder) -> Result<Taken, Failure> {
        let attempted = || format!("take the lock of {secret:?}");
        let server = Server::connect(access, &access.database, &application_name(secret, holder)).await?;
        let mut session = Self { server, lock: lock_key(secret) };
        session.prepare(holder).await.map_err(|failure| failure.context(attempted()))?;
        match session.wait_for_lock(holder).await {
            Ok(None) => Ok(Taken::Ours(session)),
            Ok(Some((who, until))) => {
                session.close().await;
                Ok(Taken::Busy { who, until })
            }
            Err(failure) => Err(failure.context(attempted())),
        }
    }

    /// The server's version and role are as they must be; an idle session of a frozen function ends by itself when the function cannot be alive.
    async fn prepare(&mut self, holder: &Holder) -> Result<(), Failure> {
        let sql = "SELECT pg_catalog.pg_is_in_recovery(),
                          pg_catalog.set_config('idle_session_timeout', greatest(10, $1 + $2 - extract(epoch FROM clock_timestamp()))::int || 's', false)";
        let query = sqlx::query(sql).bind(holder.alive_until.timestamp()).bind(CLOCKS_SECONDS);
        let row = self.server.row("prepare the session", query).await?;
        if row.get::<bool, _>(0) {
            return Err(Failure::new(FailureKind::BadSettings, "the server is a standby: no password can be changed on it")
                .hint("name the writer in the rotator's database URL"));
        }
        Ok(())
    }

    /// `None` when the lock is ours.
    async fn wait_for_lock(&mut self, us: &Holder) -> Result<Option<(String, Option<DateTime<Utc>>)>, Failure> {
        let begun = Instant::now();
        let mut told_to_end = false;
        loop {
            let query = sqlx::query("SELECT pg_catalog.pg_try_advisory_lock($1, $2)").bind(LOCK).bind(self.lock);
            if self.server.row("try the lock", query).await?.get(0) {
                return Ok(None);
            }
            // It may have been given back in between.
            let Some(found) = self.find_holder().await? else { continue };
            let named = found.name.as_deref().and_then(holder);
            let (who, until) = (found.describe(), named.as_ref().map(|(until, _)| *until));
            let is_dead = named.is_some_and(|(until, invocation)| {
                found.server_now > until.timestamp() + CLOCKS_SECONDS || invocation == short(&us.invocation, INVOCATION_CHARS)
            });
            if is_dead && found.same_role {
                self.end(&found).await?;
                told_to_end = true;
            }
            if begun.elapsed() > if told_to_end { END_MAX } else { WAIT_MAX } {
                return Ok(Some((who, until)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn find_holder(&mut self) -> Result<Option<Found>, Failure> {
        // `usename` stands there for everybody, the name of the session for those with the same role, and for pg_monitor.
        let sql = "SELECT a.pid, a.application_name, a.usename::text, a.usename = session_user, extract(epoch FROM clock_timestamp())::int8
                     FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
                    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = $1::int4::oid AND l.objid = $2::int4::oid
                      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())";
        let query = sqlx::query(sql).bind(LOCK).bind(self.lock);
        let row = self.server.rows("look who has the lock", query).await?.into_iter().next();
        Ok(row.map(|row| Found {
            pid: row.get(0),
            name: row.get(1),
            user: row.get(2),
            same_role: row.get::<Option<bool>, _>(3).unwrap_or_default(),
            server_now: row.get(4),
        }))
    }

    /// Ends that backend if it still is that session: process ids come again.
    async fn end(&mut self, found: &Found) -> Result<(), Failure> {
        let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2 AND usename = session_user";
        let query = sqlx::query(sql).bind(found.pid).bind(found.name.clone());
        self.server.rows("end the session of an invocation that is over", query).await?;
        Ok(())
    }

    /// Fails when the lock is not ours any more: the session was ended.
    ///
    /// # Errors
    /// Then nothing may be done for this secret before the lock is taken again.
    pub async fn still_ours(&mut self) -> Result<(), Failure> {
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'advisory' AND granted AND objsubid = 2
                                     AND classid = $1::int4::oid AND objid = $2::int4::oid)";
        let query = sqlx::query(sql).bind(LOCK).bind(self.lock);
        if self.server.row("look whether the lock is ours", query).await?.get(0) {
            return Ok(());
        }
        Err(Failure::new(FailureKind::BadSettings, "the lock is not ours any more, though the session is there")
            .hint("the rotator's database URL must name the server itself: a pooler gives one session to many"))
    }

    /// For questions and changes.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Gives the lock back.
    pub async fn close(self) {
        self.server.close().await;
    }
}

impl Found {
    fn describe(&self) -> String {
        let name = self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("(a session whose name may not be seen)");
        format!("{name} of {}, process {}", self.user.as_deref().unwrap_or("(no role)"), self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn a_name_says_who_and_until_when_and_fits() {
        for secret in ["shop", "", "a/long/name-of.a_secret/that/does/not/fit", "käse 🧀", "with space"] {
            for invocation in ["0badcafe", "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"] {
                let name = application_name(secret, &Holder { invocation: invocation.to_owned(), alive_until: at(1_795_000_000) });
                assert!(name.len() <= NAME_BYTES_MAX && name.is_ascii(), "{name}");
                assert_eq!(holder(&name), Some((at(1_795_000_000), short(invocation, INVOCATION_CHARS))), "{name}");
            }
        }
    }

    #[test]
    fn cut_names_stay_different() {
        let long = "x".repeat(60);
        assert_ne!(short(&format!("{long}1"), 20), short(&format!("{long}2"), 20));
        assert_ne!(short("a b", 20), short("a_b", 20));
        assert_eq!(short("c6af9ac6-7b61", INVOCATION_CHARS).len(), INVOCATION_CHARS);
    }

    #[test]
    fn a_stranger_is_not_taken_for_one_of_ours() {
        for name in
            ["", "psql", "lifeboat rotate-secret", "lifeboat rotate-secret soon a b", "lifeboat rotate-secret 12", "lifeboat logical-dump 12 a b"]
        {
            assert_eq!(holder(name), None, "{name}");
        }
    }
}
