//! Migrations whose locks and rewrites are known, rehearsed on real servers: what is measured is what PostgreSQL's manual says, and what the server
//! itself measured; and no death, no haste and no twin makes anything happen twice.

use std::time::Duration;

use local::Instance;
use local::database::{self, with_database};
use restore_drill::rehearsal::files::{File, Files};
use restore_drill::rehearsal::measure::Mode;
use restore_drill::rehearsal::policy::Policy;
use restore_drill::rehearsal::{Job, Rehearsal, State, advance};
use shared::failure::{Failure, FailureKind};
use shared::finding::FindingKind;
use shared::secrets::SecretString;
use shared_postgres::Access;
use sqlx::{AssertSqlSafe, Connection as _};
use tests::bed::Bed;
use tests::world::{run, unique, world};
use tokio::sync::OnceCell;
use tokio::time::Instant;

mod cases;
mod deaths;
mod times;

/// What `slow` takes, once for each table that it is computed over; the policy allows less.
const SLOW_SECONDS: f64 = 2.0;

/// A table that is large for the policy below, a small one, and what migrations do to them.
const SETUP: &str = "
create function takes(seconds float) returns void language sql as 'select pg_sleep($1)';
create function slow(value int) returns int language plpgsql immutable as $$ begin if value = 1 then perform public.takes(2); end if; return value; end $$;
create table big (id int primary key, n int not null, note text, code varchar(20), owner int, filled int);
insert into big select i, i, repeat('x', 200), 'c' || i, 1 + i % 100, i from generate_series(1, 20000) i;
create table small (id int primary key, name text);
insert into small select i, 'n' || i from generate_series(1, 100) i;
create unique index big_code on big (code);
create index big_n on big (n);
create type mood as enum ('good', 'bad');
create table ran (what text);
analyze";

fn policy() -> Policy {
    Policy { access_exclusive_seconds_max: 1.5, blocked_writes_seconds_max: 1.5, rewrite_bytes_max: 1024 * 1024, ..Policy::default() }
}

/// A database to migrate.
struct Copy {
    instance: Instance,
    database: String,
    access: Access,
}

async fn base(instance: &Instance) -> String {
    static BASES: [OnceCell<String>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
    let make = || async {
        let name = format!("rehearsal-base-{}", unique());
        database::create(instance, &name).await.expect("create the database");
        let url = with_database(&instance.master_url, &name).expect("a URL");
        let mut connection = database::connect(instance, &url).await.expect("connect");
        database::run(&mut connection, SETUP).await.expect("fill it");
        connection.close().await.expect("close");
        name
    };
    BASES[usize::from(instance.major == 17)].get_or_init(make).await.clone()
}

impl Copy {
    /// One on the shared server of a major.
    async fn new(major: u32) -> Self {
        let instance = world().await.server(major).await;
        let (base, database) = (base(&instance).await, format!("rehearsal-{}", unique()));
        let owner = database::identifier(user_of(&instance.master_url));
        let sql = format!("create database {} template {} owner {owner}", database::identifier(&database), database::identifier(&base));
        database::run_as_admin(&instance, "postgres", &sql).await.expect("copy the database");
        Self::of(instance, database)
    }

    fn of(instance: Instance, database: String) -> Self {
        let url = with_database(&instance.master_url, &database).expect("a URL");
        let url = if instance.tls { url } else { format!("{url}?sslmode=disable") };
        let access = Access::parse(&SecretString::from(url), &instance.ca_file).expect("a URL");
        Self { instance, database, access }
    }

    fn job<'a>(&'a self, files: &'a Files, policy: &'a Policy) -> Job<'a> {
        Job { access: &self.access, database: &self.database, drill: "d1", files, role: None, owns_server: true, policy }
    }

    async fn advance(&self, files: &Files, limit: Duration) -> Result<State, Failure> {
        advance(&self.job(files, &policy()), Instant::now() + limit).await
    }

    /// Rehearses to the end.
    async fn rehearse(&self, files: &Files) -> Rehearsal {
        let state = self.advance(files, Duration::from_mins(2)).await.expect("rehearse");
        assert!(state.done, "{state:?}");
        state.result.expect("a result")
    }

    async fn ask(&self, sql: &str) -> String {
        let url = with_database(&self.instance.admin_url, &self.database).expect("a URL");
        let mut connection = database::connect(&self.instance, &url).await.expect("connect");
        let sql = format!("select coalesce(({sql})::text, 'null')");
        let answer: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect("ask");
        connection.close().await.expect("close");
        answer
    }

    async fn drop(self) {
        database::drop(&self.instance, &self.database).await.expect("drop the copy");
    }
}

/// The user of a URL.
fn user_of(url: &str) -> &str {
    url.split_once("://").and_then(|(_, rest)| rest.split_once(':')).map(|(user, _)| user).expect("a user")
}

fn files(files: &[(&str, &str)]) -> Files {
    Files::new(files.iter().map(|(name, text)| File { name: (*name).to_owned(), text: (*text).to_owned() }).collect()).expect("files")
}

#[test]
fn a_file_that_fails_leaves_nothing_and_what_follows_does_not_run() {
    run(async {
        let copy = Copy::new(17).await;
        let migration = files(&[
            ("1_a.sql", "insert into ran values ('first');"),
            ("2_b.sql", "create table half (a int); insert into ran values ('second'); alter table big alter note type varchar(10);"),
            ("3_c.sql", "insert into ran values ('third');"),
        ]);
        let rehearsal = copy.rehearse(&migration).await;
        assert!(!rehearsal.verdict.passes);
        let refused = rehearsal.verdict.reasons.iter().find(|reason| reason.kind == FindingKind::MigrationRefused).expect("it is refused");
        assert!(refused.subject.starts_with("2_b.sql:1") && refused.seen.contains("SQLSTATE 22001"), "{refused:?}");
        assert!(rehearsal.verdict.reasons.iter().any(|reason| reason.kind == FindingKind::NotChecked), "the third was not rehearsed");
        assert_eq!(copy.ask("select string_agg(what, ',') from ran").await, "first");
        assert_eq!(copy.ask("select to_regclass('half')").await, "null");
        assert_eq!(copy.rehearse(&migration).await, rehearsal, "asked again, it says the same");
        copy.drop().await;
    });
}

#[test]
fn a_message_shows_no_value_of_a_row() {
    run(async {
        for (sql, state) in [
            ("alter table big alter code type int using code::int", "22P02"),
            ("create unique index u on small ((id / 100))", "23505"),
            ("create unique index concurrently u on small ((id / 100))", "23505"),
            ("alter table big add constraint c check (n < 5)", "23514"),
        ] {
            let own = Copy::new(17).await;
            let rehearsal = own.rehearse(&files(&[("1.sql", sql)])).await;
            let failed = rehearsal.units[0].failed.as_ref().expect("it fails");
            assert_eq!(failed.sqlstate, state, "{failed:?}");
            assert!(!failed.message.contains("c1") && !failed.message.contains("(0)"), "{failed:?}");
            assert!(!rehearsal.verdict.passes);
            own.drop().await;
        }
    });
}

#[test]
fn deferred_constraints_fail_as_the_commit_would() {
    run(async {
        let copy = Copy::new(17).await;
        let sql = "create table child (id int references small (id) deferrable initially deferred); insert into child values (-1);";
        let failed = copy.rehearse(&files(&[("1.sql", sql)])).await.units[0].failed.clone().expect("it fails");
        assert_eq!((failed.sqlstate.as_str(), failed.line), ("23503", 0), "{failed:?}");
        assert_eq!(copy.ask("select to_regclass('child')").await, "null");
        copy.drop().await;
    });
}

#[test]
fn settings_of_a_file_reach_its_later_transactions_and_no_other_file() {
    run(async {
        let copy = Copy::new(17).await;
        let first = "create schema other; set search_path = other; create index concurrently i on public.big (owner); create table here (a int);";
        let rehearsal = copy.rehearse(&files(&[("1.sql", first), ("2.sql", "create table there (a int);")])).await;
        assert!(rehearsal.verdict.passes, "{rehearsal:?}");
        assert_eq!(
            copy.ask("select string_agg(schemaname || '.' || tablename, ' ' order by tablename) from pg_tables where tablename in ('here', 'there')")
                .await,
            "other.here public.there"
        );
        copy.drop().await;
    });
}

#[test]
fn it_runs_as_the_role_that_it_is_given() {
    run(async {
        let copy = Copy::new(17).await;
        let (role, policy) = (format!("migrator_{}", unique()), policy());
        let mut master =
            database::connect(&copy.instance, &with_database(&copy.instance.master_url, &copy.database).expect("a URL")).await.expect("connect");
        database::run(&mut master, &format!("create role {role}; grant {role} to current_user; grant create on schema public to {role}"))
            .await
            .expect("make a role");
        master.close().await.expect("close");
        let migration =
            files(&[("1.sql", "create table mine (a int)"), ("2.sql", "create index concurrently on mine (a)"), ("3.sql", "drop table big")]);
        let job = Job { role: Some(&role), ..copy.job(&migration, &policy) };
        let state = advance(&job, Instant::now() + Duration::from_mins(1)).await.expect("rehearse");
        let failed = state.result.expect("a result").units[2].failed.clone().expect("it owns no table but its own");
        assert_eq!(failed.sqlstate, "42501", "{failed:?}");
        assert_eq!(copy.ask("select tableowner from pg_tables where tablename = 'mine'").await, role);
        copy.drop().await;
    });
}

#[test]
fn on_a_server_that_is_not_the_drills_nothing_reaches_beyond_the_database() {
    run(async {
        let copy = Copy::new(17).await;
        let (role, policy) = (format!("beyond_{}", unique()), policy());
        let sql = format!("create role {role};");
        let migration = files(&[("1.sql", "insert into ran values ('x');"), ("2.sql", &sql)]);
        let job = Job { owns_server: false, ..copy.job(&migration, &policy) };
        let state = advance(&job, Instant::now() + Duration::from_mins(1)).await.expect("rehearse");
        let verdict = state.result.expect("a result").verdict;
        assert!(!verdict.passes && verdict.reasons[0].subject == "2.sql:1", "{verdict:?}");
        assert_eq!(copy.ask("select count(*) from ran").await, "0", "nothing ran at all");
        assert_eq!(copy.ask(&format!("select count(*) from pg_roles where rolname = '{role}'")).await, "0");
        copy.drop().await;
    });
}

#[test]
fn a_long_file_is_measured_to_its_end() {
    run(async {
        let copy = Copy::new(17).await;
        let text = (0..3000).map(|number| format!("insert into ran values ('{number}');")).collect::<Vec<_>>().join("\n");
        let rehearsal = copy.rehearse(&files(&[("1.sql", &text)])).await;
        let unit = &rehearsal.units[0];
        assert!(unit.seconds < 30.0 && unit.statements.len() + unit.locks.len() + unit.left_out >= 3001, "{}", unit.seconds);
        assert_eq!(copy.ask("select count(distinct what) from ran").await, "3000");
        copy.drop().await;
    });
}

#[test]
fn other_files_are_another_rehearsal() {
    run(async {
        let copy = Copy::new(17).await;
        copy.rehearse(&files(&[("1.sql", "select 1")])).await;
        let failure = copy.advance(&files(&[("1.sql", "select 2")]), Duration::from_mins(1)).await.expect_err("it is refused");
        assert!(failure.kind == FailureKind::Conflict && failure.hint.is_some(), "{failure}");
        copy.drop().await;
    });
}

#[test]
fn files_are_read_from_the_bucket_in_order_and_within_limits() {
    run(async {
        let bed = Bed::new().await;
        for (name, text) in [("V10__c.sql", "select 10"), ("V2__b.sql", "select 2"), ("U2__b.sql", "select 'undo'"), ("notes.md", "no")] {
            bed.store.put(&format!("migrations/next/{name}"), text.as_bytes().to_vec(), "application/sql").await.expect("put");
        }
        let read = restore_drill::rehearsal::files::read(&bed.store, "migrations/next").await.expect("read");
        assert_eq!(read.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["V2__b.sql", "V10__c.sql"]);
        assert_eq!(read.left_out.len(), 2);
        assert_eq!(read.hash(), files(&[("V10__c.sql", "select 10"), ("V2__b.sql", "select 2")]).hash());
        bed.store.put("migrations/next/V3__big.sql", vec![b' '; 17 * 1024 * 1024], "application/sql").await.expect("put");
        let failure = restore_drill::rehearsal::files::read(&bed.store, "migrations/next/").await.expect_err("too large");
        assert!(failure.kind == FailureKind::BadRequest && failure.hint.is_some(), "{failure}");
        assert!(restore_drill::rehearsal::files::read(&bed.store, "migrations/none").await.is_err());
    });
}
