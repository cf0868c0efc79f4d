//! Stock tools: a reference dump of the same snapshot, and restores of an archive into fresh databases.

use std::ffi::OsString;
use std::path::Path;

use local::Instance;
use local::database::{self, with_database};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A session that holds a snapshot open for others to import.
pub struct Snapshot {
    connection: PgConnection,
    /// Its id.
    pub id: String,
}

impl Snapshot {
    /// Takes one in the database that the URL names.
    pub async fn take(instance: &Instance, url: &str) -> Self {
        let mut connection = database::connect(instance, url).await.expect("connect");
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut connection).await.expect("begin");
        let id = sqlx::query_scalar("SELECT pg_catalog.pg_export_snapshot()").fetch_one(&mut connection).await.expect("export the snapshot");
        Self { connection, id }
    }

    /// Lets it go.
    pub async fn end(self) {
        self.connection.close().await.expect("close");
    }
}

/// What `pg_dump -Fd` makes of a snapshot, with the settings that a comparison needs.
pub async fn stock_dump(instance: &Instance, url: &str, snapshot: &str, encoding: &str, into: &Path) {
    let dump = database::program(instance, "pg_dump", url).expect("pg_dump");
    let dump = dump.env("PGTZ", "UTC").env("PGOPTIONS", "-c bytea_output=hex").env("PGCLIENTENCODING", encoding);
    let arguments: [OsString; 6] = [
        "-Fd".into(),
        "--no-sync".into(),
        "--compress=0".into(),
        format!("--snapshot={snapshot}").into(),
        format!("--encoding={encoding}").into(),
        format!("--file={}", into.display()).into(),
    ];
    dump.args(arguments).run_well().await.expect("stock pg_dump");
}

/// The schema as SQL, without what differs from one dump to the next.
pub async fn schema(instance: &Instance, url: &str, encoding: &str) -> Vec<u8> {
    let dump = database::program(instance, "pg_dump", url).expect("pg_dump");
    let dump = dump.env("PGTZ", "UTC").env("PGOPTIONS", "-c bytea_output=hex").env("PGCLIENTENCODING", encoding);
    dump.args(["--schema-only", "--restrict-key=lifeboat", &format!("--encoding={encoding}")]).run_well().await.expect("dump the schema").stdout
}

/// A way to call stock `pg_restore`.
pub struct Way {
    /// What it is called in messages.
    pub name: &'static str,
    /// Its calls, one after the other: each a list of options.
    pub calls: &'static [&'static [&'static str]],
}

/// Every way of restoring a whole archive that must work without a word. (`--clean` is not silent for stock archives either.)
pub const WAYS: &[Way] = &[
    Way { name: "parallel", calls: &[&["-j4"]] },
    Way { name: "serial", calls: &[&["-j1"]] },
    Way { name: "one transaction", calls: &[&["-1"]] },
    Way { name: "by section", calls: &[&["--section=pre-data"], &["-j4", "--section=data"], &["-j4", "--section=post-data"]] },
];

/// Restores an archive into a database. Nothing may be said on standard error.
///
/// # Errors
/// What pg_restore said.
pub async fn restore(instance: &Instance, folder: &Path, database: &str, calls: &[&[&str]]) -> Result<(), String> {
    let url = with_database(&instance.admin_url, database).expect("a URL");
    for call in calls {
        let restore = database::program(instance, "pg_restore", &url).expect("pg_restore").args(call.iter());
        let ended = restore.args([OsString::from("-d"), conninfo(database), folder.as_os_str().to_owned()]).run().await.expect("run pg_restore");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        if !ended.status.success() || !said.is_empty() {
            return Err(format!("pg_restore {call:?}: {} {said}", ended.status));
        }
    }
    Ok(())
}

/// Restores by way of a script: `pg_restore -f -`, run by psql.
///
/// # Errors
/// What psql said.
pub async fn restore_script(instance: &Instance, folder: &Path, database: &str, script: &Path) -> Result<(), String> {
    let url = with_database(&instance.admin_url, database).expect("a URL");
    let restore = database::program(instance, "pg_restore", &url).expect("pg_restore");
    let restore = restore.args([OsString::from("-f"), script.as_os_str().to_owned(), folder.as_os_str().to_owned()]);
    restore.run_well().await.map_err(|failure| failure.to_string())?;
    let psql = database::program(instance, "psql", &url).expect("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"]);
    psql.args([script.as_os_str()]).run_well().await.map(|_| ()).map_err(|failure| failure.to_string())
}

/// A fresh, empty database like another.
pub async fn create_like(instance: &Instance, source: &str, copy: &str) {
    let mut admin = database::connect(instance, &instance.admin_url).await.expect("connect");
    let sql = "SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L', $1, pg_encoding_to_char(encoding), datcollate, datctype)
                 FROM pg_database WHERE datname = $2";
    let create: String = sqlx::query_scalar(sql).bind(copy).bind(source).fetch_one(&mut admin).await.expect("describe the database");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await.expect("create the copy");
    admin.close().await.expect("close");
}

/// Database names with `=` or a quote would be read as connection strings.
fn conninfo(database: &str) -> OsString {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'")).into()
}
