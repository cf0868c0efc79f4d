//! What rotations do in PostgreSQL, on real servers of every major, as a role that is no superuser.

mod crash;
mod fence;
mod logins;
mod parity;
mod plain_text;
mod preflight;
mod replicas;
mod standby;

use std::net::SocketAddr;

use chrono::{DateTime, TimeDelta, Utc};
use local::Instance;
use local::database::{self, identifier, literal, with_database, with_user};
use local::host::now;
use local::proxy::TcpProxy;
use rotate_secret::database::{Holder, Login, Place, Session, Taken, login};
use rotate_secret::identity::{Mark, RotationId};
use shared::secrets::SecretString;
use shared_postgres::Access;
use tests::world::{unique, world};

const MAJORS: [u32; 4] = [15, 16, 17, 18];
const OLD: &str = "the-old-password-of-everybody";

/// A pair of users, the group that owns, and a rotator, in a database of their own on the shared server of a major.
struct Stage {
    instance: Instance,
    database: String,
    number: u64,
    rotator: Access,
}

/// What each test calls its users.
#[derive(Clone, Copy)]
enum Who {
    A,
    B,
    Group,
    Rotator,
}

impl Stage {
    async fn new(major: u32) -> Self {
        let instance = world().await.server(major).await;
        Self::on(instance).await
    }

    async fn on(instance: Instance) -> Self {
        let number = unique();
        let database = format!("rotate_{number}");
        database::create(&instance, &database).await.expect("create the database");
        let url = |user: &str, password: &str| {
            let url = with_user(&with_database(&instance.master_url, &database).expect("a URL"), user, password).expect("a URL");
            SecretString::from(if instance.tls { url } else { format!("{url}?sslmode=disable") })
        };
        let rotator = Access::parse(&url(&name(Who::Rotator, number), OLD), &instance.ca_file).expect("a URL");
        let stage = Self { instance, database, number, rotator };
        let [a, b, group, rotator] = [Who::A, Who::B, Who::Group, Who::Rotator].map(|who| identifier(&stage.name(who)));
        let old = literal(OLD);
        // The master user makes them, as on RDS.
        stage
            .sql(
                &stage.instance.master_url,
                &format!(
                    "CREATE ROLE {group} NOLOGIN; CREATE ROLE {a} LOGIN PASSWORD {old}; CREATE ROLE {b} LOGIN PASSWORD {old}; GRANT {group} TO {a}, {b};
                     ALTER ROLE {a} SET role TO {group}; ALTER ROLE {b} SET role TO {group};
                     CREATE ROLE {rotator} LOGIN CREATEROLE PASSWORD {old}; GRANT pg_monitor, pg_signal_backend, rds_password TO {rotator}"
                ),
            )
            .await;
        if stage.instance.major >= 16 {
            stage.sql(&stage.instance.master_url, &format!("GRANT {a}, {b} TO {rotator} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")).await;
        }
        stage
    }

    fn name(&self, who: Who) -> String {
        name(who, self.number)
    }

    /// As whoever the URL names, in the stage's database.
    async fn sql(&self, url: &str, sql: &str) {
        let url = with_database(url, &self.database).expect("a URL");
        let mut connection = database::connect(&self.instance, &url).await.expect("connect");
        database::run(&mut connection, sql).await.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
    }

    async fn admin(&self, sql: &str) {
        self.sql(&self.instance.admin_url, sql).await;
    }

    fn place(&self) -> Place {
        Place::of(&self.rotator)
    }

    async fn log_in(&self, who: Who, password: &str) -> Login {
        login::log_in(&self.place(), &self.name(who), &SecretString::from(password), "test").await
    }

    /// A proxy in front of the server, and the rotator's way through it.
    async fn proxied(&self) -> (TcpProxy, Access) {
        let direct: SocketAddr = format!("{}:{}", self.instance.host, self.instance.port).parse().expect("an address");
        let proxy = TcpProxy::start(direct).await.expect("a proxy");
        let access = self.rotator.clone().at(&proxy.address.ip().to_string(), proxy.address.port()).expect("on this machine");
        (proxy, access)
    }

    fn secret(&self) -> String {
        format!("secret-{}", self.number)
    }

    async fn take(&self, access: &Access, invocation: &str, alive_until: DateTime<Utc>) -> Taken {
        let holder = Holder { invocation: invocation.to_owned(), alive_until };
        Session::take(access, &self.secret(), &holder).await.expect("try to take the lock")
    }

    async fn must_take(&self, access: &Access, invocation: &str) -> Session {
        ours(self.take(access, invocation, soon()).await)
    }

    /// The mark of B, read under the lock.
    async fn mark(&self, session: &mut Session) -> Option<Mark> {
        session.server().roles(&[&self.name(Who::B)]).await.expect("look").remove(0).mark
    }

    async fn end(self) {
        database::drop(&self.instance, &self.database).await.expect("drop");
        let names = [Who::A, Who::B, Who::Rotator, Who::Group].map(|who| identifier(&self.name(who))).join(", ");
        let mut admin = database::connect(&self.instance, &self.instance.admin_url).await.expect("connect");
        // What a test made besides dies with its server.
        let _ = database::run(&mut admin, &format!("DROP ROLE {names}")).await;
    }
}

fn name(who: Who, number: u64) -> String {
    match who {
        Who::A => format!("shop_{number}_a"),
        Who::B => format!("Shop {number} \"b\""),
        Who::Group => format!("shop_{number}_owner"),
        Who::Rotator => format!("rotator_{number}"),
    }
}

fn ours(taken: Taken) -> Session {
    match taken {
        Taken::Ours(session) => session,
        Taken::Busy { who, until } => panic!("busy: {who}, until {until:?}"),
    }
}

fn soon() -> DateTime<Utc> {
    now() + TimeDelta::minutes(5)
}

fn long_ago() -> DateTime<Utc> {
    now() - TimeDelta::minutes(5)
}

fn rotation(number: u64) -> RotationId {
    RotationId::new("shop", now(), &number.to_string())
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn works(login: &Login) -> bool {
    matches!(login, Login::Accepted(_))
}

fn is_refused(login: &Login, code: &str) -> bool {
    matches!(login, Login::Refused { sqlstate, .. } if sqlstate == code)
}

/// A random test says its seed, and what it came to.
#[expect(clippy::print_stdout, reason = "shown when the test fails")]
fn say(text: &str) {
    println!("{text}");
}
