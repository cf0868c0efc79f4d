//! RDS instances of the local cloud: made through the RDS API, backed by a real PostgreSQL.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;
use shared::failure::{Context, Failure};

use crate::attempt::failed;
use crate::cloud::Cloud;

const MASTER: &str = "lifeboat_master";
const AVAILABLE_SECONDS_MAX: u64 = 120;
/// The SDK's own waiter asks every 30 seconds; a local instance is there in one.
const POLL: Duration = Duration::from_millis(100);

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
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    admin_url: String,
    master_url: String,
    host: String,
    port: u16,
    bin_folder: PathBuf,
    tls: bool,
}

impl Cloud {
    /// Creates an instance and waits until it is available.
    ///
    /// # Errors
    /// When RDS refuses: the major is not offered (15 is Debian's; 16, 17 and 18 come along), or the identifier is taken.
    pub async fn create_instance(&self, account: &str, id: &str, major: u32) -> Result<Instance, Failure> {
        let rds = aws_sdk_rds::Client::new(&self.sdk_config(account));
        let password = format!("{:032x}", rand::random::<u128>());
        let create = rds.create_db_instance().db_instance_identifier(id).engine("postgres").engine_version(major.to_string());
        let create = create.db_instance_class("db.t4g.micro").allocated_storage(20).master_username(MASTER).master_user_password(password);
        create.send().await.map_err(|error| shared::aws::failure(error).context(format!("create the instance {id}")))?;
        let deadline = Instant::now() + Duration::from_secs(AVAILABLE_SECONDS_MAX);
        loop {
            let answer = rds.describe_db_instances().db_instance_identifier(id).send().await;
            let answer = answer.map_err(|error| shared::aws::failure(error).context(format!("describe the instance {id}")))?;
            let status = answer.db_instances().first().and_then(|instance| instance.db_instance_status.clone()).unwrap_or_default();
            match status.as_str() {
                "available" => break,
                "failed" => return Err(failed(format!("the instance {id} failed; see {}", self.folder.join("cloud.log").display()))),
                _ if Instant::now() > deadline => return Err(failed(format!("the instance {id} is still {status}"))),
                _ => tokio::time::sleep(POLL).await,
            }
        }
        self.instance(account, id, major).await
    }

    async fn instance(&self, account: &str, id: &str, major: u32) -> Result<Instance, Failure> {
        let shown: Shown = self.get("instance", &[("account", account), ("id", id)]).await.context(format!("look at the instance {id}"))?;
        Ok(Instance {
            id: id.to_owned(),
            major,
            host: shown.host,
            port: shown.port,
            master_url: shown.master_url,
            admin_url: shown.admin_url,
            tls: shown.tls,
            ca_file: self.ca_file.clone(),
            bin_folder: shown.bin_folder,
        })
    }
}
