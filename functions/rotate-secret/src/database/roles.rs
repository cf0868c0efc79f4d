//! Roles as they are: what they may, what their mark says, what *we* may do with them, and who is connected as them. And the one way to end sessions.
//!
//! Stored passwords are never looked at: RDS shows them to nobody, and a login says more.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::failure::{Failure, FailureKind};
use sqlx::Row;
use tokio::time::Instant;

use crate::database::server::Server;
use crate::identity::{self, Mark};

/// Groups of sessions that are told of one role.
const GROUPS_MAX: i64 = 50;
/// How long sessions that were told to end may take.
const END_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "PostgreSQL's attributes are")]
pub struct RoleSeen {
    /// Its name.
    pub name: String,
    /// Whether there is one; the rest says nothing if not.
    pub exists: bool,
    /// LOGIN.
    pub can_login: bool,
    /// Until when its password is good; `None`: for ever.
    pub valid_until: Option<DateTime<Utc>>,
    /// How many sessions it may have; -1: any number.
    pub connection_limit: i32,
    /// SUPERUSER, or a member of `rds_superuser`: the master user of an instance, whose password is RDS's.
    pub is_master: bool,
    /// SUPERUSER.
    pub superuser: bool,
    /// REPLICATION.
    pub replication: bool,
    /// BYPASSRLS.
    pub bypass_rls: bool,
    /// Its whole comment.
    pub comment: Option<String>,
    /// The mark in the comment.
    pub mark: Option<Mark>,
    /// What keeps us from changing its password and its comment.
    pub missing: Vec<Missing>,
    /// Whether it is a member of `rds_iam`: then RDS takes no password from it.
    pub is_iam: bool,
    /// Who is connected as it.
    pub sessions: Vec<SessionsSeen>,
}

impl RoleSeen {
    /// Sessions of the role, all together.
    pub fn session_count(&self) -> i64 {
        self.sessions.iter().map(|sessions| sessions.count).sum()
    }
}

/// What the rotator lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// CREATEROLE.
    CreateRole,
    /// ADMIN OPTION on the role (PostgreSQL 16 and newer).
    AdminOption,
    /// Membership in `rds_password`, where `rds.restrict_password_commands` is on.
    RdsPassword,
    /// To be a superuser: the role has an attribute that only a superuser may touch.
    Superuser,
}

/// Sessions of one program at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionsSeen {
    /// `application_name`.
    pub application_name: String,
    /// Address of the client, where it may be seen.
    pub client_address: Option<String>,
    /// How many.
    pub count: i64,
}

/// What came of ending sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Sessions that were told to end.
    pub ended: usize,
    /// Sessions that were still there when time was over.
    pub left: usize,
}

const ROLES: &str = "
    WITH us AS (SELECT r.* FROM pg_roles r WHERE r.rolname = current_user),
         rds AS (SELECT (SELECT oid FROM pg_roles WHERE rolname = 'rds_superuser') AS superuser, (SELECT oid FROM pg_roles WHERE rolname = 'rds_password') AS password,
                        (SELECT oid FROM pg_roles WHERE rolname = 'rds_iam') AS iam,
                        coalesce(current_setting('rds.restrict_password_commands', true), '') IN ('on', '1', 'true', 'yes') AS restricted),
         version AS (SELECT current_setting('server_version_num')::int / 10000 AS major)
    SELECT wanted.name, r.oid IS NOT NULL,
           coalesce(r.rolcanlogin, false), CASE WHEN isfinite(r.rolvaliduntil) THEN extract(epoch FROM r.rolvaliduntil)::int8 END, coalesce(r.rolconnlimit, -1),
           coalesce(r.rolsuper OR pg_has_role(r.oid, rds.superuser, 'MEMBER'), false),
           coalesce(r.rolsuper, false), coalesce(r.rolreplication, false), coalesce(r.rolbypassrls, false),
           shobj_description(r.oid, 'pg_authid'), NOT us.rolsuper AND NOT us.rolcreaterole,
           NOT us.rolsuper AND major >= 16 AND NOT coalesce(pg_has_role(us.oid, r.oid, 'MEMBER WITH ADMIN OPTION'), true),
           NOT us.rolsuper AND rds.restricted AND NOT coalesce(pg_has_role(us.oid, rds.password, 'MEMBER'), true),
           NOT us.rolsuper AND coalesce(r.rolsuper OR (major < 16 AND r.rolreplication), false),
           coalesce(NOT r.rolsuper AND pg_has_role(r.oid, rds.iam, 'MEMBER'), false)
      FROM unnest($1::text[]) WITH ORDINALITY AS wanted (name, place) CROSS JOIN us CROSS JOIN rds CROSS JOIN version
      LEFT JOIN pg_roles r ON r.rolname = wanted.name
     ORDER BY place";

impl Server {
    /// Looks at roles, in the order of the names.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn roles(&mut self, names: &[&str]) -> Result<Vec<RoleSeen>, Failure> {
        let query = sqlx::query(ROLES).bind(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let rows = self.rows("look at roles", query).await?;
        let mut roles = Vec::new();
        for row in rows {
            let comment: Option<String> = row.get(9);
            let missing = [(10, Missing::CreateRole), (11, Missing::AdminOption), (12, Missing::RdsPassword), (13, Missing::Superuser)];
            let exists = row.get(1);
            let name: String = row.get(0);
            roles.push(RoleSeen {
                exists,
                can_login: row.get(2),
                valid_until: row.get::<Option<i64>, _>(3).and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
                connection_limit: row.get(4),
                is_master: row.get(5),
                superuser: row.get(6),
                replication: row.get(7),
                bypass_rls: row.get(8),
                mark: comment.as_deref().and_then(identity::mark),
                comment,
                missing: missing.into_iter().filter(|(column, _)| exists && row.get(*column)).map(|(_, missing)| missing).collect(),
                is_iam: row.get(14),
                sessions: if exists { self.sessions(&name, None).await? } else { Vec::new() },
                name,
            });
        }
        Ok(roles)
    }

    /// Who is connected as a role, the many first; only sessions that began before a time, where one is given. Of a standby, ask there.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn sessions(&mut self, role: &str, before: Option<DateTime<Utc>>) -> Result<Vec<SessionsSeen>, Failure> {
        // `usename` stands there for everybody; the rest for members of pg_monitor and of the role. When a session began may be hidden: then it counts.
        let sql = "SELECT coalesce(application_name, ''), host(client_addr), count(*) FROM pg_stat_activity
                    WHERE usename = $1 AND pid <> pg_backend_pid() AND coalesce(backend_start < to_timestamp($2), true)
                    GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT $3";
        let rows = self.rows("look for sessions", sqlx::query(sql).bind(role).bind(before.map(seconds)).bind(GROUPS_MAX)).await?;
        Ok(rows.into_iter().map(|row| SessionsSeen { application_name: row.get(0), client_address: row.get(1), count: row.get(2) }).collect())
    }

    /// Ends the sessions of a role until there are none; only those that began before a time, where one is given. Of a role that may still log in, new ones come.
    ///
    /// # Errors
    /// When we may not: the hint has the GRANT.
    pub async fn end_sessions(&mut self, role: &str, before: Option<DateTime<Utc>>) -> Result<Ended, Failure> {
        let begun = Instant::now();
        let mut told: BTreeSet<(i32, i64)> = BTreeSet::new();
        loop {
            // With the time at which it began, for process ids come again.
            let sql = "SELECT pid, coalesce((extract(epoch FROM backend_start) * 1000000)::int8, 0), pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE usename = $1 AND pid <> pg_backend_pid() AND coalesce(backend_start < to_timestamp($2), true)";
            let rows = self.rows(&format!("end the sessions of {role:?}"), sqlx::query(sql).bind(role).bind(before.map(seconds))).await;
            let rows = rows.map_err(|failure| {
                let denied = failure.kind == FailureKind::Denied;
                if denied {
                    failure.hint("GRANT pg_signal_backend TO the rotator; a superuser's sessions are ended by superusers only")
                } else {
                    failure
                }
            })?;
            told.extend(rows.iter().map(|row| (row.get::<i32, _>(0), row.get::<i64, _>(1))));
            if rows.is_empty() || begun.elapsed() > END_MAX {
                return Ok(Ended { ended: told.len(), left: rows.len() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Who the server takes us for.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn us(&mut self) -> Result<String, Failure> {
        Ok(self.row("ask who we are", sqlx::query("SELECT current_user::text")).await?.get(0))
    }
}

/// As PostgreSQL's `to_timestamp` takes it.
#[expect(clippy::cast_precision_loss, reason = "a double holds the microseconds of this age")]
fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}

/// A name that PostgreSQL would cut, and so take for another.
///
/// # Errors
/// When it is too long, or empty.
pub fn check_name(role: &str) -> Result<(), Failure> {
    if role.is_empty() || role.len() > NAME_BYTES_MAX || role.contains('\0') {
        return Err(Failure::new(FailureKind::BadSettings, format!("{role:?} has {} bytes: a role's name has 1 to {NAME_BYTES_MAX}", role.len())));
    }
    Ok(())
}

/// `NAMEDATALEN` - 1.
const NAME_BYTES_MAX: usize = 63;
