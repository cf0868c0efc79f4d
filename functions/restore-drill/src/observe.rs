//! What is there: the plan and the milestones in the bucket, the instance at RDS, the parameter with its URL.

use std::collections::{BTreeMap, BTreeSet};

use aws_config::Region;
use aws_config::SdkConfig;
use aws_sdk_rds::error::ProvideErrorMetadata as _;
use aws_sdk_rds::types::DbInstance;
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::snapshot::Owner;
use shared::store::Store;

use crate::config::Settings;
use crate::identity::{self, DrillId};
use crate::plan::{PLAN, Plan};
use crate::step::{self, Instance, Milestone, Observed};

/// Instances of a page (API reference, DescribeDBInstances), and pages: 2,000 instances, fifty times the usual quota.
const PAGE: i32 = 100;
const PAGES_MAX: usize = 20;

/// RDS of a region.
pub fn rds(config: &SdkConfig, region: &str) -> aws_sdk_rds::Client {
    let own = config.region().map(ToString::to_string);
    if own.as_deref() == Some(region) {
        return aws_sdk_rds::Client::new(config);
    }
    aws_sdk_rds::Client::from_conf(aws_sdk_rds::config::Builder::from(config).region(Region::new(region.to_owned())).build())
}

/// The plan of a drill.
///
/// # Errors
/// When there is no such drill, or its plan cannot be read.
pub async fn plan(store: &Store, drill: &DrillId) -> Result<Plan, Failure> {
    let key = drill.key(PLAN);
    let bytes = store.get(&key).await?.ok_or_else(|| {
        Failure::new(FailureKind::BadRequest, format!("there is no drill {drill}"))
            .hint("ids of drills are in the answers of `drill`, and below drills/ in the bucket")
    })?;
    Plan::open(&bytes).map_err(|message| Failure::new(FailureKind::Corrupt, format!("{}: {message}", store.address(&key))))
}

/// What has been reached.
///
/// # Errors
/// When the bucket cannot be listed.
pub async fn reached(store: &Store, drill: &DrillId) -> Result<BTreeSet<Milestone>, Failure> {
    let listed = store.list(&drill.key("")).await?;
    let names: BTreeSet<&str> = listed.iter().filter_map(|object| DrillId::of_key(&object.key)).map(|(_, name)| name).collect();
    Ok(Milestone::ALL.into_iter().filter(|milestone| names.contains(milestone.object())).collect())
}

/// Everything about a drill.
///
/// # Errors
/// When something cannot be asked.
pub async fn everything(
    store: &Store,
    config: &SdkConfig,
    settings: &Settings,
    owner: &Owner,
    drill: &DrillId,
    reported: bool,
) -> Result<Observed, Failure> {
    let plan = plan(store, drill).await?;
    let reached = reached(store, drill).await?;
    let (instance, secret) = match step::aim(&plan) {
        Some(aim) => {
            let instance = instance(&rds(config, &aim.region), owner, &aim.id).await?;
            (instance, has_secret(&aws_sdk_ssm::Client::new(config), &secret_name(settings, drill)).await?)
        }
        None => (None, false),
    };
    Ok(Observed { plan, owner: owner.clone(), reached, instance, secret, reported })
}

/// Name of the parameter with the URL of a drill's instance.
pub fn secret_name(settings: &Settings, drill: &DrillId) -> String {
    format!("{}{drill}/database-url", settings.secrets_prefix)
}

async fn has_secret(ssm: &aws_sdk_ssm::Client, name: &str) -> Result<bool, Failure> {
    match ssm.get_parameter().name(name).with_decryption(false).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ParameterNotFound") => Ok(false),
        Err(error) => Err(aws::failure(error).context(format!("look for the parameter {name} (ssm:GetParameter)"))),
    }
}

/// An instance, if there is one.
///
/// # Errors
/// When RDS does not answer.
pub async fn instance(rds: &aws_sdk_rds::Client, owner: &Owner, id: &str) -> Result<Option<Instance>, Failure> {
    match rds.describe_db_instances().db_instance_identifier(id).send().await {
        Ok(answer) => Ok(answer.db_instances().first().map(|seen| read(owner, seen))),
        Err(error) if error.code() == Some("DBInstanceNotFound") => Ok(None),
        Err(error) => Err(aws::failure(error).context(format!("describe the instance {id} (rds:DescribeDBInstances)"))),
    }
}

/// All instances of a region that are drills' of this stack.
///
/// # Errors
/// When RDS does not answer, or there are more instances than anybody has.
pub async fn scratch_instances(rds: &aws_sdk_rds::Client, owner: &Owner) -> Result<Vec<Instance>, Failure> {
    let (mut found, mut marker) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let answer = rds.describe_db_instances().max_records(PAGE).set_marker(marker).send().await;
        let answer = answer.map_err(|error| aws::failure(error).context("list instances (rds:DescribeDBInstances)"))?;
        found.extend(answer.db_instances().iter().map(|seen| read(owner, seen)).filter(|instance| instance.scratch.is_some()));
        marker = answer.marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            return Ok(found);
        }
    }
    Err(Failure::new(FailureKind::Other, "list instances: there are more than anybody has"))
}

fn read(owner: &Owner, seen: &DbInstance) -> Instance {
    let id = seen.db_instance_identifier().unwrap_or_default().to_owned();
    let tags: BTreeMap<String, String> =
        seen.tag_list().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect();
    let endpoint = seen.endpoint().and_then(|endpoint| Some((endpoint.address()?.to_owned(), endpoint.port()?)));
    let groups = seen.db_parameter_groups().iter();
    Instance {
        scratch: identity::read(owner, &id, &tags),
        id,
        arn: seen.db_instance_arn().unwrap_or_default().to_owned(),
        status: seen.db_instance_status().unwrap_or("unknown").to_owned(),
        endpoint,
        master_user: seen.master_username().unwrap_or_default().to_owned(),
        password_pending: seen.pending_modified_values().is_some_and(|pending| pending.master_user_password().is_some()),
        security_groups: seen.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id().map(str::to_owned)).collect(),
        subnet_group: seen.db_subnet_group().and_then(|group| group.db_subnet_group_name()).unwrap_or_default().to_owned(),
        parameter_groups: groups
            .map(|group| {
                (group.db_parameter_group_name().unwrap_or_default().to_owned(), group.parameter_apply_status().unwrap_or_default().to_owned())
            })
            .collect(),
        public: seen.publicly_accessible().unwrap_or_default(),
        backup_days: seen.backup_retention_period().unwrap_or_default(),
        deletion_protection: seen.deletion_protection().unwrap_or_default(),
        engine_version: seen.engine_version().unwrap_or_default().to_owned(),
        class: seen.db_instance_class().unwrap_or_default().to_owned(),
        roles: seen.associated_roles().iter().filter_map(|role| role.role_arn().map(str::to_owned)).collect(),
    }
}
