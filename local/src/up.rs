//! `local up`: everything runs until somebody says stop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared::failure::Failure;

use crate::cli::{self, print};
use crate::progress::Progress;
use crate::ready::Ready;
use crate::world::{Plan, World};

/// Lifeboat on this machine: its own template on a local cloud, with a real PostgreSQL.
#[derive(Parser, Debug)]
#[command(name = "local", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Start everything, deploy, and stay until interrupted
    Up {
        /// Port of the AWS endpoint (default: a free one)
        #[arg(long)]
        port: Option<u16>,
        /// Where to write what is running and how to reach it, as JSON
        #[arg(long)]
        ready_file: Option<PathBuf>,
        /// Stage of the stack
        #[arg(long, default_value = "dev", value_parser = ["dev", "staging", "prod"])]
        stage: String,
        /// Load this SQL file (psql's own commands included) instead of the example shop
        #[arg(long)]
        sql: Option<PathBuf>,
    },
}

/// Does what the command line says.
///
/// # Errors
/// When something is missing or fails.
pub async fn main(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Command::Up { port, ready_file, stage, sql } = arguments.command;
    let progress = Progress::shown();
    let world = Box::pin(World::build(&Plan { port, stage, sql }, &progress)).await?;
    for unsupported in &world.deployed.unsupported {
        progress.step(&format!("not as on AWS: {unsupported}"));
    }
    let ready = world.ready()?;
    if let Some(file) = &ready_file {
        ready.write(file)?;
    }
    print(&what_to_try(&ready));
    let waiting = Remove(ready_file);
    cli::interrupted().await?;
    drop(waiting);
    Ok(ExitCode::SUCCESS)
}

/// The ready file goes with what it describes.
struct Remove(Option<PathBuf>);

impl Drop for Remove {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            let _ = std::fs::remove_file(file);
        }
    }
}

fn what_to_try(ready: &Ready) -> String {
    let output = |name: &str| ready.outputs.get(name).map_or("?", String::as_str);
    let (dump, verify, bucket) = (output("LogicalDumpFunctionName"), output("BackupVerifyFunctionName"), output("BackupBucketName"));
    let Ready { endpoint, region, account, slack_url, database_url, .. } = ready;
    let fire = |output_name| format!("{{\"account\":\"{account}\",\"schedule\":\"{}\"}}", output(output_name));
    let (ca, bin) = (ready.ca_file.display(), ready.postgres_bin_folder.display());
    format!(
        "
Lifeboat is up. Slack: {slack_url}

  export AWS_ENDPOINT_URL={endpoint} AWS_REGION={region} AWS_ACCESS_KEY_ID={account} AWS_SECRET_ACCESS_KEY=test

Dump now, verify now, look at what is there:
  aws lambda invoke --function-name {dump} --cli-binary-format raw-in-base64-out --payload '{{\"kind\":\"dump\"}}' /dev/stdout
  aws lambda invoke --function-name {verify} --cli-binary-format raw-in-base64-out --payload '{{\"kind\":\"verify\"}}' /dev/stdout
  aws s3 ls --recursive s3://{bucket}/
Fire a schedule as EventBridge would:
  curl -d '{dump_now}' {endpoint}/_lifeboat/fire
  curl -d '{verify_now}' {endpoint}/_lifeboat/fire
The guarded database, as the role that Lifeboat has:
  PGSSLROOTCERT='{ca}' PGSSLMODE=verify-full '{bin}/psql' '{database_url}'

Ctrl-C ends everything.",
        dump_now = fire("DumpScheduleName"),
        verify_now = fire("VerifyScheduleName"),
    )
}
