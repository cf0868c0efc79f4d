//! Databases of an instance, as the driver needs them: made, dropped, filled from SQL text, by real connections. A file that uses psql's own
//! commands is run by psql.

use std::path::Path;
use std::str::FromStr;

use shared::failure::{Context, Failure};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};

use crate::attempt::Attempt;
use crate::instance::Instance;
use crate::process::Job;

/// An identifier in quotes.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string in quotes.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The same URL to another database.
///
/// # Errors
/// When it is no URL.
pub fn with_database(url: &str, database: &str) -> Result<String, Failure> {
    let mut url = reqwest::Url::parse(url).attempt("read a database URL")?;
    // Encoded here: a URL's own setters drop tabs and line breaks.
    url.set_path(&shared::key::segment(database));
    Ok(url.into())
}

/// The same URL as another user.
///
/// # Errors
/// When it is no URL.
pub fn with_user(url: &str, user: &str, password: &str) -> Result<String, Failure> {
    let mut url = reqwest::Url::parse(url).attempt("read a database URL")?;
    let set = url.set_username(user).and_then(|()| url.set_password(Some(password)));
    set.map_err(|()| crate::attempt::failed("a database URL without a host"))?;
    Ok(url.into())
}

/// A connection; with TLS, verified, where the instance has it.
///
/// # Errors
/// When the server refuses.
pub async fn connect(instance: &Instance, url: &str) -> Result<PgConnection, Failure> {
    let options = PgConnectOptions::from_str(url).attempt("read a database URL")?.application_name("local");
    let options =
        if instance.tls { options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(&instance.ca_file) } else { options.ssl_mode(PgSslMode::Disable) };
    options.connect().await.attempt(format!("connect to {}", instance.id))
}

/// Runs SQL text, any number of statements, by the simple protocol: one transaction unless it says otherwise.
///
/// # Errors
/// With the server's message.
pub async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), Failure> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.map(|_| ()).attempt("run SQL")
}

/// Runs SQL text in a database, as a superuser.
///
/// # Errors
/// With the server's message.
pub async fn run_as_admin(instance: &Instance, database: &str, sql: &str) -> Result<(), Failure> {
    let mut connection = connect(instance, &with_database(&instance.admin_url, database)?).await?;
    run(&mut connection, sql).await?;
    connection.close().await.attempt("close the connection")
}

/// Creates a database that the master user owns. `template0`: nothing is in it but what the caller puts there.
///
/// # Errors
/// When it exists.
pub async fn create(instance: &Instance, database: &str) -> Result<(), Failure> {
    let url = reqwest::Url::parse(&instance.master_url).attempt("read a database URL")?;
    let owner = identifier(url.username());
    let sql = format!("create database {} owner {owner} template template0 encoding 'UTF8'", identifier(database));
    run_as_admin(instance, "postgres", &sql).await.context(format!("create the database {database}"))
}

/// Drops a database, and whoever is connected to it.
///
/// # Errors
/// When the server refuses.
pub async fn drop(instance: &Instance, database: &str) -> Result<(), Failure> {
    let sql = format!("drop database if exists {} with (force)", identifier(database));
    run_as_admin(instance, "postgres", &sql).await.context(format!("drop the database {database}"))
}

/// Variables under which PostgreSQL's programs find a database: the password is never an argument.
///
/// # Errors
/// When it is no URL.
pub fn client_environment(instance: &Instance, url: &str) -> Result<Vec<(String, String)>, Failure> {
    let url = reqwest::Url::parse(url).attempt("read a database URL")?;
    let decoded = |text: &str| {
        let bytes = shared::key::segment_name(text);
        bytes.trim_start_matches('/').to_owned()
    };
    let mut variables = vec![
        ("PGHOST".to_owned(), url.host_str().unwrap_or_default().to_owned()),
        ("PGPORT".to_owned(), url.port().unwrap_or(5432).to_string()),
        ("PGUSER".to_owned(), decoded(url.username())),
        ("PGPASSWORD".to_owned(), decoded(url.password().unwrap_or_default())),
        ("PGDATABASE".to_owned(), decoded(url.path())),
        ("PGCLIENTENCODING".to_owned(), "UTF8".to_owned()),
        ("LC_ALL".to_owned(), "C".to_owned()),
    ];
    if instance.tls {
        variables.push(("PGSSLMODE".to_owned(), "verify-full".to_owned()));
        variables.push(("PGSSLROOTCERT".to_owned(), instance.ca_file.display().to_string()));
    }
    Ok(variables)
}

/// One of PostgreSQL's programs of the instance's own major, to be run against a database.
///
/// # Errors
/// When it is no URL.
pub fn program(instance: &Instance, name: &str, url: &str) -> Result<Job, Failure> {
    let variables = client_environment(instance, url)?;
    Ok(variables.into_iter().fold(Job::new(instance.bin_folder.join(name)), |job, (name, value)| job.env(name, value)))
}

/// Runs an SQL file by psql, so that `\copy` and `COPY … FROM STDIN` work; stops at the first error.
///
/// # Errors
/// With psql's message, which names file and line.
pub async fn run_file(instance: &Instance, url: &str, file: &Path) -> Result<(), Failure> {
    // In the file's own folder: `\i` and `\copy` name files relative to it.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or(file.as_os_str());
    let psql = program(instance, "psql", url)?.folder(folder).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).args([name]);
    psql.run_well().await.map(|_| ())
}
