//! `logical-dump`: every database of an instance as a genuine pg_dump directory archive in S3, with proof of its content.
//!
//! Everything but the rows comes from pg_dump; the rows are copied in parallel under the same snapshot and digested on the way. The manifest is written last:
//! a run that fails or is cut leaves no backup that looks like one, no session, and no open upload. It never deletes and never overwrites anything.

pub mod catalog;
pub mod compare;
pub mod config;
pub mod copy;
pub mod database;
pub mod databases;
pub mod holder;
pub mod instance;
pub mod own_files;
pub mod pg_dump;
pub mod request;
pub mod scratch;
pub mod slices;

use aws_config::SdkConfig;
use chrono::{DateTime, SubsecRound, Utc};
use shared::env::{Databases, Reader};
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::key::{self, ArchiveKey, MANIFEST};
use shared::lambda::{Answer, Deployment, Function, Run};
use shared::report::{Report, Unit, slot_name};
use shared::run_list::{self, RunList};
use shared::secrets;
use shared::store::Store;
use shared::upload::abort_leftovers;
use shared_postgres::Access;
use shared_postgres::client_program::ClientPrograms;

use config::Config;
use database::{Common, Dumped};
use instance::Instance;
use request::{Dump, Request};

/// The function.
pub struct LogicalDump {
    config: Config,
    deployment: Deployment,
    store: Store,
    ssm: aws_sdk_ssm::Client,
}

impl Function for LogicalDump {
    const NAME: &'static str = "logical-dump";
    type Request = Request;

    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self {
        Self {
            config: Config::read(reader),
            deployment: deployment.clone(),
            store: Store::new(aws_sdk_s3::Client::new(config), &deployment.bucket),
            ssm: aws_sdk_ssm::Client::new(config),
        }
    }

    fn slot(request: &Request, run: &Run) -> DateTime<Utc> {
        match request {
            Request::Dump(request) => slot(request, run),
            Request::Compare(_) => run.started_at,
        }
    }

    async fn handle(&self, request: Request, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let url = secrets::parameter(&self.ssm, &self.config.database_url_parameter).await?;
        let access = Access::parse(&url, &self.config.database_ca_file)?;
        let request = match request {
            Request::Dump(request) => request,
            Request::Compare(request) => {
                compare::compare(&self.store, &access, &request, &self.deployment.instance, report).await?;
                return Ok(Answer { reply: None, only_answered: true });
            }
        };
        let run_id = format!("{:08x}", rand::random::<u32>());
        let Some(mut instance) = Instance::open(&access, &run_id).await? else {
            report.findings.push(Finding::new(
                FindingKind::AlreadyRunning,
                &self.deployment.instance,
                "another run is dumping this instance; this one changed nothing",
            ));
            "another run is dumping this instance".clone_into(&mut report.summary);
            return Ok(Answer::default());
        };
        report.findings.append(&mut instance.findings);
        let work = self.dump_instance(&request, run, &run_id, &access, &mut instance, report);
        let result = tokio::time::timeout_at(run.work_until, work).await.unwrap_or_else(|_| Err(deadline(run)));
        // Whatever happened: nothing of this run stays open.
        let aborted = self.store.abort_own_uploads().await;
        let ended = if result.is_err() { instance.end_own_sessions().await } else { Ok(()) };
        instance.close().await;
        let only_answered = result?;
        aborted.and(ended)?;
        Ok(Answer { reply: None, only_answered })
    }
}

/// The slot that a dump fills. A repeated delivery has the same.
fn slot(request: &Dump, run: &Run) -> DateTime<Utc> {
    request.scheduled_at.unwrap_or(run.started_at).trunc_subsecs(0)
}

fn deadline(run: &Run) -> Failure {
    let seconds = (run.work_until - run.started).as_secs();
    Failure::new(
        FailureKind::Deadline,
        format!("not finished after {seconds} s, so the dump was stopped before Lambda would have killed it; nothing of it counts as a backup"),
    )
    .hint("give the function more memory (Lambda gives CPU and network with it) and raise CONNECTIONS; or dump fewer databases in one run")
}

impl LogicalDump {
    /// Returns whether it was only a question.
    async fn dump_instance(
        &self,
        request: &Dump,
        run: &Run,
        run_id: &str,
        access: &Access,
        instance: &mut Instance,
        report: &mut Report,
    ) -> Result<bool, Failure> {
        let programs = ClientPrograms::new(&self.config.client_folder);
        check_versions(&programs, instance.server_major).await?;
        let seen = shared_postgres::databases::list(&mut instance.control).await?;
        let wanted = request.databases.clone().map_or_else(|| self.config.databases.clone(), Databases::Listed);
        let mut choice = databases::choose(&seen, &wanted, &access.user, request.allow_missing)?;
        report.findings.append(&mut choice.findings);
        if request.snapshot.is_some() && choice.chosen.len() != 1 {
            return Err(Failure::new(
                FailureKind::BadRequest,
                format!("a snapshot belongs to one database, and {} are to be dumped", choice.chosen.len()),
            )
            .hint("name the database: {\"kind\":\"dump\",\"databases\":[\"…\"],\"snapshot\":\"…\"}"));
        }
        let folder = scratch::folder()?;
        let (globals, findings) = pg_dump::globals(&programs, access, &instance.application_name, folder.path()).await?;
        report.findings.extend(findings);
        let clock = || run.now();
        let application_name = instance.application_name.clone();
        let common = Common {
            config: &self.config,
            deployment: &self.deployment,
            access,
            programs: &programs,
            store: &self.store,
            application_name: &application_name,
            server_major: instance.server_major,
            globals: &globals,
            started_at: run.started_at,
            clock: &clock,
            snapshot: request.snapshot.as_deref(),
            allow_missing: request.allow_missing,
        };
        if request.dry_run {
            dry_run(&common, &choice.chosen, report).await?;
            return Ok(true);
        }
        let leftovers = abort_leftovers(&self.store, &key::dumps(&self.deployment.instance)).await?;
        if !leftovers.is_empty() {
            let seen = format!("{} open uploads of an earlier run that was killed were aborted", leftovers.len());
            report.findings.push(Finding::new(FindingKind::LeftoversRemoved, "uploads", seen));
        }
        let slot = slot(request, run);
        self.promise(run, run_id, slot, &seen, &choice.chosen, wanted == Databases::Every).await?;

        let mut done = Vec::new();
        let mut failed: Option<Failure> = None;
        for database in &choice.chosen {
            let archive = ArchiveKey { instance: self.deployment.instance.clone(), database: database.clone(), slot, run_id: run_id.to_owned() };
            if self.is_done(&archive).await? {
                report.findings.push(Finding::new(
                    FindingKind::AlreadyDone,
                    database,
                    format!("the backup for {} is there already", slot_name(slot)),
                ));
                continue;
            }
            // Whichever comes first: the dump, or the moment when production has waited long enough.
            let result = tokio::select! {
                result = common.dump(&archive) => result,
                failure = Instance::give_way(&mut instance.control, &application_name, self.config.give_way) => Err(failure),
            };
            match result {
                Ok(dumped) => {
                    report.link(format!("backup of {database}"), self.store.address(&archive.object(MANIFEST)));
                    report.findings.extend(dumped.findings.iter().cloned());
                    done.push(dumped);
                }
                Err(failure) => {
                    // The other databases still get their backup; sessions of this one must not hold anything meanwhile.
                    let failure = failure.context(format!("dump database {database}"));
                    report.fail(database.as_str(), &failure);
                    tracing::warn!(database = database.as_str(), failure = %failure, "a database was not dumped");
                    let cleaned = instance.end_own_sessions().await.and(self.store.abort_own_uploads().await.map(|_| ()));
                    let failure = failed.take().unwrap_or(failure);
                    if cleaned.is_err() {
                        // Without the control session the lock is gone too, and another run may be under way.
                        return Err(failure);
                    }
                    failed = Some(failure);
                }
            }
        }
        summarise(report, &done, choice.chosen.len(), failed.is_some());
        match failed {
            Some(failure) => Err(failure),
            None => Ok(false),
        }
    }

    /// Writes down what this run sets out to do.
    async fn promise(
        &self,
        run: &Run,
        run_id: &str,
        slot: DateTime<Utc>,
        seen: &[shared_postgres::databases::Database],
        chosen: &[String],
        every_database: bool,
    ) -> Result<(), Failure> {
        let list = RunList {
            format: run_list::FORMAT,
            instance: self.deployment.instance.clone(),
            run_id: run_id.to_owned(),
            scheduled_at: slot,
            started_at: run.started_at,
            seen: seen.iter().filter(|database| database.accepts_connections).map(|database| database.name.clone()).collect(),
            chosen: chosen.to_vec(),
            every_database,
        };
        let bytes = serde_json::to_vec_pretty(&list).context("write the list of databases")?;
        self.store.put(&key::run_list(&self.deployment.instance, slot, run_id), bytes, "application/json").await.map(|_| ())
    }

    /// Whether any run has made the backup of this database for this slot.
    async fn is_done(&self, archive: &ArchiveKey) -> Result<bool, Failure> {
        let prefix = archive.prefix();
        let any_run = prefix.strip_suffix(&format!("{}/", archive.run_id)).unwrap_or(&prefix);
        let listed = self.store.list(any_run).await?;
        Ok(listed.iter().any(|object| ArchiveKey::parse(&object.key).is_some_and(|(_, name)| name == MANIFEST)))
    }
}

/// pg_dump refuses a server newer than itself, and an older server's archive from a newer pg_dump does not restore there without errors: so the major is the same.
async fn check_versions(programs: &ClientPrograms, server_major: u32) -> Result<(), Failure> {
    for program in ["pg_dump", "pg_dumpall"] {
        let (version, major) = programs.version(program).await?;
        if major != server_major {
            return Err(Failure::new(FailureKind::WrongVersion, format!("{program} is version {version}, the server is of major {server_major}")).hint(format!(
                "attach the client layer for PostgreSQL {server_major} (layers/pg-client: make build-PgClient{server_major}Layer) and deploy again"
            )));
        }
    }
    Ok(())
}

async fn dry_run(common: &Common<'_>, chosen: &[String], report: &mut Report) -> Result<(), Failure> {
    let (mut objects, mut bytes) = (0, 0);
    for database in chosen {
        let mut holder = common.hold(database).await?;
        let tasks = common.plan(&mut holder).await?;
        report.findings.append(&mut holder.findings);
        objects += tasks.len() as u64;
        bytes += tasks.iter().map(|task| task.weight_bytes).sum::<u64>();
        holder.finish().await?;
    }
    report.count("databases", chosen.len() as u64, Unit::Count);
    report.count("dataObjects", objects, Unit::Count);
    report.count("tableBytes", bytes, Unit::Bytes);
    report.summary = format!("dry run: {} would be dumped as {objects} data objects; nothing was stored", chosen.join(", "));
    Ok(())
}

fn summarise(report: &mut Report, done: &[Dumped], chosen: usize, failed: bool) {
    let sum = |of: fn(&Dumped) -> u64| done.iter().map(of).sum::<u64>();
    report.count("databasesDumped", done.len() as u64, Unit::Count);
    report.count("tables", sum(|dumped| dumped.manifest.tables.len() as u64), Unit::Count);
    report.count("rows", sum(|dumped| dumped.manifest.rows()), Unit::Count);
    report.count("objects", sum(|dumped| dumped.manifest.objects.len() as u64), Unit::Count);
    report.count("textBytes", sum(|dumped| dumped.text_bytes), Unit::Bytes);
    report.count("storedBytes", sum(|dumped| dumped.manifest.size_bytes()), Unit::Bytes);
    let names: Vec<&str> = done.iter().map(|dumped| dumped.manifest.database.as_str()).collect();
    report.summary = match (names.len(), failed) {
        (0, false) => "the backups of this slot are there already".to_owned(),
        (_, false) => format!("dumped {}", names.join(", ")),
        (0, true) => format!("none of {chosen} databases was dumped"),
        (_, true) => format!("dumped {}, but not all of {chosen} databases", names.join(", ")),
    };
}
