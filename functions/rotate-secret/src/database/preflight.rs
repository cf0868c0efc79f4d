//! The dry run's part that is about PostgreSQL: everything that would keep a rotation from its end, each with what makes it go away. Only reads, and takes no
//! lock: it can be run beside a rotation.
//!
//! Each check asks what the real thing would meet, by the same rules of the server: what is predicted is what happens.

mod lag;

use std::time::Duration;

use aws_config::SdkConfig;
use shared::failure::{Failure, FailureKind};
use shared::secrets::SecretString;
use shared_postgres::Access;
use sqlx::Row;

use crate::database::access::elsewhere;
use crate::database::login::{self, Login, Place};
use crate::database::parity;
use crate::database::readers::Servers;
use crate::database::roles::{Missing, RoleSeen, check_name};
use crate::database::server::Server;
use crate::database::text::identifier;

/// The name of our sessions.
const APPLICATION: &str = "lifeboat rotate-secret dry run";

/// What a dry run is about.
pub struct Request<'a> {
    /// The rotator's access.
    pub rotator: &'a Access,
    /// One user, or a pair.
    pub users: &'a [String],
    /// The user of the live value.
    pub live_user: &'a str,
    /// The password of the live value.
    pub live_password: &'a SecretString,
    /// Whether something beyond the database knows the user by name.
    pub bound_to_user: bool,
    /// The writer and the readers, with the database of the value.
    pub servers: &'a Servers,
    /// With which tokens are signed, where the rotator logs in with tokens.
    pub tokens: Option<&'a SdkConfig>,
}

/// Something that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicted {
    /// What it is.
    pub obstacle: Obstacle,
    /// About what: a role, a server.
    pub subject: String,
    /// What was seen.
    pub seen: String,
    /// What to do: SQL where SQL does it.
    pub fix: String,
}

/// What can be in the way of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// A name is longer than PostgreSQL's names are.
    NameTooLong,
    /// The rotator's own login is refused.
    RotatorRefused,
    /// A server cannot be reached.
    Unreachable,
    /// TLS is not as it must be.
    Tls,
    /// The rotator's URL names a standby.
    RotatorOnStandby,
    /// A role does not exist.
    RoleMissing,
    /// The rotator would rotate itself.
    OwnRole,
    /// The master user of the instance: RDS rotates it.
    MasterUser,
    /// The role has an attribute that only a superuser may touch.
    Superuser,
    /// The rotator lacks CREATEROLE.
    NoCreateRole,
    /// The rotator lacks ADMIN OPTION on a role.
    NoAdminOption,
    /// The rotator lacks `rds_password`.
    NoRdsPassword,
    /// The rotator may not end sessions.
    NoSignal,
    /// The rotator does not see whose sessions there are.
    NoMonitor,
    /// A member of `rds_iam` cannot log in with a password.
    IamMember,
    /// The role has no connection left for the login that proves the credential.
    ConnectionLimit,
    /// The role may not connect to the database.
    NoConnect,
    /// The user that would get the new password is in use.
    StandbyBusy,
    /// A pair, although something beyond the database knows the user by name.
    UserBound,
    /// The live value's credential does not work.
    LiveRefused,
    /// The live value names none of the users.
    LiveForeign,
    /// A reader does not have what the writer has.
    ReaderLagging,
    /// A server that is not asked.
    Unchecked,
    /// The other user of the pair lacks something that the live one has.
    Parity,
}

impl Obstacle {
    /// Whether a planned rotation would stop because of it; else it is worth knowing: an incident must be able to end sessions.
    pub const fn blocks(self) -> bool {
        !matches!(self, Self::Unchecked | Self::NoMonitor | Self::NoSignal)
    }
}

/// Looks for everything.
pub async fn check(request: &Request<'_>) -> Vec<Predicted> {
    let mut found = Found(Vec::new());
    for user in request.users {
        if let Err(failure) = check_name(user) {
            found.add(Obstacle::NameTooLong, user, failure.to_string(), "rename it, or choose a shorter name in the definition");
        }
    }
    let pair = request.users.len() > 1;
    if pair && request.bound_to_user {
        found.add(
            Obstacle::UserBound,
            request.live_user,
            "the definition says that the user is known by name elsewhere, and names a pair",
            "name one user in the definition: user = \"…\"",
        );
    }
    if !request.users.iter().any(|user| user == request.live_user) {
        found.add(
            Obstacle::LiveForeign,
            request.live_user,
            format!("the live value is of {:?}", request.live_user),
            format!("the definition must name it; it names {}", request.users.join(", ")),
        );
    }
    live_credential(request, &mut found).await;
    match Server::connect(request.rotator, &request.rotator.database, APPLICATION).await {
        Ok(mut server) => {
            if let Err(failure) = with_server(request, &mut server, &mut found).await {
                found.add(Obstacle::Unreachable, &request.rotator.host, failure.to_string(), hint(&failure));
            }
            server.close().await;
        }
        Err(_) => rotator_refused(request, &mut found).await,
    }
    for unchecked in &request.servers.unchecked {
        found.add(Obstacle::Unchecked, &unchecked.name, "it is not asked".to_owned(), unchecked.why.clone());
    }
    found.0.sort_by_key(|predicted| predicted.obstacle);
    found.0
}

struct Found(Vec<Predicted>);

impl Found {
    fn add(&mut self, obstacle: Obstacle, subject: &str, seen: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Predicted { obstacle, subject: subject.to_owned(), seen: seen.into(), fix: fix.into() });
    }

    fn cannot_tell(&mut self, place: &Place, failure: &Failure) {
        let obstacle = if failure.kind == FailureKind::BadSettings { Obstacle::Tls } else { Obstacle::Unreachable };
        self.add(obstacle, &place.to_string(), failure.to_string(), hint(failure));
    }
}

fn hint(failure: &Failure) -> String {
    failure.hint.clone().unwrap_or_else(|| "see the message".to_owned())
}

/// What the application does is done as the application does it, everywhere.
async fn live_credential(request: &Request<'_>, found: &mut Found) {
    for (place, came) in login::everywhere(&request.servers.all(), request.live_user, request.live_password, APPLICATION).await {
        match came {
            Login::Accepted(_) => {}
            Login::Refused { sqlstate, message } => {
                let fix = "make value and database agree first: reconcile sets the live password in the database";
                found.add(Obstacle::LiveRefused, &place.to_string(), format!("{message} (SQLSTATE {sqlstate})"), fix);
            }
            Login::CannotTell(failure) => found.cannot_tell(&place, &failure),
        }
    }
}

/// Who says no, and why.
async fn rotator_refused(request: &Request<'_>, found: &mut Found) {
    let (rotator, place) = (request.rotator, Place::of(request.rotator));
    let refused = rotator.attempt(&rotator.database, APPLICATION, Duration::from_secs(10)).await.err();
    match refused.map(|refused| login::refusal(refused.cause, refused.failure)) {
        Some(Login::Refused { sqlstate, message }) => {
            let fix = "the rotator's parameter must have its password; or, without one, GRANT rds_iam to it and allow rds-db:connect";
            found.add(Obstacle::RotatorRefused, &rotator.user, format!("{message} (SQLSTATE {sqlstate})"), fix);
        }
        Some(Login::CannotTell(failure)) => found.cannot_tell(&place, &failure),
        Some(Login::Accepted(_)) | None => found.add(Obstacle::Unreachable, &place.to_string(), "it answered the second time only", "try again"),
    }
}

async fn with_server(request: &Request<'_>, server: &mut Server, found: &mut Found) -> Result<(), Failure> {
    let sql = "SELECT pg_is_in_recovery(), pg_has_role('pg_signal_backend', 'USAGE'), pg_has_role('pg_monitor', 'USAGE') OR pg_has_role('pg_read_all_stats', 'USAGE')";
    let row = server.row("look at the rotator", sqlx::query(sql)).await?;
    let us = identifier(&request.rotator.user);
    if row.get(0) {
        found.add(Obstacle::RotatorOnStandby, &request.rotator.host, "the server is a standby", "name the writer in the rotator's URL");
        return Ok(());
    }
    if !row.get::<bool, _>(1) {
        found.add(Obstacle::NoSignal, &request.rotator.user, "it may not end sessions", format!("GRANT pg_signal_backend TO {us}"));
    }
    if !row.get::<bool, _>(2) {
        found.add(
            Obstacle::NoMonitor,
            &request.rotator.user,
            "it does not see programs and addresses of sessions",
            format!("GRANT pg_monitor TO {us}"),
        );
    }
    let names: Vec<&str> = request.users.iter().map(String::as_str).collect();
    let roles = server.roles(&names).await?;
    for role in &roles {
        look_at(request, role, &roles, found);
    }
    let database = &request.servers.writer.database;
    for role in roles.iter().filter(|role| role.exists) {
        let sql = "SELECT coalesce(bool_and(has_database_privilege($1, oid, 'CONNECT')), true) FROM pg_database WHERE datname = $2";
        let row = server.row("look at the database", sqlx::query(sql).bind(&role.name).bind(database)).await?;
        if !row.get::<bool, _>(0) {
            let fix = format!("GRANT CONNECT ON DATABASE {} TO {}", identifier(database), identifier(&role.name));
            found.add(Obstacle::NoConnect, &role.name, format!("it may not connect to {database:?}"), fix);
        }
    }
    if let [a, b] = roles.as_slice()
        && a.exists
        && b.exists
    {
        let (live, other) = if b.name == request.live_user { (b, a) } else { (a, b) };
        parity_of(request, &live.name, &other.name, found).await;
    }
    lag::look(request, server, found).await
}

/// One role, by what is seen of it.
fn look_at(request: &Request<'_>, role: &RoleSeen, roles: &[RoleSeen], found: &mut Found) {
    let (name, us) = (identifier(&role.name), identifier(&request.rotator.user));
    let mut add = |obstacle, seen: String, fix: String| found.add(obstacle, &role.name, seen, fix);
    if !role.exists {
        // A name that is too long is its own obstacle.
        if check_name(&role.name).is_ok() {
            add(Obstacle::RoleMissing, "there is no such role".to_owned(), creation(roles, &us));
        }
        return;
    }
    if role.name == request.rotator.user {
        add(Obstacle::OwnRole, "it is the rotator itself".to_owned(), "give the rotator a role of its own".to_owned());
    }
    if role.is_master {
        let fix = "leave the master user to RDS (ManageMasterUserPassword), and give applications users of their own";
        add(Obstacle::MasterUser, "it is a superuser, or a member of rds_superuser".to_owned(), fix.to_owned());
    }
    for missing in &role.missing {
        let (obstacle, seen, fix) = match missing {
            Missing::CreateRole => (Obstacle::NoCreateRole, "the rotator has no CREATEROLE".to_owned(), format!("ALTER ROLE {us} CREATEROLE")),
            Missing::AdminOption => {
                let fix = format!("GRANT {name} TO {us} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE");
                (Obstacle::NoAdminOption, "the rotator has no ADMIN OPTION on it".to_owned(), fix)
            }
            Missing::RdsPassword => {
                let seen = "rds.restrict_password_commands is on, and the rotator is not a member of rds_password".to_owned();
                (Obstacle::NoRdsPassword, seen, format!("GRANT rds_password TO {us}"))
            }
            Missing::Superuser => {
                let seen = "it has SUPERUSER or REPLICATION, so that only a superuser may change it".to_owned();
                (Obstacle::Superuser, seen, format!("as a superuser: ALTER ROLE {name} NOSUPERUSER NOREPLICATION"))
            }
        };
        add(obstacle, seen, fix);
    }
    if role.is_iam {
        let fix = format!("REVOKE rds_iam FROM {name}, or let the application log in with tokens and rotate nothing");
        add(Obstacle::IamMember, "a member of rds_iam: RDS takes no password from it".to_owned(), fix);
    }
    let count = role.session_count();
    let gets_password = roles.len() == 1 || role.name != request.live_user;
    if gets_password && role.connection_limit >= 0 && count >= i64::from(role.connection_limit) {
        let seen = format!("it may have {} sessions and has {count}: none is left for the proof", role.connection_limit);
        add(Obstacle::ConnectionLimit, seen, format!("ALTER ROLE {name} CONNECTION LIMIT {}", count + 10));
    }
    if roles.len() > 1 && gets_password && count > 0 {
        let who: Vec<String> = role
            .sessions
            .iter()
            .map(|seen| format!("{} × {:?} from {}", seen.count, seen.application_name, seen.client_address.as_deref().unwrap_or("?")))
            .collect();
        let fix = "have them read the live value (restart them); a rotation would cut them off, and waits";
        add(Obstacle::StandbyBusy, format!("it has sessions: {}", who.join(", ")), fix.to_owned());
    }
}

/// The statements that make what is missing. A rotation never runs them: a role is a decision.
fn creation(roles: &[RoleSeen], us: &str) -> String {
    let mut statements = Vec::new();
    for role in roles.iter().filter(|role| !role.exists) {
        statements.push(format!("CREATE ROLE {} LOGIN", identifier(&role.name)));
    }
    if roles.len() > 1 {
        let group = identifier(&format!("{}_owner", roles[0].name));
        statements.insert(0, format!("CREATE ROLE {group} NOLOGIN"));
        for role in roles {
            let name = identifier(&role.name);
            statements.push(format!("GRANT {group} TO {name}"));
            statements.push(format!("ALTER ROLE {name} SET role TO {group}"));
        }
        if let Some(there) = roles.iter().find(|role| role.exists) {
            statements.push(format!("REASSIGN OWNED BY {} TO {group}", identifier(&there.name)));
        }
    }
    statements.extend(roles.iter().filter(|role| !role.exists).map(|role| format!("GRANT {} TO {us} WITH ADMIN OPTION", identifier(&role.name))));
    statements.join("; ")
}

/// What the other user lacks, in the value's own database.
async fn parity_of(request: &Request<'_>, live: &str, other: &str, found: &mut Found) {
    let writer = &request.servers.writer;
    let compared = async {
        let access = elsewhere(request.rotator, writer, request.tokens).await?;
        let mut server = Server::connect(&access, &writer.database, APPLICATION).await?;
        let compared = parity::compare(&mut server, live, other).await;
        server.close().await;
        compared
    };
    match compared.await {
        Ok(parity) => {
            for difference in parity.lacking.iter().chain(&parity.owned) {
                found.add(
                    Obstacle::Parity,
                    other,
                    difference.what.clone(),
                    difference.statement.clone().unwrap_or_else(|| "see what was seen".to_owned()),
                );
            }
            if parity.more > 0 {
                found.add(Obstacle::Parity, other, format!("and {} differences more", parity.more), "run what is printed, and look again");
            }
        }
        Err(failure) => found.add(Obstacle::Parity, other, failure.to_string(), hint(&failure)),
    }
}
