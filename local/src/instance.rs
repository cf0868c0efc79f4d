//! RDS instances of the local cloud: made through the RDS API, backed by a real PostgreSQL.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use aws_sdk_kms::Client as Kms;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::failure::{Context, Failure};

use crate::attempt::failed;
use crate::cloud::{Cloud, REGION};

const MASTER: &str = "lifeboat_master";
/// The customer managed key of an account's instances: snapshots under RDS's default key could not be shared.
const KEY_ALIAS: &str = "alias/local-databases";
const BACKUP_RETENTION_DAYS: i32 = 7;
const AVAILABLE_SECONDS_MAX: u64 = 120;
/// The SDK's own waiter asks every 30 seconds; a local instance is there in one.
const POLL: Duration = Duration::from_millis(100);
/// The states of an instance that will never be available.
const FAILURES: [&str; 3] = ["failed", "incompatible-restore", "incompatible-network"];

/// A running instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its identifier.
    pub id: String,
    /// Major version.
    pub major: u32,
    /// Address; its certificate names it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// As the master user, to the database `postgres`. Like RDS's: a member of `rds_superuser`, not a superuser.
    pub master_url: String,
    /// As a real superuser, which RDS has not: to plant what a master user cannot, and to look.
    pub admin_url: String,
    /// Whether it speaks TLS (and then insists on it).
    pub tls: bool,
    /// The authority of its certificate.
    pub ca_file: PathBuf,
    /// Folder of `psql`, `pg_dump`, `pg_restore` of its major.
    pub bin_folder: PathBuf,
    /// Its data folder, for a test that damages it while the server is stopped ([`Cloud::stop_server`]).
    pub folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    major: u32,
    admin_url: String,
    master_url: String,
    host: String,
    port: u16,
    bin_folder: PathBuf,
    folder: PathBuf,
    tls: bool,
}

impl Cloud {
    /// Creates an instance and waits until it is available. It is as an instance should be: encrypted under a customer managed key, with
    /// automated backups for seven days and deletion protection ([`Cloud::set_rds`] changes that).
    ///
    /// # Errors
    /// When RDS refuses: the major is not offered (15 is Debian's; 16, 17 and 18 come along), or the identifier is taken.
    pub async fn create_instance(&self, account: &str, id: &str, major: u32) -> Result<Instance, Failure> {
        let rds = aws_sdk_rds::Client::new(&self.sdk_config(account));
        let password = format!("{:032x}", rand::random::<u128>());
        let key = self.database_key(account, REGION).await?;
        let create = rds.create_db_instance().db_instance_identifier(id).engine("postgres").engine_version(major.to_string());
        let create = create.db_instance_class("db.t4g.micro").allocated_storage(20).master_username(MASTER).master_user_password(password);
        let create = create.storage_encrypted(true).kms_key_id(key).deletion_protection(true).backup_retention_period(BACKUP_RETENTION_DAYS);
        create.send().await.map_err(|error| shared::aws::failure(error).context(format!("create the instance {id}")))?;
        self.wait_for_instance(account, REGION, id).await
    }

    /// Waits until an instance is available, one that was restored from a snapshot, say.
    ///
    /// # Errors
    /// When there is none, it failed, or it takes too long.
    pub async fn wait_for_instance(&self, account: &str, region: &str, id: &str) -> Result<Instance, Failure> {
        let rds = aws_sdk_rds::Client::new(&self.sdk_config_in(account, region));
        let deadline = Instant::now() + Duration::from_secs(AVAILABLE_SECONDS_MAX);
        loop {
            let answer = rds.describe_db_instances().db_instance_identifier(id).send().await;
            let answer = answer.map_err(|error| shared::aws::failure(error).context(format!("describe the instance {id}")))?;
            let status = answer.db_instances().first().and_then(|instance| instance.db_instance_status.clone()).unwrap_or_default();
            match status.as_str() {
                "available" => break,
                status if FAILURES.contains(&status) => {
                    return Err(failed(format!("the instance {id} is {status}; see {}", self.folder.join("cloud.log").display())));
                }
                _ if Instant::now() > deadline => return Err(failed(format!("the instance {id} is still {status}"))),
                _ => tokio::time::sleep(POLL).await,
            }
        }
        self.instance(account, region, id).await
    }

    /// Ids of an account's instances but for one: what drills left, where nothing else makes any.
    ///
    /// # Errors
    /// When RDS does not answer.
    pub async fn scratch_instances(&self, account: &str, but: &str) -> Result<Vec<String>, Failure> {
        let rds = aws_sdk_rds::Client::new(&self.sdk_config(account));
        let answer = rds.describe_db_instances().send().await.map_err(|error| shared::aws::failure(error).context("list instances"))?;
        let ids = answer.db_instances().iter().filter_map(|instance| instance.db_instance_identifier().map(str::to_owned));
        Ok(ids.filter(|id| id != but).collect())
    }

    /// Waits until a snapshot is available.
    ///
    /// # Errors
    /// When there is none, it failed, or it takes too long.
    pub async fn wait_for_snapshot(&self, account: &str, region: &str, id: &str) -> Result<(), Failure> {
        let rds = aws_sdk_rds::Client::new(&self.sdk_config_in(account, region));
        let deadline = Instant::now() + Duration::from_secs(AVAILABLE_SECONDS_MAX);
        loop {
            let answer = rds.describe_db_snapshots().db_snapshot_identifier(id).send().await;
            let answer = answer.map_err(|error| shared::aws::failure(error).context(format!("describe the snapshot {id}")))?;
            match answer.db_snapshots().first().and_then(|snapshot| snapshot.status()) {
                Some("available") => return Ok(()),
                Some("failed") => return Err(failed(format!("the snapshot {id} failed; see {}", self.folder.join("cloud.log").display()))),
                status if Instant::now() > deadline => return Err(failed(format!("the snapshot {id} is still {status:?}"))),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Sets what tests set of RDS in an account and region: quotas, failures to come, the looks of an instance or a snapshot. The fields are those
    /// of `POST /_lifeboat/rds` in `local/cloud/README.md`; the answer is what holds then.
    ///
    /// # Errors
    /// When there is no such instance, snapshot or field.
    pub async fn set_rds(&self, account: &str, region: &str, settings: &Value) -> Result<Value, Failure> {
        let mut request = settings.clone();
        request["account"] = account.into();
        request["region"] = region.into();
        self.post("rds", &request).await.context("set RDS")
    }

    /// Stops the server behind an instance, cleanly, so that its files can be looked at and damaged. RDS knows nothing of it.
    ///
    /// # Errors
    /// When there is no such instance.
    pub async fn stop_server(&self, account: &str, region: &str, id: &str) -> Result<(), Failure> {
        self.set_rds(account, region, &json!({"instance": id, "stopServer": true})).await.map(|_| ())
    }

    /// Starts it again, at the same address.
    ///
    /// # Errors
    /// When it does not come up; the message has the end of its log.
    pub async fn start_server(&self, account: &str, region: &str, id: &str) -> Result<(), Failure> {
        self.set_rds(account, region, &json!({"instance": id, "startServer": true})).await.map(|_| ())
    }

    /// Brings the log that an instance has written so far into its automated backup: its latest restorable time is then now.
    ///
    /// # Errors
    /// When it has no automated backups.
    pub async fn archive_now(&self, account: &str, region: &str, id: &str) -> Result<(), Failure> {
        self.set_rds(account, region, &json!({"instance": id, "archiveNow": true})).await.map(|_| ())
    }

    /// The ARN of the customer managed key that the instances of an account are encrypted with, made when it is first asked for.
    ///
    /// # Errors
    /// When KMS refuses.
    pub async fn database_key(&self, account: &str, region: &str) -> Result<String, Failure> {
        let kms = Kms::new(&self.sdk_config_in(account, region));
        if let Some(arn) = key_arn(&kms).await {
            return Ok(arn);
        }
        let made = kms.create_key().description("Databases of the local cloud").send().await;
        let made = made.map_err(|error| shared::aws::failure(error).context("create a key"))?;
        let id = made.key_metadata.map(|key| key.key_id).unwrap_or_default();
        // Somebody else may have been quicker: then theirs it is.
        let _ = kms.create_alias().alias_name(KEY_ALIAS).target_key_id(id).send().await;
        key_arn(&kms).await.ok_or_else(|| failed("the key of the databases is not there"))
    }

    async fn instance(&self, account: &str, region: &str, id: &str) -> Result<Instance, Failure> {
        let query = [("account", account), ("region", region), ("id", id)];
        let shown: Shown = self.get("instance", &query).await.context(format!("look at the instance {id}"))?;
        Ok(Instance {
            id: id.to_owned(),
            major: shown.major,
            host: shown.host,
            port: shown.port,
            master_url: shown.master_url,
            admin_url: shown.admin_url,
            tls: shown.tls,
            ca_file: self.ca_file.clone(),
            bin_folder: shown.bin_folder,
            folder: shown.folder,
        })
    }
}

async fn key_arn(kms: &Kms) -> Option<String> {
    let described = kms.describe_key().key_id(KEY_ALIAS).send().await.ok()?;
    described.key_metadata?.arn
}
