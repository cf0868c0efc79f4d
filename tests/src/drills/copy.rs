//! A copy of a database that a drill looks at, as a whole: read, checked, held against its backups.

use std::collections::BTreeSet;
use std::time::Duration;

use local::Instance;
use local::database::{self, with_database};
use restore_drill::checks::{self, definitions, engine};
use restore_drill::reading::{Job, State, advance};
use serde_json::json;
use shared::archive::toc::Toc;
use shared::finding::{Finding, FindingKind, Severity};
use shared::manifest::Manifest;
use shared::secrets::SecretString;
use shared_postgres::Access;
use shared_postgres::client_program::ClientPrograms;
use shared_postgres::windows::Sizes;
use tokio::time::Instant;

use crate::bed::{Bed, report};
use crate::world::unique;

/// Invocations of one reading at most.
pub const CALLS_MAX: usize = 200;
pub const LONG: Duration = Duration::from_mins(3);

/// How a server is reached, as a function reaches it.
pub fn access(instance: &Instance, url: &str) -> Access {
    let url = if instance.tls { url.to_owned() } else { format!("{url}?sslmode=disable") };
    Access::parse(&SecretString::from(url), &instance.ca_file).expect("a URL")
}

/// Calls until everything is read; the first call has so much time, and each a little more than the one before, for a machine may be slow.
pub async fn read(job: &Job<'_>, mut time: Duration) -> (State, usize) {
    for calls in 1..=CALLS_MAX {
        let state = advance(job, Instant::now() + time).await.unwrap_or_else(|failure| panic!("{}: {failure}", job.database));
        if state.done {
            return (state, calls);
        }
        time = time.mul_f32(1.05);
    }
    panic!("{} is not read after {CALLS_MAX} calls of {time:?}", job.database);
}

pub async fn dump(bed: &Bed, instance: &Instance, url: &str, database: &str) -> Manifest {
    let outcome = bed.dump(instance, url, &json!({"kind": "dump", "databases": [database]})).await;
    bed.manifest(&report(outcome), database).await.1
}

/// A database of a server for ledgers.
pub async fn ledger(instance: &Instance) -> String {
    let ledger = format!("lifeboat_drill_{}", unique());
    database::create(instance, &ledger).await.expect("create the ledger's database");
    ledger
}

/// What a copy is held against.
pub enum Source {
    Snapshot(Box<(Manifest, Manifest, Toc, Toc)>),
    Archive(Box<(Manifest, Toc)>),
}

/// A copy that can be damaged and looked at.
pub struct Copy {
    pub database: String,
    pub source: Source,
}

pub type Found = BTreeSet<(FindingKind, String)>;

pub fn found(findings: impl IntoIterator<Item = Finding>) -> Found {
    findings.into_iter().filter(|finding| finding.severity > Severity::Note).map(|finding| (finding.kind, finding.subject)).collect()
}

/// Calls until everything is checked; the first call has so much time, and each a little more than the one before.
pub async fn checked(job: &Job<'_>, mut time: Duration) -> engine::State {
    for _ in 0..CALLS_MAX {
        let state = engine::advance(job, Instant::now() + time).await.unwrap_or_else(|failure| panic!("{}: {failure}", job.database));
        if state.done {
            return state;
        }
        time = time.mul_f32(1.05);
    }
    panic!("{} is not checked after {CALLS_MAX} calls", job.database);
}

impl Copy {
    /// A whole drill of the copy: everything that is not a note.
    pub async fn findings(&self, instance: &Instance, url: &str) -> Vec<Finding> {
        let (ledger, access) = (ledger(instance).await, access(instance, url));
        let expected = match &self.source {
            Source::Snapshot(around) => &around.1,
            Source::Archive(backup) => &backup.0,
        };
        let sizes = Sizes { first: 8, max: 64, aim: Duration::from_millis(100) };
        let job = Job {
            access: &access,
            database: &self.database,
            ledger: &ledger,
            connections: 2,
            expected: Some(expected),
            drill: "damage",
            sizes,
            whole: LONG,
        };
        let (state, _) = read(&job, LONG).await;
        let folder = tempfile::tempdir().expect("a folder");
        let programs = ClientPrograms::new(&instance.bin_folder);
        let toc = definitions::of_copy(&programs, &access, &self.database, "damage", "UTF8", folder.path()).await.expect("dump the definitions");
        let mut findings = state.unreadable.clone();
        match &self.source {
            Source::Snapshot(around) => {
                let (before, after, old, new) = &**around;
                findings.extend(checks::between(&state, Some(before), Some(after)).0);
                findings.extend(definitions::between(old, new, &toc));
            }
            Source::Archive(backup) => {
                findings.extend(checks::archive(&state, &backup.0));
                findings.extend(definitions::archive(&backup.1, &toc));
            }
        }
        let engine = checked(&job, LONG).await;
        assert!(engine.tables > 50 && engine.indexes > 100, "{engine:?}");
        findings.extend(engine.findings);
        database::drop(instance, &ledger).await.expect("drop the ledger");
        findings
    }

    /// What a whole drill finds.
    pub async fn found(&self, instance: &Instance) -> Found {
        let url = with_database(&instance.master_url, &self.database).expect("a URL");
        found(self.findings(instance, &url).await)
    }

    /// Whether it is from a snapshot.
    pub fn is_snapshot(&self) -> bool {
        matches!(self.source, Source::Snapshot(_))
    }

    /// Does something to it, as the superuser.
    pub async fn damage(&self, instance: &Instance, sql: &str) {
        database::run_as_admin(instance, &self.database, sql).await.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
    }
}

pub fn expected(findings: &[(FindingKind, &str)]) -> Found {
    findings.iter().map(|(kind, subject)| (*kind, (*subject).to_owned())).collect()
}
