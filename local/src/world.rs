//! Everything that `local up` and `cargo demo` stand on: the cloud, an instance with a database, a least-privilege backup role, the Slack
//! stand-in, and Lifeboat's stack deployed in front of it.

use std::path::PathBuf;
use std::time::Instant;

use shared::failure::{Context, Failure};

use crate::cloud::{Cloud, Deployed, Options, REGION};
use crate::database::{self, identifier, literal};
use crate::host::{Target, checkout};
use crate::instance::Instance;
use crate::process::Job;
use crate::progress::Progress;
use crate::ready::Ready;
use crate::slack::{self, Slack};
use crate::{binaries, python};

/// The account of a person; tests bring their own.
pub const ACCOUNT: &str = "123456789012";
/// Where the credential of the example shop lies, which is rotated.
pub const ROTATED_PARAMETER: &str = "/shop/DATABASE_URL";
const INSTANCE: &str = "app-db";
const MAJOR: u32 = 17;
const DATABASE: &str = "app";
pub(crate) const BACKUP_ROLE: &str = "lifeboat_backup";
const CHANNEL: &str = "#ops";
const SHOP: &str = include_str!("shop.sql");

/// What to build.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Port of the endpoint; `None`: any free one.
    pub port: Option<u16>,
    /// `dev`, `staging` or `prod`.
    pub stage: String,
    /// The user's own schema and data instead of the shop.
    pub sql: Option<PathBuf>,
}

/// A step that was done, and how long it took.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// What.
    pub what: String,
    /// How long.
    pub seconds: f64,
}

/// All that runs. Dropping it ends everything.
#[derive(Debug)]
pub struct World {
    /// The cloud.
    pub cloud: Cloud,
    /// The Slack stand-in.
    pub slack: Slack,
    /// The guarded instance.
    pub instance: Instance,
    /// Lifeboat's stack.
    pub deployed: Deployed,
    /// Its name.
    pub stack_name: String,
    /// `dev`.
    pub stage: String,
    /// The guarded database.
    pub database: String,
    /// Whether it is the built-in shop, not a file.
    pub has_shop: bool,
    /// The guarded database as the role that Lifeboat uses.
    pub backup_url: String,
    /// As the one who loaded the database, and may restore it.
    pub owner_url: String,
    /// What was done to get here.
    pub done: Vec<Done>,
}

/// Runs a step and notes its time.
async fn step<T>(done: &mut Vec<Done>, progress: &Progress, what: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    progress.step(what);
    let began = Instant::now();
    let result = work.await.context(what)?;
    done.push(Done { what: what.to_owned(), seconds: began.elapsed().as_secs_f64() });
    Ok(result)
}

impl World {
    /// Builds it all.
    ///
    /// # Errors
    /// When something is missing or fails; what was started is ended.
    pub async fn build(plan: &Plan, progress: &Progress) -> Result<Self, Failure> {
        let mut done = Vec::new();
        let target = Target::of_this_program()?;
        let prepare = async { tokio::try_join!(binaries::build(&target, progress), python::environment(&target, progress)) };
        let (functions, python) = step(&mut done, progress, "prepare the functions and the local cloud's Python", prepare).await?;
        let options = Options { python, functions, port: plan.port, postgres: Vec::new() };
        let start = async { tokio::try_join!(Cloud::start(&options), async { Slack::start(&slack::Options::default()).await }) };
        let (cloud, slack) = step(&mut done, progress, "start the local cloud", start).await?;
        let create = Box::pin(cloud.create_instance(ACCOUNT, INSTANCE, MAJOR));
        let instance = step(&mut done, progress, &format!("create the RDS instance {INSTANCE} (PostgreSQL {MAJOR}, TLS)"), create).await?;
        let what = plan.sql.as_ref().map_or_else(|| "fill the database".to_owned(), |file| format!("load {}", file.display()));
        let owner_url = step(&mut done, progress, &what, fill(&instance, plan)).await?;
        let role = create_backup_role(&instance);
        let backup_url = step(&mut done, progress, &format!("create the least-privilege role {BACKUP_ROLE}"), role).await?;
        let stack_name = format!("lifeboat-{}", plan.stage);
        let deploy = deploy(&cloud, &slack, &instance, &stack_name, &plan.stage, &backup_url);
        let deployed = step(&mut done, progress, &format!("deploy template.yaml as {stack_name}, with IAM enforced"), deploy).await?;
        let (stage, database) = (plan.stage.clone(), DATABASE.to_owned());
        let has_shop = plan.sql.is_none();
        Ok(Self { cloud, slack, instance, deployed, stack_name, stage, database, has_shop, backup_url, owner_url, done })
    }

    /// What somebody else needs to use it.
    ///
    /// # Errors
    /// Never in practice: the URLs are our own.
    pub fn ready(&self) -> Result<Ready, Failure> {
        Ok(Ready {
            endpoint: self.cloud.endpoint.clone(),
            region: REGION.to_owned(),
            account: ACCOUNT.to_owned(),
            stage: self.stage.clone(),
            stack_name: self.stack_name.clone(),
            outputs: self.deployed.outputs.clone(),
            instance: self.instance.id.clone(),
            database_url: self.backup_url.clone(),
            admin_url: database::with_database(&self.instance.admin_url, &self.database)?,
            ca_file: self.cloud.ca_file.clone(),
            slack_url: self.slack.url.clone(),
            postgres_bin_folder: self.instance.bin_folder.clone(),
            pid: std::process::id(),
        })
    }
}

/// The database with its content; gives the URL of its owner.
async fn fill(instance: &Instance, plan: &Plan) -> Result<String, Failure> {
    database::create(instance, DATABASE).await?;
    let Some(file) = &plan.sql else {
        let url = database::with_database(&instance.master_url, DATABASE)?;
        let mut connection = database::connect(instance, &url).await?;
        database::run(&mut connection, SHOP).await?;
        database::run(&mut connection, "vacuum analyze").await?;
        return Ok(url);
    };
    // As a superuser: what RDS allows its master user beyond PostgreSQL's own rules is not modelled here.
    let url = database::with_database(&instance.admin_url, DATABASE)?;
    database::run_file(instance, &url, file).await?;
    Ok(url)
}

/// The grants are those of DEPLOYMENT.md; what only some databases need is given where it is needed.
async fn create_backup_role(instance: &Instance) -> Result<String, Failure> {
    let password = format!("{:032x}", rand::random::<u128>());
    let (role, database) = (identifier(BACKUP_ROLE), identifier(DATABASE));
    // Made by the master user, as on RDS: a drill may then lock it in a restored copy.
    let made = format!(
        "create role {role} login password {password}; grant pg_read_all_data to {role}; grant connect on database {database} to {role}",
        password = literal(&password),
    );
    let url = database::with_database(&instance.master_url, DATABASE)?;
    database::run(&mut database::connect(instance, &url).await?, &made).await?;
    let sql = format!(
        "do $$
         declare one oid;
         begin
             if exists (select from pg_class where relrowsecurity) then alter role {role} bypassrls; end if;
             for one in select oid from pg_largeobject_metadata loop execute format('grant select on large object %s to {role}', one); end loop;
         end
         $$"
    );
    database::run_as_admin(instance, DATABASE, &sql).await?;
    database::with_database(&database::with_user(&instance.master_url, BACKUP_ROLE, &password)?, DATABASE)
}

async fn deploy(cloud: &Cloud, slack: &Slack, instance: &Instance, stack_name: &str, stage: &str, backup_url: &str) -> Result<Deployed, Failure> {
    cloud.put_secret(ACCOUNT, &format!("/lifeboat/{stage}/database-url"), backup_url).await?;
    cloud.put_secret(ACCOUNT, &format!("/lifeboat/{stage}/slack"), &slack.token).await?;
    let network = cloud.network(ACCOUNT).await?;
    let parameters = [
        ("Databases", DATABASE.to_owned()),
        ("RotatedParameterArns", format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{ROTATED_PARAMETER}")),
        ("VpcId", network.vpc_id),
        ("VpcSubnetIds", network.subnet_ids.join(",")),
        ("VpcSecurityGroupIds", network.security_group_id),
        ("BackupBucketName", format!("{stack_name}-{ACCOUNT}")),
        ("SlackChannel", CHANNEL.to_owned()),
        ("SlackApiUrl", slack.api_url.clone()),
        ("GitSha", git_sha().await),
    ];
    cloud.deploy_lifeboat(ACCOUNT, stack_name, stage, instance, &parameters).await
}

/// The commit of the checkout, as the template wants it.
async fn git_sha() -> String {
    let asked = Job::new("git").folder(checkout()).args(["rev-parse", "HEAD"]).run_well().await;
    let sha = asked.ok().and_then(|ended| String::from_utf8(ended.stdout).ok()).map(|sha| sha.trim().to_owned());
    sha.filter(|sha| sha.len() == 40).unwrap_or_else(|| "unknown".to_owned())
}
