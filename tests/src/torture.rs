//! The torture databases, loaded as `tests/torture/README.md` says.

use local::Instance;
use local::database::{program, with_database, with_user};

use crate::world::file;

/// Role that a faithful dump needs, without superuser.
pub const BACKUP_ROLE: &str = "torture_backup";
/// Role that has only `pg_read_all_data`.
pub const BARE_ROLE: &str = "torture_bare";
const OWNER: &str = "torture_owner";
/// Of all three roles.
pub const PASSWORD: &str = "torture '%' pass:word/@?#";

/// Its databases, with the encodings that their dumps have.
pub const DATABASES: &[(&str, &str)] = &[("torture", "UTF8"), ("torture \"latin1\" 'é' ../*", "UTF8"), ("torture\n..*ascii% \"x\"", "SQL_ASCII")];

/// Loads all three into a server that nobody else uses.
pub async fn load(instance: &Instance) {
    let owner = with_user(&instance.admin_url, OWNER, PASSWORD).expect("a URL");
    let [(utf8, _), (latin1, _), (ascii, _)] = DATABASES else { unreachable!("three databases") };
    let as_owner = |database: &str| with_database(&owner, database).expect("a URL");
    let as_admin = |database: &str| with_database(&instance.admin_url, database).expect("a URL");
    psql(instance, &instance.admin_url, "UTF8", "00-cluster.sql").await;
    for name in [
        "10-types",
        "11-values",
        "12-storage",
        "13-partitions",
        "14-constraints",
        "15-logic",
        "16-names",
        "17-large-objects",
        "18-privileges",
        "20-postgres16",
        "21-postgres17",
        "22-postgres18",
    ] {
        psql(instance, &as_owner(utf8), "UTF8", &format!("{name}.sql")).await;
    }
    psql(instance, &as_admin(utf8), "UTF8", "30-superuser.sql").await;
    psql(instance, &as_owner(latin1), "LATIN1", "40-latin1.sql").await;
    psql(instance, &as_owner(ascii), "SQL_ASCII", "41-sql-ascii.sql").await;
    // Each in its own encoding: the names of databases are stored as bytes, and a conversion would make other bytes of them.
    for (database, encoding) in [(utf8, "UTF8"), (latin1, "LATIN1"), (ascii, "SQL_ASCII")] {
        psql(instance, &as_admin(database), encoding, "50-backup-role.sql").await;
        psql(instance, &as_admin(database), encoding, "60-settings.sql").await;
    }
}

async fn psql(instance: &Instance, url: &str, encoding: &str, name: &str) {
    let path = file("tests/torture").join(name);
    let psql = program(instance, "psql", url)
        .expect("psql")
        .env("PGCLIENTENCODING", encoding)
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"])
        .args([path.as_os_str()]);
    psql.run_well().await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
}
