//! Everything but the tables' rows: by the pg_dump of the server's own major, under the same snapshot, into a folder.

use std::ffi::OsString;
use std::path::Path;

use shared::compression::Compression;
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared_postgres::Access;
use shared_postgres::client_program::ClientPrograms;

/// The kernel's limit for all arguments and the environment together is 2 MiB with the usual stack (`man execve`).
const ARGUMENT_BYTES_MAX: usize = 1_500_000;
/// `--filter` is there from this major on.
const WITH_FILTER: u32 = 17;

/// What pg_dump is told.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The database.
    pub database: &'a str,
    /// Name of the sessions of this run.
    pub application_name: &'a str,
    /// Id of the snapshot.
    pub snapshot: &'a str,
    /// `server_version_num` / 10000.
    pub server_major: u32,
    /// How its own data files are compressed: as ours.
    pub compression: Compression,
    /// How long it may wait for a lock, in milliseconds.
    pub lock_wait_ms: u64,
    /// Whether the database promises nothing about its bytes.
    pub sql_ascii: bool,
    /// Patterns of the tables whose rows we copy.
    pub without_rows: &'a [String],
    /// Patterns of the tables that are left out altogether.
    pub without: &'a [String],
    /// Whether all large objects are left out.
    pub without_large_objects: bool,
}

/// Runs pg_dump into `folder/archive`. Its warnings become findings.
///
/// # Errors
/// When it fails; what it printed is in the failure.
pub async fn dump(programs: &ClientPrograms, access: &Access, order: Order<'_>, folder: &Path) -> Result<Vec<Finding>, Failure> {
    let mut arguments: Vec<OsString> = vec![
        "--format=directory".into(),
        "--file=archive".into(),
        "--no-sync".into(),
        "--no-password".into(),
        format!("--snapshot={}", order.snapshot).into(),
        format!("--lock-wait-timeout={}", order.lock_wait_ms).into(),
        format!("--compress={}", order.compression.pg_dump_option(order.server_major)).into(),
        format!("--encoding={}", if order.sql_ascii { "SQL_ASCII" } else { "UTF8" }).into(),
    ];
    if order.without_large_objects {
        arguments.push("--no-blobs".into());
    }
    // Tables are named one by one: a wildcard also drops sequence positions and materialized views.
    let lines = (order.server_major >= WITH_FILTER).then(|| filter(order.without_rows)).flatten();
    if let Some(lines) = lines {
        tokio::fs::write(folder.join("filter"), lines).await.context("write the filter of pg_dump")?;
        arguments.push("--filter=filter".into());
    } else {
        arguments.extend(order.without_rows.iter().map(|pattern| format!("--exclude-table-data={pattern}").into()));
    }
    arguments.extend(order.without.iter().map(|pattern| format!("--exclude-table={pattern}").into()));
    let bytes: usize = arguments.iter().map(|argument| argument.len() + 9).sum();
    if bytes > ARGUMENT_BYTES_MAX {
        return Err(Failure::new(
            FailureKind::Other,
            format!("the names of {} tables are too long for pg_dump's command line ({bytes} bytes)", order.without_rows.len()),
        )
        .hint("pg_dump 17 and newer take them from a file, if no name contains a carriage return"));
    }
    let environment = access.libpq_environment(order.database, order.application_name);
    let printed = programs.run("pg_dump", &arguments, &environment, folder).await.map_err(|failure| {
        let unsupported = failure.to_string().contains("does not support compression");
        if unsupported {
            failure.hint("this pg_dump was built without that compression: set COMPRESSION to gzip:6, or install one that has it")
        } else {
            failure
        }
    })?;
    Ok(warnings(order.database, &printed.warnings))
}

/// Roles and their memberships, of the whole instance. Passwords are left out: RDS shows them to nobody.
///
/// # Errors
/// When pg_dumpall fails.
pub async fn globals(programs: &ClientPrograms, access: &Access, application_name: &str, folder: &Path) -> Result<(Vec<u8>, Vec<Finding>), Failure> {
    let arguments: Vec<OsString> =
        vec!["--globals-only".into(), "--no-role-passwords".into(), "--no-password".into(), format!("--database={}", access.database).into()];
    let environment = access.libpq_environment(&access.database, application_name);
    let printed = programs.run("pg_dumpall", &arguments, &environment, folder).await.map_err(|failure| failure.context("dump roles"))?;
    let findings = warnings("roles", &printed.warnings);
    Ok((printed.output, findings))
}

/// The patterns as lines of a filter file, which reads `\\` and `\n` inside quotes and drops carriage returns (`filter.c`, `read_quoted_string`): `None` where
/// a name has one.
fn filter(patterns: &[String]) -> Option<String> {
    let lines = patterns.iter().map(|pattern| format!("exclude table_data {}\n", pattern.replace('\\', "\\\\").replace('\n', "\\n")));
    (!patterns.iter().any(|pattern| pattern.contains('\r'))).then(|| lines.collect())
}

fn warnings(subject: &str, warnings: &[String]) -> Vec<Finding> {
    warnings.iter().map(|warning| Finding::new(FindingKind::PgDumpWarning, subject, warning)).collect()
}
