//! Executions of Step Functions machines in the local cloud: waiting for their end, and how fast their time goes.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use shared::failure::{Context, Failure};

use crate::attempt::failed;
use crate::cloud::Cloud;

const POLL: Duration = Duration::from_millis(50);
const RUNNING: &str = "RUNNING";

/// An execution that has ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Execution {
    /// `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: String,
    /// What it gave, JSON as text; only one that succeeded gives something.
    pub output: Option<String>,
    /// Name of the error that ended it.
    pub error: Option<String>,
    /// What is known of the error.
    pub cause: Option<String>,
}

impl Execution {
    /// The output as a value; null if there is none.
    pub fn value(&self) -> Value {
        self.output.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

impl Cloud {
    /// Waits until an execution, by its ARN, has ended, however it ends.
    ///
    /// # Errors
    /// When there is no such execution, or it still runs after `limit`.
    pub async fn wait_for_execution(&self, account: &str, arn: &str, limit: Duration) -> Result<Execution, Failure> {
        let region = arn.split(':').nth(3).unwrap_or_default();
        let deadline = Instant::now() + limit;
        loop {
            let query = [("account", account), ("region", region), ("arn", arn)];
            let seen: Execution = self.get("execution", &query).await.context(format!("look at the execution {arn}"))?;
            if seen.status != RUNNING {
                return Ok(seen);
            }
            if Instant::now() > deadline {
                return Err(failed(format!("the execution {arn} still runs after {} s", limit.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sets which part of their time the waits and retry pauses of an account's machines take, between 0 and 1. A hundredth is what an account
    /// has from the start. Limits of time are never scaled.
    ///
    /// # Errors
    /// When it is not between 0 and 1.
    pub async fn set_time_scale(&self, account: &str, scale: f64) -> Result<(), Failure> {
        let request = json!({"account": account, "timeScale": scale});
        self.post::<Value>("states", &request).await.map(|_| ()).context("set the time scale")
    }
}
