//! Takes a step. Each may be taken twice: a call that was done already is found done.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_rds::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_rds::types::Tag;
use aws_sdk_ssm::types::ParameterType;
use chrono::{DateTime, Utc};
use rand::RngExt as _;
use rand::distr::Alphanumeric;
use serde_json::{Value, json};
use shared::aws;
use shared::failure::{Context, Failure, FailureKind};
use shared::secrets;
use shared::secrets::ExposeSecret;
use shared::store::Store;

use crate::config::Settings;
use crate::identity;
use crate::observe;
use crate::plan::{AimInstance, Plan, Planned};
use crate::step::{Instance, Milestone, Observed, aim, exposures};

/// RDS takes 128 characters; letters and digits need no encoding in a URL.
const PASSWORD_CHARS: usize = 40;

/// What a step needs.
pub struct Hands<'a> {
    /// The bucket.
    pub store: &'a Store,
    /// Clients' configuration.
    pub config: &'a SdkConfig,
    /// Settings.
    pub settings: &'a Settings,
    /// What was seen.
    pub observed: &'a Observed,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A request for a scratch instance with what is the same for each, whatever it is made from: closed, alone, and marked as ours. RDS's builders share no trait.
macro_rules! closed {
    ($aim:expr, $tags:expr, $request:expr) => {
        $request
            .db_instance_class(&$aim.class)
            .db_subnet_group_name(&$aim.subnet_group)
            .vpc_security_group_ids(&$aim.security_group)
            .db_parameter_group_name(&$aim.parameter_group)
            .publicly_accessible(false)
            .multi_az(false)
            .auto_minor_version_upgrade(false)
            .copy_tags_to_snapshot(false)
            .deletion_protection(false)
            .set_tags(Some($tags))
    };
}

impl Hands<'_> {
    fn plan(&self) -> &Plan {
        &self.observed.plan
    }

    fn aim(&self) -> Result<&AimInstance, Failure> {
        aim(self.plan()).ok_or_else(|| Failure::new(FailureKind::Other, "the drill makes no instance"))
    }

    fn instance(&self) -> Result<&Instance, Failure> {
        self.observed.instance.as_ref().ok_or_else(|| Failure::new(FailureKind::Other, "the instance is gone"))
    }

    fn rds(&self) -> Result<aws_sdk_rds::Client, Failure> {
        Ok(observe::rds(self.config, &self.aim()?.region))
    }

    /// Writes a milestone down. The first one stands.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn reach(&self, milestone: Milestone, more: Value) -> Result<(), Failure> {
        let mut content = more;
        content["at"] = json!(self.now);
        let bytes = serde_json::to_vec_pretty(&content).context("write a milestone")?;
        match self.store.put(&self.plan().drill.key(milestone.object()), bytes, "application/json").await {
            Ok(_) => Ok(()),
            Err(failure) if failure.kind == FailureKind::Conflict => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Asks RDS for the instance. Nothing is left to its defaults.
    ///
    /// # Errors
    /// When RDS refuses for a reason that does not pass; the drill is then over.
    pub async fn create(&self) -> Result<(), Failure> {
        let (plan, aim, rds) = (self.plan(), self.aim()?, self.rds()?);
        let tags: Vec<Tag> = list(&identity::tags(&self.observed.owner, &plan.drill, plan.expires_at));
        let made = match &plan.source {
            Planned::Snapshot { arn, .. } => done(
                "restore the snapshot (rds:RestoreDBInstanceFromDBSnapshot)",
                closed!(
                    aim,
                    tags,
                    rds.restore_db_instance_from_db_snapshot()
                        .db_instance_identifier(&aim.id)
                        .db_snapshot_identifier(arn)
                        .enable_iam_database_authentication(false)
                )
                .send()
                .await
                .map(|_| ()),
            ),
            Planned::PointInTime { instance, data_at, latest } => {
                let time = aws_sdk_rds::primitives::DateTime::from_millis(data_at.timestamp_millis());
                done(
                    "restore to the point in time (rds:RestoreDBInstanceToPointInTime)",
                    closed!(
                        aim,
                        tags,
                        rds.restore_db_instance_to_point_in_time()
                            .target_db_instance_identifier(&aim.id)
                            .source_db_instance_identifier(instance)
                            .set_restore_time((!latest).then_some(time))
                            .set_use_latest_restorable_time(latest.then_some(true))
                            .enable_iam_database_authentication(false)
                    )
                    .send()
                    .await
                    .map(|_| ()),
                )
            }
            Planned::Archives { .. } => done(
                "make the instance (rds:CreateDBInstance)",
                closed!(
                    aim,
                    tags,
                    rds.create_db_instance()
                        .db_instance_identifier(&aim.id)
                        .engine("postgres")
                        .engine_version(&aim.engine_version)
                        .allocated_storage(aim.storage_gib)
                        .storage_type("gp3")
                        .storage_encrypted(true)
                        .master_username(&aim.master_user)
                        // Nobody ever learns this one; it is replaced before anything connects.
                        .master_user_password(password())
                        .backup_retention_period(0)
                )
                .send()
                .await
                .map(|_| ()),
            ),
        };
        match made {
            // Another run, or a reply that got lost, made it; the next look sees whether it is ours.
            Err((Some(code), _)) if code == "DBInstanceAlreadyExists" => {}
            Err((_, failure)) => return Err(failure),
            Ok(()) => tracing::info!(instance = aim.id, source = plan.source.in_words(), "made the scratch instance"),
        }
        self.reach(Milestone::Created, json!({"instance": aim.id})).await
    }

    /// Makes a password and keeps the URL where only the drill reads it. What is there already stays.
    ///
    /// # Errors
    /// When the instance has no address yet, or the parameter cannot be written.
    pub async fn keep_secret(&self) -> Result<(), Failure> {
        let instance = self.instance()?;
        let (host, port) = instance.endpoint.as_ref().ok_or_else(|| Failure::new(FailureKind::Unreachable, "the instance has no address yet"))?;
        let user = percent_encoding::utf8_percent_encode(&instance.master_user, percent_encoding::NON_ALPHANUMERIC);
        let url = format!("postgres://{user}:{}@{host}:{port}/postgres", password());
        let name = observe::secret_name(self.settings, &self.plan().drill);
        let call = aws_sdk_ssm::Client::new(self.config).put_parameter().name(&name).value(url).r#type(ParameterType::SecureString).overwrite(false);
        match call.description("Database URL of a scratch instance; removed with it").send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ParameterAlreadyExists") => Ok(()),
            Err(error) => Err(aws::failure(error).context(format!("keep the URL in {name} (ssm:PutParameter)"))),
        }
    }

    /// Gives the instance the password of the URL, and ends its backups.
    ///
    /// # Errors
    /// When RDS refuses.
    pub async fn harden(&self) -> Result<(), Failure> {
        let (aim, ssm) = (self.aim()?, aws_sdk_ssm::Client::new(self.config));
        let url = secrets::parameter(&ssm, &observe::secret_name(self.settings, &self.plan().drill)).await?;
        let parsed = url::Url::parse(url.expose_secret()).map_err(|_| Failure::new(FailureKind::Corrupt, "the kept URL cannot be read"))?;
        let password = parsed.password().unwrap_or_default().to_owned();
        let call = self.rds()?.modify_db_instance().db_instance_identifier(&aim.id).master_user_password(password);
        let call = call.backup_retention_period(0).deletion_protection(false).apply_immediately(true);
        match done("give the instance a password of its own (rds:ModifyDBInstance)", call.send().await.map(|_| ())) {
            Ok(()) => self.reach(Milestone::Hardened, json!({})).await,
            Err((_, failure)) => Err(failure),
        }
    }

    /// Restarts the instance.
    ///
    /// # Errors
    /// When RDS refuses.
    pub async fn reboot(&self) -> Result<(), Failure> {
        let call = self.rds()?.reboot_db_instance().db_instance_identifier(&self.aim()?.id);
        done("restart the instance (rds:RebootDBInstance)", call.send().await.map(|_| ())).map_err(|(_, failure)| failure)
    }

    /// Sees that the instance is cut off; else says what is not as it must be, and the drill is over.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn check_isolation(&self) -> Result<(), Failure> {
        let wrong = exposures(self.instance()?, self.plan(), self.aim()?);
        if wrong.is_empty() {
            return self.reach(Milestone::Isolated, json!({"instance": self.aim()?.id})).await;
        }
        self.reach(Milestone::Failed, json!({"why": format!("the instance is exposed: {}", wrong.join("; ")), "exposures": wrong})).await
    }

    /// Deletes the instance: no final snapshot, no retained backups, for it is a copy.
    ///
    /// # Errors
    /// When RDS refuses.
    pub async fn delete(&self) -> Result<(), Failure> {
        delete(&self.rds()?, &self.instance()?.id).await
    }

    /// Makes a restored instance as production is, and takes it out of everybody's reach who removes scratch instances.
    ///
    /// # Errors
    /// When RDS refuses.
    pub async fn promote(&self) -> Result<(), Failure> {
        let (aim, instance, rds) = (self.aim()?, self.instance()?, self.rds()?);
        let keep = Tag::builder().key(identity::PURPOSE).value(identity::PURPOSE_RESTORE).build();
        let tagged = rds.add_tags_to_resource().resource_name(&instance.arn).tags(keep).send().await;
        tagged.map_err(|error| aws::failure(error).context("tag the restored instance (rds:AddTagsToResource)"))?;
        let mut call = rds.modify_db_instance().db_instance_identifier(&aim.id).apply_immediately(true).copy_tags_to_snapshot(true);
        if let Some(production) = &aim.production {
            call = call
                .db_parameter_group_name(&production.parameter_group)
                .set_vpc_security_group_ids(Some(production.security_groups.clone()))
                .backup_retention_period(production.backup_days.max(1))
                .multi_az(production.multi_az)
                .deletion_protection(true);
        } else {
            call = call.backup_retention_period(7).deletion_protection(true);
        }
        match done("make the instance as production is (rds:ModifyDBInstance)", call.send().await.map(|_| ())) {
            Ok(()) => self.reach(Milestone::Promoted, json!({"instance": aim.id, "as": aim.production})).await,
            Err((_, failure)) => Err(failure),
        }
    }

    /// Removes the parameter with the URL.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn forget_secret(&self) -> Result<(), Failure> {
        forget(&aws_sdk_ssm::Client::new(self.config), &observe::secret_name(self.settings, &self.plan().drill)).await
    }
}

/// Deletes an instance; one that is gone, or going, is fine.
///
/// # Errors
/// When RDS refuses.
pub async fn delete(rds: &aws_sdk_rds::Client, id: &str) -> Result<(), Failure> {
    let call = rds.delete_db_instance().db_instance_identifier(id).skip_final_snapshot(true).delete_automated_backups(true);
    match done("delete the scratch instance (rds:DeleteDBInstance)", call.send().await.map(|_| ())) {
        Ok(()) => {
            tracing::info!(instance = id, "deleted the scratch instance");
            Ok(())
        }
        Err((Some(code), _)) if code == "DBInstanceNotFound" => Ok(()),
        Err((_, failure)) => Err(failure),
    }
}

/// Removes a parameter; one that is gone is fine.
///
/// # Errors
/// When it cannot be removed.
pub async fn forget(ssm: &aws_sdk_ssm::Client, name: &str) -> Result<(), Failure> {
    match ssm.delete_parameter().name(name).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("ParameterNotFound") => Ok(()),
        Err(error) => Err(aws::failure(error).context(format!("remove the parameter {name} (ssm:DeleteParameter)"))),
    }
}

type Refused = (Option<String>, Failure);

fn done<E>(attempted: &str, answer: Result<(), SdkError<E, aws_sdk_rds::config::http::HttpResponse>>) -> Result<(), Refused>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    answer.map_err(|error| {
        let code = error.as_service_error().and_then(|service| service.code()).map(|code| code.trim_end_matches("Fault").to_owned());
        (code, aws::failure(error).context(attempted))
    })
}

fn list(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn password() -> String {
    rand::rng().sample_iter(Alphanumeric).take(PASSWORD_CHARS).map(char::from).collect()
}
