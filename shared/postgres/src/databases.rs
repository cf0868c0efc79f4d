//! Which databases an instance has.

use shared::failure::{Failure, FailureKind};
use sqlx::Row;

use crate::{Connection, ContextSql};

/// Made and used by RDS itself; nobody else can connect to it.
const RDS_OWN: &str = "rdsadmin";

/// A database, as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Whether it accepts connections: `datallowconn`, and not left half-dropped.
    pub accepts_connections: bool,
    /// Whether our role may connect.
    pub may_connect: bool,
}

/// Every database but templates and RDS's own.
///
/// # Errors
/// When the server cannot be asked, or a name is not UTF-8.
pub async fn list(connection: &mut Connection) -> Result<Vec<Database>, Failure> {
    // The names of databases are bytes to which no encoding belongs: they must not be converted from that of the database we happen to be in.
    let rows = sqlx::query(
        "SELECT pg_catalog.convert_to(datname::text, pg_catalog.getdatabaseencoding()), datallowconn AND datconnlimit <> -2, pg_catalog.has_database_privilege(oid, 'CONNECT')
           FROM pg_catalog.pg_database WHERE NOT datistemplate AND datname <> $1 ORDER BY datname",
    )
    .bind(RDS_OWN)
    .fetch_all(connection)
    .await
    .context_sql("list databases")?;
    rows.iter()
        .map(|row| {
            let name = row.try_get::<Vec<u8>, _>(0).context_sql("list databases")?;
            let name = String::from_utf8(name).map_err(|error| {
                let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Failure::new(FailureKind::Other, format!("the name of the database {shown:?} is not UTF-8"))
                    .hint("rename it; a client can only connect to a name that it can spell")
            })?;
            Ok(Database {
                name,
                accepts_connections: row.try_get(1).context_sql("list databases")?,
                may_connect: row.try_get(2).context_sql("list databases")?,
            })
        })
        .collect()
}
