//! Begins a drill: decides what is restored to where, writes the decision down, starts the clock. Nothing is made here; it needs AWS's APIs only, so it
//! works from a laptop.

use aws_config::SdkConfig;
use aws_sdk_rds::error::ProvideErrorMetadata as _;
use aws_sdk_rds::types::DbInstance;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::aws;
use shared::env::Databases;
use shared::failure::{Context, Failure, FailureKind};
use shared::snapshot::Owner;
use shared::store::Store;

use crate::config::Settings;
use crate::identity::{self, DrillId};
use crate::observe;
use crate::plan::{Aim, AimInstance, FORMAT, PLAN, Plan, Planned, Production};
use crate::request::{Drill, Sort, Source, Target};
use crate::sources::{self, Found};

/// After giving up, taking down may take an hour; then the sweeper may come.
const SWEEP_AFTER: TimeDelta = TimeDelta::hours(2);

/// The master user of an instance that begins empty, where production's is not known.
const MASTER_USER: &str = "lifeboat";

/// Where a drill is decided.
pub struct Start<'a> {
    /// The bucket.
    pub store: &'a Store,
    /// Clients' configuration.
    pub config: &'a SdkConfig,
    /// Settings.
    pub settings: &'a Settings,
    /// Whose stack.
    pub owner: &'a Owner,
    /// The stack's region.
    pub home: &'a str,
}

impl Start<'_> {
    /// Decides everything; makes nothing.
    ///
    /// # Errors
    /// When there is no such source, or nowhere to restore it to.
    pub async fn decide(&self, request: &Drill, drill: DrillId, now: DateTime<Utc>) -> Result<Plan, Failure> {
        let databases = request.databases.clone().or_else(|| match &self.settings.databases {
            Databases::Every => None,
            Databases::Listed(names) => Some(names.clone()),
        });
        let (settings, is_copy) = (self.settings, request.source == Source::Latest(Sort::Copy));
        let region = if is_copy {
            settings.copy_region.clone().ok_or_else(|| {
                Failure::new(FailureKind::BadSettings, "the stack makes no copies in another region")
                    .hint("set the parameter CopyRegion, or drill a snapshot")
            })?
        } else {
            self.home.to_owned()
        };
        let rds = observe::rds(self.config, &region);
        let found = match &request.source {
            Source::Latest(Sort::Snapshot | Sort::Copy) => sources::latest_snapshot(&rds, self.owner).await?,
            Source::Snapshot(id) => sources::snapshot(&rds, id).await?,
            Source::Latest(Sort::PointInTime) => sources::point_in_time(&rds, &self.owner.instance, "latest").await?,
            Source::PointInTime(time) => sources::point_in_time(&rds, &self.owner.instance, time).await?,
            Source::Latest(Sort::Archive) => sources::latest_archives(self.store, &self.owner.instance, databases.as_deref()).await?,
            Source::Archive(key) => sources::archive(self.store, &self.owner.instance, key).await?,
        };
        let target = self.aim(request, &found, &drill, &region, is_copy).await?;
        let requested_at = now.trunc_subsecs(3);
        let give_up_at = requested_at + TimeDelta::seconds(i64::try_from(settings.give_up_after.as_secs()).unwrap_or(86_400));
        let seconds = |duration: std::time::Duration| duration.as_secs();
        Ok(Plan {
            format: FORMAT,
            drill,
            requested_at,
            source: found.source,
            target,
            databases,
            migrations: request.migrations.clone(),
            freshness: request.freshness.clone(),
            keep: request.keep,
            recovery_time_max_seconds: seconds(settings.recovery_time_max),
            recovery_point_max_seconds: seconds(settings.recovery_point_max),
            give_up_at,
            expires_at: (give_up_at + SWEEP_AFTER).trunc_subsecs(0),
        })
    }

    async fn aim(&self, request: &Drill, found: &Found, drill: &DrillId, region: &str, is_copy: bool) -> Result<Aim, Failure> {
        let is_archive = matches!(found.source, Planned::Archives { .. });
        let to_server = match request.target {
            Some(Target::Server) => true,
            Some(Target::Instance) => false,
            None => is_archive && !request.keep && self.settings.server_url_parameter.is_some(),
        };
        if to_server {
            let bad = |what: &str, hint: &str| Err(Failure::new(FailureKind::BadRequest, what).hint(hint));
            if !is_archive {
                return bad(
                    "a snapshot or point in time cannot be restored to an existing server",
                    "leave `target` out: it becomes an instance of its own",
                );
            }
            if request.keep {
                return bad(
                    "`keep` needs an instance of its own",
                    "give `\"target\": \"instance\"`, or restore with pg_restore into the database that you want (runbook)",
                );
            }
            let url_parameter = self.settings.server_url_parameter.clone().ok_or_else(|| {
                Failure::new(FailureKind::BadSettings, "the stack knows no existing server").hint(
                    "set the stack's parameter DrillServerUrlParameter to the name of a parameter with its URL, or give `\"target\": \"instance\"`",
                )
            })?;
            return Ok(Aim::Server { url_parameter });
        }
        let (place, prefix) = if is_copy { (&self.settings.copy, "DRILL_COPY_") } else { (&self.settings.home, "DRILL_") };
        let (subnet_group, security_group, parameter_group) = place.complete(prefix)?;
        let production = guarded(&observe::rds(self.config, self.home), &self.owner.instance).await?;
        let class =
            self.settings.instance_class.clone().or_else(|| production.as_ref()?.db_instance_class().map(str::to_owned)).ok_or_else(|| {
                Failure::new(FailureKind::BadSettings, "the class of the scratch instance is not known, for the guarded instance is gone")
                    .hint("set the stack's parameter DrillInstanceClass, as db.t4g.medium")
            })?;
        let storage = production.as_ref().and_then(DbInstance::allocated_storage).unwrap_or(20).max(found.storage_gib);
        Ok(Aim::Instance(Box::new(AimInstance {
            region: region.to_owned(),
            id: identity::instance_id(self.owner, drill),
            class,
            engine_version: found.engine_version.clone(),
            subnet_group: subnet_group.to_owned(),
            security_group: security_group.to_owned(),
            parameter_group: parameter_group.to_owned(),
            storage_gib: storage,
            master_user: production.as_ref().and_then(DbInstance::master_username).unwrap_or(MASTER_USER).to_owned(),
            production: production.as_ref().map(read_production),
        })))
    }

    /// Writes the decision down and starts the clock. A repeated call finds both done.
    ///
    /// # Errors
    /// When it cannot be written, or the clock cannot be started.
    pub async fn begin(&self, plan: &Plan) -> Result<Value, Failure> {
        let machine = self.settings.machine_arn.as_deref().ok_or_else(|| {
            Failure::new(FailureKind::BadSettings, "DRILL_MACHINE_ARN is missing").hint("this request goes to the function outside the VPC")
        })?;
        let bytes = serde_json::to_vec_pretty(plan).context("write the plan")?;
        match self.store.put(&plan.drill.key(PLAN), bytes, "application/json").await {
            Ok(_) => {}
            // An earlier delivery decided, perhaps with another time: its decision stands.
            Err(failure) if failure.kind == FailureKind::Conflict => {}
            Err(failure) => return Err(failure),
        }
        let input = json!({"drill": plan.drill}).to_string();
        let sfn = aws_sdk_sfn::Client::new(self.config);
        match sfn.start_execution().state_machine_arn(machine).name(plan.drill.as_str()).input(input).send().await {
            Ok(answer) => Ok(json!({"drill": plan.drill, "execution": answer.execution_arn, "source": plan.source.in_words()})),
            Err(error) if error.code() == Some("ExecutionAlreadyExists") => {
                Ok(json!({"drill": plan.drill, "execution": Value::Null, "source": plan.source.in_words(), "alreadyStarted": true}))
            }
            Err(error) => Err(aws::failure(error).context("start the clock (states:StartExecution)")),
        }
    }
}

/// The guarded instance; `None` when it is gone, which is when a restore is needed most.
async fn guarded(rds: &aws_sdk_rds::Client, id: &str) -> Result<Option<DbInstance>, Failure> {
    match rds.describe_db_instances().db_instance_identifier(id).send().await {
        Ok(answer) => Ok(answer.db_instances().first().cloned()),
        Err(error) if error.code() == Some("DBInstanceNotFound") => Ok(None),
        Err(error) => Err(aws::failure(error).context(format!("describe the instance {id} (rds:DescribeDBInstances)"))),
    }
}

fn read_production(seen: &DbInstance) -> Production {
    Production {
        parameter_group: seen.db_parameter_groups().first().and_then(|group| group.db_parameter_group_name()).unwrap_or_default().to_owned(),
        security_groups: seen.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id().map(str::to_owned)).collect(),
        backup_days: seen.backup_retention_period().unwrap_or_default(),
        multi_az: seen.multi_az().unwrap_or_default(),
        deletion_protection: seen.deletion_protection().unwrap_or_default(),
    }
}
