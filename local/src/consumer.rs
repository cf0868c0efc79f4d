//! Who reads a secret, in the local cloud: how the next deployment of an ECS service or restart of an Elastic Beanstalk environment ends. Nothing
//! runs behind them: a test that needs a consumer runs a process of its own, and lets the deployment end when that has been restarted.

use serde::Deserialize;
use serde_json::{Value, json};
use shared::failure::{Context, Failure};

use crate::cloud::Cloud;

/// How the next deployment or operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Well, after a third of a second.
    Succeed,
    /// Not before it is released.
    Hold,
    /// Badly. An ECS service without a circuit breaker goes on trying for ever.
    Fail,
}

impl Next {
    const fn name(self) -> &'static str {
        match self {
            Self::Succeed => "succeed",
            Self::Hold => "hold",
            Self::Fail => "fail",
        }
    }
}

/// An ECS service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceState {
    /// The newest first.
    pub deployments: Vec<ServiceDeployment>,
    /// The newest first.
    pub events: Vec<String>,
    /// Tasks that run.
    pub running_count: u32,
}

/// A deployment of an ECS service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDeployment {
    /// `ecs-svc/…`.
    pub id: String,
    /// `PRIMARY` or `ACTIVE`.
    pub status: String,
    /// `IN_PROGRESS`, `COMPLETED` or `FAILED`.
    pub rollout_state: String,
}

/// An Elastic Beanstalk environment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EnvironmentState {
    /// `Launching`, `Updating`, `Ready`, `Terminating`.
    pub status: String,
    /// `Green`, `Red`, `Grey`.
    pub health: String,
    /// The newest first.
    pub events: Vec<String>,
}

impl Cloud {
    /// An ECS service.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ecs_service(&self, account: &str, cluster: &str, service: &str) -> Result<ServiceState, Failure> {
        self.change_service(account, cluster, service, &json!({})).await
    }

    /// Says how the next deployment of an ECS service ends.
    ///
    /// # Errors
    /// When there is no such service.
    pub async fn set_next_deployment(&self, account: &str, cluster: &str, service: &str, next: Next) -> Result<ServiceState, Failure> {
        self.change_service(account, cluster, service, &json!({"next": next.name()})).await
    }

    /// Lets a deployment that is held end.
    ///
    /// # Errors
    /// When there is no such service.
    pub async fn release_deployment(&self, account: &str, cluster: &str, service: &str) -> Result<ServiceState, Failure> {
        self.change_service(account, cluster, service, &json!({"release": true})).await
    }

    /// An Elastic Beanstalk environment.
    ///
    /// # Errors
    /// When there is none.
    pub async fn environment(&self, account: &str, environment: &str) -> Result<EnvironmentState, Failure> {
        self.change_environment(account, environment, &json!({})).await
    }

    /// Says how the next operation on an environment ends.
    ///
    /// # Errors
    /// When there is no such environment.
    pub async fn set_next_operation(&self, account: &str, environment: &str, next: Next) -> Result<EnvironmentState, Failure> {
        self.change_environment(account, environment, &json!({"next": next.name()})).await
    }

    /// Lets an operation that is held end.
    ///
    /// # Errors
    /// When there is no such environment.
    pub async fn release_operation(&self, account: &str, environment: &str) -> Result<EnvironmentState, Failure> {
        self.change_environment(account, environment, &json!({"release": true})).await
    }

    /// Makes the next reads of a parameter answer the version before the newest: SSM does not promise that a read sees the write before it.
    ///
    /// # Errors
    /// When the cloud is gone.
    pub async fn set_stale_reads(&self, account: &str, parameter: &str, reads: u32) -> Result<(), Failure> {
        let request = json!({"account": account, "name": parameter, "staleReads": reads});
        self.post::<Value>("ssm", &request).await.map(|_| ()).context("make reads stale")
    }

    /// Makes the next writes of a parameter fail with `TooManyUpdates`.
    ///
    /// # Errors
    /// When the cloud is gone.
    pub async fn set_colliding_writes(&self, account: &str, parameter: &str, writes: u32) -> Result<(), Failure> {
        let request = json!({"account": account, "name": parameter, "tooManyUpdates": writes});
        self.post::<Value>("ssm", &request).await.map(|_| ()).context("make writes collide")
    }

    async fn change_service(&self, account: &str, cluster: &str, service: &str, change: &Value) -> Result<ServiceState, Failure> {
        let request = with(change, &[("account", account), ("cluster", cluster), ("service", service)]);
        self.post("ecs", &request).await.context(format!("look at the service {service}"))
    }

    async fn change_environment(&self, account: &str, environment: &str, change: &Value) -> Result<EnvironmentState, Failure> {
        let request = with(change, &[("account", account), ("environment", environment)]);
        self.post("beanstalk", &request).await.context(format!("look at the environment {environment}"))
    }
}

fn with(change: &Value, fields: &[(&str, &str)]) -> Value {
    let mut request = change.clone();
    for (name, value) in fields {
        request[*name] = (*value).into();
    }
    request
}
