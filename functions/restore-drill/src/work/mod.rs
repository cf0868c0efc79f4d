//! The database's part of a drill: restores archives, reads everything, compares, checks, rehearses. As far as it comes in one call; what is done is in
//! ledgers on the restored server, and the result, once, in the bucket.
//!
//! It connects to what the drill made, and to nothing else; it knows no URL of production.

mod freshness;
mod lockdown;
mod one_database;
mod places;
mod scratch;

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::lambda::Run;
use shared::report::{Report, Unit};
use shared::snapshot::Owner;
use shared::store::Store;
use shared_postgres::{Access, Connection, ContextSql};
use sqlx::Connection as _;

use crate::config::Settings;
use crate::identity::DrillId;
use crate::observe;
use crate::plan::{Aim, Plan, Planned};
use crate::rehearsal;
use crate::result::Worked;
use crate::step::Milestone;
use crate::work::one_database::{Look, Looked};
use crate::work::places::{Places, Restored};
use crate::{archive, ledger};

/// Memory for an index build on a scratch server, in MB.
const MAINTENANCE_MEMORY_MB: u32 = 256;
/// What may lie in the temporary folder at a time, in bytes; the template gives it 2 GiB.
const FOLDER_BYTES_MAX: u64 = 1 << 30;

/// What the database's part needs.
pub struct Work<'a> {
    /// The bucket.
    pub store: &'a Store,
    /// Clients' configuration.
    pub config: &'a SdkConfig,
    /// Settings.
    pub settings: &'a Settings,
    /// Whose stack.
    pub owner: &'a Owner,
}

impl Work<'_> {
    /// Goes on with a drill. The answer is what the clock does next.
    ///
    /// # Errors
    /// When the server or the bucket cannot be reached; called again, it goes on.
    pub async fn go_on(&self, drill: &DrillId, run: &Run, report: &mut Report) -> Result<Value, Failure> {
        let plan = observe::plan(self.store, drill).await?;
        let reached = observe::reached(self.store, drill).await?;
        let next = |why: &str| json!({"drill": drill, "next": "step", "waitSeconds": 0, "why": why});
        if reached.contains(&Milestone::Worked) || reached.contains(&Milestone::Failed) {
            if matches!(plan.target, Aim::Server { .. }) && !reached.contains(&Milestone::Dropped) {
                let access = self.access(&plan).await?;
                scratch::drop_of(&access, drill).await?;
                self.keep(drill, Milestone::Dropped, &json!({"at": run.now()})).await?;
            }
            return Ok(next("its work is over"));
        }
        // An instance that was not seen to be cut off is not connected to, whoever asks.
        if matches!(plan.target, Aim::Instance(_)) && !reached.contains(&Milestone::Isolated) {
            return Err(Failure::new(FailureKind::BadRequest, "the drill's instance was not seen to be cut off yet; nothing connects to it"));
        }
        let access = self.access(&plan).await?;
        match self.through(&plan, &access, run).await? {
            Some(worked) => {
                let rows: u64 = worked.databases.iter().map(|database| database.rows).sum();
                report.count("rowsRead", rows, Unit::Count);
                self.keep(drill, Milestone::Worked, &serde_json::to_value(&worked).context("write what was found")?).await?;
                Ok(next("the database's part is done"))
            }
            None => Ok(next("there is more to do")),
        }
    }

    async fn access(&self, plan: &Plan) -> Result<Access, Failure> {
        let name = match &plan.target {
            Aim::Instance(_) => observe::secret_name(self.settings, &plan.drill),
            Aim::Server { url_parameter } => url_parameter.clone(),
        };
        let url = shared::secrets::parameter(&aws_sdk_ssm::Client::new(self.config), &name).await?;
        Access::parse(&url, &self.settings.database_ca_file)
    }

    /// The first one stands.
    async fn keep(&self, drill: &DrillId, milestone: Milestone, content: &Value) -> Result<(), Failure> {
        let bytes = serde_json::to_vec_pretty(content).context("write a milestone")?;
        match self.store.put(&drill.key(milestone.object()), bytes, "application/json").await {
            Err(failure) if failure.kind != FailureKind::Conflict => Err(failure),
            _ => Ok(()),
        }
    }

    /// The stages in order; `None` when the time is over before the last one is done.
    async fn through(&self, plan: &Plan, access: &Access, run: &Run) -> Result<Option<Worked>, Failure> {
        let until = run.work_until;
        let places = Places::new(plan, access);
        places.open_ledger(access).await?;
        let mut worked = Worked { first_query_at: Some(self.phase(&places, access, "first query", run).await?), ..Worked::default() };
        let is_copy = !matches!(plan.source, Planned::Archives { .. });
        if is_copy {
            worked.findings.extend(lockdown::lock(access, &places, &plan.drill).await?);
        }
        let Some(restored) = self.restore(plan, access, &places, run, &mut worked).await? else { return Ok(None) };
        if !is_copy {
            worked.restored_at = Some(self.phase(&places, access, "restored", run).await?);
        }
        let look = Look { store: self.store, settings: self.settings, access, places: &places, plan, instance: &self.owner.instance };
        let mut looked: BTreeMap<String, Looked> = BTreeMap::new();
        for one in &restored {
            let Some(seen) = look.read(one, until).await? else { return Ok(None) };
            looked.insert(one.database.clone(), seen);
        }
        worked.read_at = Some(self.phase(&places, access, "read", run).await?);
        for one in &restored {
            let Some(seen) = looked.get_mut(&one.database) else { continue };
            if !look.check(one, seen, until).await? {
                return Ok(None);
            }
        }
        if let Some(freshness) = &plan.freshness {
            match restored.iter().find(|one| one.name == freshness.database) {
                Some(one) => match freshness::newest(access, &one.database, &freshness.sql, &plan.drill).await {
                    Ok(newest) => worked.newest_at = newest,
                    Err(failure) => worked.findings.push(
                        Finding::new(FindingKind::NotChecked, &freshness.database, format!("the query for the age of the data failed: {failure}"))
                            .hint("it must give one row with one time, in a read-only transaction, within a minute"),
                    ),
                },
                None => worked.findings.push(absent(&freshness.database)),
            }
        }
        for seen in looked.into_values() {
            worked.findings.extend(seen.findings);
            worked.databases.push(seen.figures);
        }
        worked.checked_at = Some(self.phase(&places, access, "checked", run).await?);
        if let Some(wanted) = &plan.migrations {
            let Some(one) = restored.iter().find(|one| one.name == wanted.database) else {
                worked.findings.push(absent(&wanted.database));
                return Ok(Some(worked));
            };
            let files = rehearsal::files::read(self.store, &wanted.prefix).await?;
            let job = rehearsal::Job {
                access,
                database: &one.database,
                drill: plan.drill.as_str(),
                files: &files,
                role: wanted.role.as_deref(),
                owns_server: matches!(plan.target, Aim::Instance(_)),
                policy: &rehearsal::policy::Policy::default(),
            };
            let state = rehearsal::advance(&job, until).await?;
            let Some(result) = state.result.filter(|_| state.done) else { return Ok(None) };
            worked.findings.extend(result.verdict.reasons.clone());
            worked.migrated_at = Some(self.phase(&places, access, "migrated", run).await?);
            worked.rehearsal = Some(serde_json::to_value(&result).context("write the rehearsal")?);
        }
        if is_copy && plan.keep {
            lockdown::unlock(access, &places, &plan.drill).await?;
        }
        Ok(Some(worked))
    }

    /// Restores archives; of a copy, finds its databases. `None` when there is more to do.
    async fn restore(&self, plan: &Plan, access: &Access, places: &Places, run: &Run, worked: &mut Worked) -> Result<Option<Vec<Restored>>, Failure> {
        let Planned::Archives { archives } = &plan.source else {
            let restored = places.of_copy(access, plan.databases.as_deref()).await?;
            for wanted in plan.databases.iter().flatten().filter(|wanted| !restored.iter().any(|one| one.name == **wanted)) {
                worked.findings.push(absent(wanted));
            }
            return Ok(Some(restored));
        };
        let mut restored = Vec::new();
        for (number, planned) in archives.iter().enumerate() {
            let one = places.of_archive(self.store, planned, number).await?;
            let (key, manifest) = one.archive.as_ref().ok_or_else(|| Failure::new(FailureKind::Other, "an archive without its manifest"))?;
            archive::create_database(access, &one.database, manifest, plan.drill.as_str()).await?;
            scratch::sign(access, &one.database, plan).await?;
            let job = archive::Job {
                store: self.store,
                archive: key,
                manifest,
                access,
                database: &one.database,
                programs: &shared_postgres::client_program::ClientPrograms::new(&self.settings.client_folder),
                connections: self.settings.connections,
                roles: if matches!(plan.target, Aim::Instance(_)) { archive::Roles::Filtered } else { archive::Roles::None },
                drill: plan.drill.as_str(),
                maintenance_memory_mb: MAINTENANCE_MEMORY_MB,
                folder_bytes_max: FOLDER_BYTES_MAX,
            };
            let state = archive::advance(&job, run.work_until).await?;
            if !state.done {
                tracing::info!(database = one.name, phase = state.phase, rows = state.rows, "the restore goes on in the next call");
                return Ok(None);
            }
            worked.findings.extend(state.findings);
            restored.push(one);
        }
        Ok(Some(restored))
    }

    /// When a phase was over: written down by whoever is first there.
    async fn phase(&self, places: &Places, access: &Access, name: &str, run: &Run) -> Result<DateTime<Utc>, Failure> {
        let step = format!("phase {name}");
        let mut connection = access.connect(&places.ledger, &places.application_name).await?;
        ledger::record(&mut connection, &step, &json!({"at": run.now()})).await?;
        let done = ledger::read(&mut connection).await?;
        close(connection).await;
        let at = done.get(&step).and_then(|detail| detail["at"].as_str()?.parse().ok());
        at.ok_or_else(|| Failure::new(FailureKind::Corrupt, format!("the ledger has no time for {step}")))
    }
}

/// Removes what drills left behind on the existing server.
///
/// # Errors
/// When it cannot be reached.
pub async fn sweep(work: &Work<'_>, dry_run: bool, now: DateTime<Utc>, report: &mut Report) -> Result<(), Failure> {
    let Some(name) = &work.settings.server_url_parameter else {
        "there is no existing server to look at".clone_into(&mut report.summary);
        return Ok(());
    };
    let url = shared::secrets::parameter(&aws_sdk_ssm::Client::new(work.config), name).await?;
    let access = Access::parse(&url, &work.settings.database_ca_file)?;
    let swept = scratch::sweep(&access, work.store, dry_run, now).await?;
    report.count("swept", swept.len() as u64, Unit::Count);
    report.summary = format!("{} databases that drills left behind were removed", swept.len());
    report.findings.extend(swept);
    Ok(())
}

fn absent(database: &str) -> Finding {
    Finding::new(FindingKind::NotChecked, database, "there is no such database in what was restored")
        .hint("correct the request: names of databases are case-sensitive")
}

/// Says good-bye, so that locks of the session are gone when the next one asks.
pub(crate) async fn close(connection: Connection) {
    let _ = connection.close().await;
}

/// A statement that changes something on the scratch server.
pub(crate) async fn execute(connection: &mut Connection, sql: String, attempted: &str) -> Result<(), Failure> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.map(|_| ()).context_sql(attempted)
}
