//! The team's checks on real servers of every major, as a role that can only read.

mod gentle;
mod hostile;
mod kinds;
mod objects;
mod privileges;

use sqlx::Executor as _;
use std::collections::BTreeMap;
use std::time::Duration;

use integrity_check::checks::{CheckResult, Progress, Room, State, TeamFile, run as run_checks};
use integrity_check::model::Table;
use integrity_check::pace::Pace;
use integrity_check::session::Sessions;
use local::Instance;
use local::database::{self, identifier, literal, with_database, with_user};
use sqlx::Row;
use tests::drills::copy::access;
use tests::world::{unique, world};
use tokio::time::Instant;

pub(super) const MAJORS: [u32; 4] = [15, 16, 17, 18];
const PASSWORD: &str = "of-one-who-reads";
/// An account of its own, for a client that is never asked.
const NOBODY: &str = "300000000000";

/// A database of its own on the shared server of a major, and a role that may read all of it.
pub(super) struct Stage {
    pub(super) instance: Instance,
    pub(super) database: String,
    pub(super) role: String,
    pub(super) s3: aws_sdk_s3::Client,
}

impl Stage {
    pub(super) async fn new(major: u32) -> Self {
        Self::on(world().await.server(major).await).await
    }

    pub(super) async fn on(instance: Instance) -> Self {
        let number = unique();
        let (database, role) = (format!("asked_{number}"), format!("Reader \"{number}\""));
        database::create(&instance, &database).await.expect("create the database");
        let s3 = aws_sdk_s3::Client::new(&world().await.cloud.sdk_config(NOBODY));
        let stage = Self { instance, database, role, s3 };
        let role = identifier(&stage.role);
        stage.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD {}; GRANT pg_read_all_data TO {role}", literal(PASSWORD))).await;
        stage
    }

    /// As a superuser, in the stage's database.
    pub(super) async fn sql(&self, sql: &str) {
        let result = database::run_as_admin(&self.instance, &self.database, sql).await;
        result.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
    }

    pub(super) fn admin_url(&self) -> String {
        with_database(&self.instance.admin_url, &self.database).expect("a URL")
    }

    pub(super) async fn admin(&self) -> sqlx::PgConnection {
        database::connect(&self.instance, &self.admin_url()).await.expect("connect")
    }

    /// Blocks of a table that anybody ever fetched; asked when everybody else has gone, since a session counts when it ends.
    pub(super) async fn blocks_fetched(&self, table: &str) -> u64 {
        let mut admin = self.admin().await;
        let alone = "SET statement_timeout = '60s'; DO $$ BEGIN
                       WHILE EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) LOOP
                         PERFORM pg_stat_clear_snapshot(); END LOOP; END $$";
        admin.execute(sqlx::raw_sql(alone)).await.expect("everybody else goes");
        let sql = "SELECT pg_stat_get_blocks_fetched($1::text::regclass)";
        let blocks: i64 = sqlx::query_scalar(sql).bind(table).fetch_one(&mut admin).await.expect("look");
        u64::try_from(blocks).expect("a count")
    }

    pub(super) fn sessions(&self) -> Sessions {
        let url = with_user(&self.instance.admin_url, &self.role, PASSWORD).expect("a URL");
        self.sessions_of(&url)
    }

    pub(super) fn sessions_of(&self, url: &str) -> Sessions {
        let access = access(&self.instance, url);
        Sessions { access, database: self.database.clone(), lock_wait: Duration::from_millis(500), statement: Duration::from_secs(30) }
    }

    /// Tables as the night's look at the catalogs gives them, as far as checks need them.
    pub(super) async fn tables(&self) -> Vec<Table> {
        let rows = sqlx::query(
            "SELECT c.oid::int8, n.nspname::text, c.relname::text, (SELECT format('%s.%s', rn.nspname, r.relname) FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace
                                                                   WHERE c.relispartition AND r.oid = pg_partition_root(c.oid)),
                    CASE WHEN EXISTS (SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.mode = 'AccessExclusiveLock') THEN 0 ELSE pg_relation_size(c.oid) / current_setting('block_size')::int8 END, has_table_privilege($1::text, c.oid, 'SELECT')
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
        )
        .bind(&self.role)
        .fetch_all(&mut self.admin().await)
        .await
        .expect("list tables");
        let table = |row: &sqlx::postgres::PgRow| Table {
            oid: u32::try_from(row.get::<i64, _>(0)).expect("an oid"),
            schema: row.get(1),
            name: row.get(2),
            root: row.get(3),
            pages: u64::try_from(row.get::<i64, _>(4)).expect("pages"),
            tuples: None,
            may_select: row.get(5),
            is_locked: false,
            columns: Vec::new(),
        };
        rows.iter().map(table).collect()
    }

    /// One night of a file in which nothing is written wrong.
    pub(super) async fn night(&self, text: &str) -> Night {
        self.night_of(text, &self.sessions()).await
    }

    /// The same at a pace, in pages a second.
    pub(super) async fn night_at(&self, text: &str, pages: u64) -> Night {
        self.night_with(text, &self.sessions(), pages).await
    }

    pub(super) async fn night_of(&self, text: &str, sessions: &Sessions) -> Night {
        self.night_with(text, sessions, 1_000_000).await
    }

    async fn night_with(&self, text: &str, sessions: &Sessions, pages: u64) -> Night {
        let file = TeamFile::read(text);
        assert_eq!(file.wrong, [], "{text}");
        let tables = self.tables().await;
        let room = Room { sessions, tables: &tables, s3: &self.s3 };
        let (mut progress, mut pace) = (Progress::default(), Pace::new(pages));
        let until = Instant::now() + Duration::from_mins(3);
        let done = run_checks(&room, &file.checks, &mut progress, &mut pace, until).await.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(done, "it is not done: {progress:#?}");
        Night { statements: progress.statements, results: progress.results.into_iter().map(|result| (result.name.clone(), result)).collect() }
    }

    pub(super) async fn end(self) {
        database::drop(&self.instance, &self.database).await.expect("drop");
        // What else it owns or may do dies with the server.
        let _ = database::run_as_admin(&self.instance, "postgres", &format!("DROP ROLE {}", identifier(&self.role))).await;
    }
}

/// What a night came to.
#[derive(Debug)]
pub(super) struct Night {
    pub(super) results: BTreeMap<String, CheckResult>,
    pub(super) statements: u64,
}

impl Night {
    pub(super) fn in_state(&self, state: State) -> Vec<&str> {
        self.results.values().filter(|result| result.state == state).map(|result| result.name.as_str()).collect()
    }

    pub(super) fn of(&self, name: &str) -> &CheckResult {
        self.results.get(name).unwrap_or_else(|| panic!("no result of {name}: {self:#?}"))
    }

    pub(super) fn seen(&self, name: &str) -> &str {
        self.of(name).finding.as_ref().map_or("", |finding| finding.seen.as_str())
    }

    pub(super) fn hint(&self, name: &str) -> &str {
        self.of(name).finding.as_ref().and_then(|finding| finding.hint.as_deref()).unwrap_or("")
    }
}

/// A check in TOML, from its lines.
pub(super) fn check(name: &str, kind: &str, lines: &str) -> String {
    format!("[[check]]\nname = {}\nkind = \"{kind}\"\n{lines}\n", toml::Value::String(name.to_owned()))
}

/// A text in TOML.
pub(super) fn text(text: &str) -> toml::Value {
    toml::Value::String(text.to_owned())
}
