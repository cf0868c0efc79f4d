//! The local cloud: one Python process (with its children) that speaks AWS's protocols on a loopback port. It lives as long as this handle.
//!
//! Isolation is by account: everything here takes an account id, and what belongs to one account is never seen by another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::failure::{Context, Failure};

use crate::attempt::{Attempt, failed};
use crate::host::{checkout, free_port};
use crate::process;

/// The region that everything is in, unless another one is named.
pub const REGION: &str = "eu-central-1";
/// Another region, for copies.
pub const OTHER_REGION: &str = "eu-west-1";
const READY_SECONDS_MAX: u64 = 60;
const END_SECONDS_MAX: u64 = 30;
const START_ATTEMPTS_MAX: usize = 3;
/// Step Functions' waits and pauses between retries take this part of their time: a wait of 30 seconds takes 0.3.
const STATES_TIME_SCALE: &str = "0.01";

/// How to start a cloud.
#[derive(Clone, Debug)]
pub struct Options {
    /// Python of the virtual environment ([`crate::python::environment`]).
    pub python: PathBuf,
    /// Folder with one binary for each function ([`crate::binaries::build`]).
    pub functions: PathBuf,
    /// Port of the endpoint; `None`: any free one.
    pub port: Option<u16>,
    /// PostgreSQL programs by major, instead of those that the cloud finds.
    pub postgres: Vec<(u32, PathBuf)>,
}

/// A running cloud. Dropping it ends it, waits until all its processes are gone and its folder is removed.
#[derive(Debug)]
pub struct Cloud {
    /// `http://127.0.0.1:PORT`, of every service.
    pub endpoint: String,
    /// The authority of the RDS instances' certificates.
    pub ca_file: PathBuf,
    /// Its working folder, with `cloud.log`.
    pub folder: PathBuf,
    http: reqwest::Client,
    _process: Process,
}

/// What a deployment gave.
#[derive(Clone, Debug, Deserialize)]
pub struct Deployed {
    /// The stack's outputs.
    pub outputs: BTreeMap<String, String>,
    /// What the template uses and the local cloud does not do as AWS does.
    pub unsupported: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

impl Deployed {
    /// An output.
    ///
    /// # Errors
    /// When the template has no such output.
    pub fn output(&self, name: &str) -> Result<&str, Failure> {
        self.outputs.get(name).map(String::as_str).ok_or_else(|| failed(format!("the stack has no output {name}")))
    }
}

/// The default network of an account, as every new AWS account has one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The VPC.
    pub vpc_id: String,
    /// Its subnets.
    pub subnet_ids: Vec<String>,
    /// Its default security group.
    pub security_group_id: String,
}

/// A call that somebody made, as IAM saw it.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    /// Number, rising over all accounts.
    pub n: u64,
    /// When.
    pub time: String,
    /// ARN of the role, of the root user, or name of the service.
    pub principal: String,
    /// `s3:PutObject`.
    pub action: String,
    /// ARN.
    pub resource: String,
    /// Whether it was allowed.
    pub allowed: bool,
    /// The function or schedule that made it, if known.
    pub source: Option<String>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    endpoint: String,
    ca_file: PathBuf,
}

impl Cloud {
    /// Starts a cloud and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up; the message has the end of its log.
    pub async fn start(options: &Options) -> Result<Self, Failure> {
        // Between choosing a free port and binding it, somebody else may take it.
        let attempts = if options.port.is_some() { 1 } else { START_ATTEMPTS_MAX };
        let mut result = Err(failed("no attempt was made"));
        for _ in 0..attempts {
            let options = options.clone();
            result = tokio::task::spawn_blocking(move || start_blocking(&options)).await.attempt("start the local cloud")?;
            if result.is_ok() {
                break;
            }
        }
        result.context("start the local cloud")
    }

    /// Creates or updates a stack from a SAM template of the checkout, with the functions' binaries.
    ///
    /// # Errors
    /// When CloudFormation refuses; the message names the resource.
    pub async fn deploy(&self, account: &str, stack_name: &str, template: &Path, parameters: &Value) -> Result<Deployed, Failure> {
        self.deploy_with(account, stack_name, template, parameters, &json!({})).await
    }

    /// The same, with variables added to functions: by logical id, or `*` for all.
    ///
    /// # Errors
    /// When CloudFormation refuses; the message names the resource.
    pub async fn deploy_with(
        &self,
        account: &str,
        stack_name: &str,
        template: &Path,
        parameters: &Value,
        environment: &Value,
    ) -> Result<Deployed, Failure> {
        let request = json!({
            "account": account, "stackName": stack_name, "template": template, "parameters": parameters, "environment": environment,
        });
        self.post("deploy", &request).await.context(format!("deploy {stack_name}"))
    }

    /// The same as [`Self::deploy`], in another region.
    ///
    /// # Errors
    /// When CloudFormation refuses; the message names the resource.
    pub async fn deploy_in(&self, account: &str, region: &str, stack_name: &str, template: &Path, parameters: &Value) -> Result<Deployed, Failure> {
        let request = json!({"account": account, "region": region, "stackName": stack_name, "template": template, "parameters": parameters});
        self.post("deploy", &request).await.context(format!("deploy {stack_name} in {region}"))
    }

    /// Evaluates all alarms of an account as of `at` (else now), missing data too, and carries out their actions; the states by alarm name.
    ///
    /// # Errors
    /// When the cloud is gone.
    pub async fn evaluate_alarms(&self, account: &str, at: Option<DateTime<Utc>>) -> Result<BTreeMap<String, String>, Failure> {
        self.post("alarms", &json!({"account": account, "at": at.map(|at| at.to_rfc3339())})).await.context("evaluate the alarms")
    }

    /// Sets how a bucket replicates: `on`, `paused` or `failing`; the number of object versions that wait.
    ///
    /// # Errors
    /// When there is no such bucket.
    pub async fn set_replication(&self, account: &str, bucket: &str, mode: &str) -> Result<u64, Failure> {
        let answer: Value = self.post("s3", &json!({"account": account, "bucket": bucket, "replication": mode})).await?;
        Ok(answer["waiting"].as_u64().unwrap_or_default())
    }

    /// Fires a schedule now, by its real way of delivery, as if its time (`at`, else now) had come.
    ///
    /// # Errors
    /// When there is no such schedule. What becomes of the delivery shows in its target or its dead-letter queue.
    pub async fn fire(&self, account: &str, schedule: &str, at: Option<DateTime<Utc>>) -> Result<(), Failure> {
        let at = at.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        let mut request = json!({"account": account, "schedule": schedule});
        if let Some(at) = at {
            request["at"] = at.into();
        }
        self.post::<Value>("fire", &request).await.map(|_| ()).context(format!("fire the schedule {schedule}"))
    }

    /// The calls of an account, in order, after the one of number `since`.
    ///
    /// # Errors
    /// When the cloud is gone.
    pub async fn calls(&self, account: &str, since: u64) -> Result<Vec<Call>, Failure> {
        self.get("calls", &[("account", account), ("since", &since.to_string())]).await
    }

    /// Removes everything of an account.
    ///
    /// # Errors
    /// When the cloud is gone.
    pub async fn drop_account(&self, account: &str) -> Result<(), Failure> {
        self.post::<Value>("account/drop", &json!({"account": account})).await.map(|_| ())
    }

    /// Clients' configuration as root of an account.
    pub fn sdk_config(&self, account: &str) -> SdkConfig {
        self.sdk_config_through(&self.endpoint, account)
    }

    /// The same in another region.
    pub fn sdk_config_in(&self, account: &str, region: &str) -> SdkConfig {
        self.sdk_config(account).into_builder().region(Region::new(region.to_owned())).build()
    }

    /// The same through another endpoint: a fault proxy.
    pub fn sdk_config_through(&self, endpoint: &str, account: &str) -> SdkConfig {
        sdk_config(endpoint, Credentials::new(account, "test", None, None, "root of a local account"))
    }

    /// Clients' configuration with a role, as a function has it.
    ///
    /// # Errors
    /// When the role does not exist.
    pub async fn role_config(&self, account: &str, role_arn: &str) -> Result<SdkConfig, Failure> {
        Ok(sdk_config(&self.endpoint, self.role_credentials(account, role_arn).await?))
    }

    /// Credentials of a role, for the environment of a function that runs outside the cloud.
    ///
    /// # Errors
    /// When the role does not exist.
    pub async fn role_credentials(&self, account: &str, role_arn: &str) -> Result<Credentials, Failure> {
        let sts = aws_sdk_sts::Client::new(&self.sdk_config(account));
        let answer = sts.assume_role().role_arn(role_arn).role_session_name("local").send().await;
        let answer = answer.map_err(|error| shared::aws::failure(error).context(format!("assume {role_arn}")))?;
        let found = answer.credentials.ok_or_else(|| failed("assume-role gave no credentials"))?;
        Ok(Credentials::new(found.access_key_id, found.secret_access_key, Some(found.session_token), None, "role"))
    }

    /// The default network of an account.
    ///
    /// # Errors
    /// When the cloud does not answer.
    pub async fn network(&self, account: &str) -> Result<Network, Failure> {
        self.network_in(account, REGION).await
    }

    /// The default network of an account in a region.
    ///
    /// # Errors
    /// When the cloud does not answer.
    pub async fn network_in(&self, account: &str, region: &str) -> Result<Network, Failure> {
        self.get("network", &[("account", account), ("region", region)]).await.context("ask for the network")
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Failure> {
        let url = reqwest::Url::parse_with_params(&format!("{}/_lifeboat/{path}", self.endpoint), query).attempt("ask the local cloud")?;
        answer(self.http.get(url)).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, request: &Value) -> Result<T, Failure> {
        answer(self.http.post(format!("{}/_lifeboat/{path}", self.endpoint)).json(request)).await
    }
}

async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, Failure> {
    let answer = request.send().await.attempt("ask the local cloud")?;
    let status = answer.status();
    let body = answer.bytes().await.attempt("read the local cloud's answer")?;
    if !status.is_success() {
        let said = serde_json::from_slice::<Value>(&body).ok().and_then(|value| value["error"].as_str().map(str::to_owned));
        return Err(failed(said.unwrap_or_else(|| format!("status {status}: {}", String::from_utf8_lossy(&body)))));
    }
    serde_json::from_slice(&body).context("read the local cloud's answer")
}

/// Built from nothing: no profile, no variable of the user's environment can lead a call to the real AWS.
fn sdk_config(endpoint: &str, credentials: Credentials) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

fn start_blocking(options: &Options) -> Result<Cloud, Failure> {
    let port = options.port.map_or_else(free_port, Ok).context("find a free port")?;
    let folder = tempfile::Builder::new().prefix("lifeboat-").tempdir().context("make a working folder")?.keep();
    let mut command = process::command(&options.python);
    command.current_dir(checkout().join("local")).env_clear().args(["-m", "cloud", "--port", &port.to_string(), "--folder"]).arg(&folder);
    command.arg("--functions").arg(&options.functions).args(["--time-scale", STATES_TIME_SCALE]);
    for (major, bin_folder) in &options.postgres {
        command.arg("--postgres").arg(format!("{major}={}", bin_folder.display()));
    }
    // Bytecode would land in the checkout, which may be read-only.
    command.env("PATH", shared::env::process("PATH").unwrap_or_else(|| "/usr/bin:/bin".to_owned())).env("PYTHONDONTWRITEBYTECODE", "1");
    for name in ["LANG", "TMPDIR"] {
        command.envs(shared::env::process(name).map(|value| (name, value)));
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("start python")?;
    let stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut process = Process { child, stdin };
    match wait_until_ready(&mut process, stdout, stderr, &folder) {
        Ok(ready) => {
            let http = reqwest::Client::builder().no_proxy().build().attempt("make an HTTP client")?;
            Ok(Cloud { endpoint: ready.endpoint, ca_file: ready.ca_file, folder, http, _process: process })
        }
        Err(failure) => {
            drop(process);
            let _ = std::fs::remove_dir_all(&folder);
            Err(failure)
        }
    }
}

/// The ready line, or why there is none. The log is opened as soon as it exists: a cloud that fails takes its folder along.
fn wait_until_ready(
    process: &mut Process,
    stdout: Option<impl Read + Send + 'static>,
    stderr: Option<impl Read + Send + 'static>,
    folder: &Path,
) -> Result<Ready, Failure> {
    let (send, lines) = mpsc::channel();
    if let Some(stdout) = stdout {
        std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    }
    let messages = stderr.map(|mut stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
    let mut log = None;
    loop {
        log = log.or_else(|| File::open(folder.join("cloud.log")).ok());
        match lines.recv_timeout(Duration::from_millis(20)) {
            Ok(line) => {
                if let Ok(ready) = serde_json::from_str(&line) {
                    return Ok(ready);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
            Err(_) => break,
        }
    }
    process.end();
    let mut said = messages.and_then(|thread| thread.join().ok()).unwrap_or_default();
    if let Some(mut log) = log {
        let _ = log.read_to_string(&mut said);
    }
    let tail: Vec<&str> = said.lines().rev().take(30).collect();
    Err(failed(format!("it did not come up: {}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"))))
}

impl Process {
    /// Ends the cloud by the end of its standard input, and waits for its supervisor, which waits for everything else.
    fn end(&mut self) {
        self.stdin = None;
        let deadline = Instant::now() + Duration::from_secs(END_SECONDS_MAX);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Its own children end by their parent-death signals.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
