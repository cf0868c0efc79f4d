//! Read replicas of RDS instances in the local cloud, and how far they lag.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use shared::failure::{Context, Failure};

use crate::cloud::{Cloud, REGION};
use crate::instance::Instance;

/// How far a replica is behind its source.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Lag {
    /// Bytes of log that the source wrote and the replica did not replay.
    pub bytes: u64,
    /// Seconds since the last commit that it replayed was made; 0 if it has replayed all.
    pub seconds: f64,
    /// Whether its replay is paused.
    pub paused: bool,
}

impl Cloud {
    /// Creates a read replica of an instance, and waits until it can be read from.
    ///
    /// # Errors
    /// When RDS refuses: the source has no automated backups, or the identifier is taken.
    pub async fn create_replica(&self, account: &str, id: &str, source: &str) -> Result<Instance, Failure> {
        let rds = aws_sdk_rds::Client::new(&self.sdk_config(account));
        let create = rds.create_db_instance_read_replica().db_instance_identifier(id).source_db_instance_identifier(source);
        create.send().await.map_err(|error| shared::aws::failure(error).context(format!("create the replica {id}")))?;
        self.wait_for_instance(account, REGION, id).await
    }

    /// How far a replica is behind.
    ///
    /// # Errors
    /// When it is no replica, or it or its source does not run.
    pub async fn lag(&self, account: &str, id: &str) -> Result<Lag, Failure> {
        self.get("lag", &[("account", account), ("region", REGION), ("id", id)]).await.context(format!("ask {id} for its lag"))
    }

    /// Pauses a replica's replay: from now on it shows the past, until [`Self::resume_replay`].
    ///
    /// # Errors
    /// When it is no replica.
    pub async fn pause_replay(&self, account: &str, id: &str) -> Result<(), Failure> {
        self.set_rds(account, REGION, &json!({"instance": id, "replay": "paused"})).await.map(|_| ())
    }

    /// Lets a replica go on.
    ///
    /// # Errors
    /// When it is no replica.
    pub async fn resume_replay(&self, account: &str, id: &str) -> Result<(), Failure> {
        self.set_rds(account, REGION, &json!({"instance": id, "replay": "on"})).await.map(|_| ())
    }

    /// Makes a replica apply each commit this much later than it was made.
    ///
    /// # Errors
    /// When it is no replica.
    pub async fn set_apply_delay(&self, account: &str, id: &str, delay: Duration) -> Result<(), Failure> {
        let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.set_rds(account, REGION, &json!({"instance": id, "applyDelayMilliseconds": milliseconds})).await.map(|_| ())
    }

    /// Switches IAM database authentication of an instance on. Tokens are checked by PostgreSQL 15 only (`local/cloud/gaps.py`).
    ///
    /// # Errors
    /// When there is no such instance, or it is not available.
    pub async fn enable_iam_logins(&self, account: &str, id: &str) -> Result<(), Failure> {
        let rds = aws_sdk_rds::Client::new(&self.sdk_config(account));
        let modify = rds.modify_db_instance().db_instance_identifier(id).enable_iam_database_authentication(true).apply_immediately(true);
        modify.send().await.map(|_| ()).map_err(|error| shared::aws::failure(error).context(format!("switch IAM logins of {id} on")))
    }
}
