//! Where things lie on the server that a drill works with: its databases, and the one that its ledger is in.

use shared::failure::{Failure, FailureKind};
use shared::key::ArchiveKey;
use shared::manifest::Manifest;
use shared::store::Store;
use shared_postgres::proof::quote;
use shared_postgres::{Access, ContextSql};

use crate::identity::DrillId;
use crate::ledger;
use crate::plan::{Aim, Plan, PlannedArchive};
use crate::work::{close, execute};

/// The ledger's own database on a scratch instance.
const LEDGER: &str = "lifeboat_drill";

/// A database that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restored {
    /// Its name in production.
    pub name: String,
    /// Its name here.
    pub database: String,
    /// The archive that it was made of.
    pub archive: Option<(ArchiveKey, Manifest)>,
}

/// Where things lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// The database of the ledger.
    pub ledger: String,
    /// The name of sessions.
    pub application_name: String,
    drill: DrillId,
    maintenance: String,
}

impl Places {
    pub(super) fn new(plan: &Plan, access: &Access) -> Self {
        let ledger = if matches!(plan.target, Aim::Instance(_)) { LEDGER.to_owned() } else { plan.drill.database(0) };
        Self { ledger, application_name: plan.drill.application_name(), drill: plan.drill.clone(), maintenance: access.database.clone() }
    }

    /// Makes the ledger's database, unless it is there.
    pub(super) async fn open_ledger(&self, access: &Access) -> Result<(), Failure> {
        let mut connection = access.connect(&self.maintenance, &self.application_name).await?;
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)")
            .bind(&self.ledger)
            .fetch_one(&mut connection)
            .await
            .context_sql("look for the ledger's database")?;
        if !exists {
            let made =
                execute(&mut connection, format!("CREATE DATABASE {} TEMPLATE template0", quote(&self.ledger)), "make the ledger's database").await;
            // Two calls at once: the other one made it.
            if let Err(failure) = made
                && !failure.to_string().contains("42P04")
                && !failure.to_string().contains("23505")
            {
                return Err(failure.hint("the role needs CREATEDB"));
            }
        }
        close(connection).await;
        let mut connection = access.connect(&self.ledger, &self.application_name).await?;
        sqlx::query("SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended('lifeboat drill: ledger', 0))")
            .execute(&mut connection)
            .await
            .context_sql("wait for the ledger")?;
        let opened = ledger::open(&mut connection).await;
        close(connection).await;
        opened
    }

    /// The databases of a copy that can be connected to: all, or these.
    pub(super) async fn of_copy(&self, access: &Access, wanted: Option<&[String]>) -> Result<Vec<Restored>, Failure> {
        let mut connection = access.connect(&self.maintenance, &self.application_name).await?;
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate AND datname NOT IN ('rdsadmin', $1) ORDER BY datname",
        )
        .bind(&self.ledger)
        .fetch_all(&mut connection)
        .await
        .context_sql("list the databases")?;
        close(connection).await;
        let names = names.into_iter().filter(|name| wanted.is_none_or(|wanted| wanted.contains(name)));
        Ok(names.map(|name| Restored { database: name.clone(), name, archive: None }).collect())
    }

    /// The scratch database of an archive, with its manifest as it was when the drill was decided.
    pub(super) async fn of_archive(&self, store: &Store, planned: &PlannedArchive, number: usize) -> Result<Restored, Failure> {
        let key = &planned.manifest;
        let (archive, _) = ArchiveKey::parse(key).ok_or_else(|| Failure::new(FailureKind::Corrupt, format!("{key} is no manifest's key")))?;
        let bytes = store.get(key).await?.ok_or_else(|| {
            Failure::new(FailureKind::Corrupt, format!("{} is gone", store.address(key))).hint("it was deleted after the drill began; begin another")
        })?;
        let manifest = Manifest::open(&bytes).map_err(|message| Failure::new(FailureKind::Corrupt, format!("{}: {message}", store.address(key))))?;
        if manifest.checksum != planned.checksum {
            return Err(Failure::new(FailureKind::Corrupt, format!("{} is not the manifest that the drill was decided with", store.address(key))));
        }
        Ok(Restored { name: planned.database.clone(), database: self.drill.database(number + 1), archive: Some((archive, manifest)) })
    }
}
