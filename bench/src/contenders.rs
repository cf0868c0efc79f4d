//! The ways to dump that are compared, each from its start to the last byte stored: ours, the two that people use, and the ceiling.

use std::path::PathBuf;
use std::time::Duration;

use local::process::Job;
use local::{Outcome, Runner};
use serde::Serialize;
use serde_json::json;
use shared::failure::{Context, Failure, FailureKind};
use tokio::time::Instant;

use crate::cpu;
use crate::server::Server;
use crate::sink::Sink;

pub(crate) const BUCKET: &str = "bench";
const LIMIT: Duration = Duration::from_mins(15);

/// A way to dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// The function `logical-dump`, with the default of 2 connections and zstd:1.
    Lifeboat,
    /// `pg_dump -Fd -j2 --compress=zstd:1`, then `aws s3 sync`.
    Directory,
    /// `pg_dump -Fc | aws s3 cp -`.
    Custom,
    /// `COPY … TO STDOUT > /dev/null` on 2 connections: nobody who reads all rows as text can be faster.
    Ceiling,
}

impl Contender {
    /// What is run, for a person.
    pub fn title(self) -> &'static str {
        match self {
            Self::Lifeboat => "lifeboat logical-dump",
            Self::Directory => "pg_dump -Fd -j2 zstd:1 + aws s3 sync",
            Self::Custom => "pg_dump -Fc | aws s3 cp -",
            Self::Ceiling => "2 x COPY TO STDOUT > /dev/null",
        }
    }
}

/// What one run took.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Who.
    pub contender: Contender,
    /// From its start to its end.
    pub seconds: f64,
    /// The part of it before anything was uploaded, where that is a step of its own.
    pub before_upload_seconds: Option<f64>,
    /// Bytes stored.
    pub stored_bytes: u64,
    /// Objects stored.
    pub objects: usize,
    /// Requests to S3.
    pub requests: u64,
    /// CPU seconds of its programs.
    pub client_cpu_seconds: f64,
    /// CPU seconds of PostgreSQL.
    pub server_cpu_seconds: f64,
    /// CPU seconds of the sink.
    pub sink_cpu_seconds: f64,
    /// Peak of its resident memory, where it was sampled.
    pub peak_rss_bytes: Option<u64>,
    /// Load average of the machine when it began.
    pub load: f64,
}

/// What our dump took.
pub struct Dumped {
    /// Peak of the resident memory of the function and pg_dump together.
    pub peak_rss_bytes: u64,
    /// CPU seconds of the two.
    pub cpu_seconds: f64,
}

/// Where the measuring happens.
pub struct Field<'a> {
    /// The server.
    pub server: &'a Server,
    /// The sink.
    pub sink: &'a Sink,
    /// The release build of the function.
    pub function: PathBuf,
    /// The AWS command line.
    pub aws: PathBuf,
    /// A folder for what needs one.
    pub folder: PathBuf,
}

impl Field<'_> {
    /// Runs one contender against a database.
    ///
    /// # Errors
    /// When it fails: what it said.
    pub async fn run(&self, contender: Contender, database: &str) -> Result<Measured, Failure> {
        self.sink.clear();
        let ceiling = if contender == Contender::Ceiling { halves(self.server, database).await? } else { Vec::new() };
        let load = cpu::load();
        let (server, own) = (self.server.cpu_seconds(), cpu::of_process("self"));
        let began = Instant::now();
        let (mut before_upload, mut dumped) = (None, None);
        match contender {
            Contender::Lifeboat => dumped = Some(self.lifeboat(database).await?),
            Contender::Directory => {
                let folder = self.pg_dump_directory(database).await?;
                before_upload = Some(began.elapsed().as_secs_f64());
                let sync = self.aws(Job::new(&self.aws)).args(["s3", "sync", "--only-show-errors"]).args([&folder]);
                sync.args([format!("s3://{BUCKET}/directory/")]).run_well().await?;
            }
            Contender::Custom => {
                let pipe = format!(
                    "set -o pipefail; '{}' -Fc | '{}' s3 cp --only-show-errors - s3://{BUCKET}/custom.dump",
                    self.program("pg_dump"),
                    self.aws.display()
                );
                let job = self.server.environment(database).into_iter().fold(self.aws(Job::new("bash")), |job, (name, value)| job.env(name, value));
                job.args(["-c", &pipe]).run_well().await?;
            }
            Contender::Ceiling => {
                futures_util::future::try_join_all(ceiling.iter().map(Job::run_well)).await?;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        // The last sessions take a moment to end, and only then does the server know their time.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = cpu::of_process("self");
        let objects = self.sink.objects("");
        let measured = Measured {
            contender,
            seconds,
            before_upload_seconds: before_upload,
            stored_bytes: objects.values().map(|object| object.size_bytes).sum(),
            objects: objects.len(),
            requests: self.sink.clear(),
            client_cpu_seconds: dumped.as_ref().map_or(now.ended_children() - own.ended_children(), |dumped| dumped.cpu_seconds),
            server_cpu_seconds: self.server.cpu_seconds() - server,
            sink_cpu_seconds: now.own() - own.own(),
            peak_rss_bytes: dumped.map(|dumped| dumped.peak_rss_bytes),
            load,
        };
        if contender == Contender::Directory {
            std::fs::remove_dir_all(self.folder.join("directory")).context("remove the folder of pg_dump")?;
        }
        Ok(measured)
    }

    /// What a function's process is given, with `more` on top.
    pub fn environment(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let (bin_folder, folder) = (self.server.bin_folder.display().to_string(), self.folder.display().to_string());
        let common = [
            ("AWS_ENDPOINT_URL", self.sink.url.as_str()),
            ("AWS_ACCESS_KEY_ID", "bench"),
            ("AWS_SECRET_ACCESS_KEY", "bench"),
            ("AWS_REGION", "eu-central-1"),
            ("LIFEBOAT_STAGE", "dev"),
            ("LIFEBOAT_INSTANCE", "bench"),
            ("LIFEBOAT_BUCKET", BUCKET),
            ("LIFEBOAT_TOPIC_ARN", "arn:aws:sns:eu-central-1:000000000000:bench"),
            ("LIFEBOAT_RUNBOOK_URL", "https://example.invalid/runbook"),
            ("POSTGRES_CLIENT_FOLDER", &bin_folder),
            ("TMPDIR", &folder),
            // As template.yaml sets them. Otherwise glibc, once a part of an upload has been freed, keeps all that follow in heaps that only grow.
            ("MALLOC_MMAP_THRESHOLD_", "1048576"),
            ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ];
        common.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Our dump.
    ///
    /// # Errors
    /// When it fails.
    pub async fn lifeboat(&self, database: &str) -> Result<Dumped, Failure> {
        // For trying out settings; a measurement that is written down sets none.
        let names = ["CONNECTIONS", "COMPRESSION", "SLICE_BYTES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"];
        let tried: Vec<(&str, String)> = names.into_iter().filter_map(|name| Some((name, shared::env::process(name)?))).collect();
        let mut more = vec![("DATABASE_URL_PARAMETER", "/lifeboat/dev/database-url"), ("DATABASES", database)];
        more.extend(tried.iter().map(|(name, value)| (*name, value.as_str())));
        let environment = self.environment(&more);
        let runner = Runner::start(&self.function, &environment).await?;
        let outcome = runner.invoke(&json!({"kind": "dump"}), LIMIT).await;
        let peak_rss_bytes = runner.peak_rss_bytes();
        let cpu_seconds = cpu::of_process(&runner.pid().to_string()).with_ended_children();
        let (_, errors) = runner.end().await;
        match outcome {
            Outcome::Ok(report) if report["outcome"] == "ok" => Ok(Dumped { peak_rss_bytes, cpu_seconds }),
            other => Err(Failure::new(FailureKind::Other, format!("the dump did not end well: {other:?} {}", errors.join("\n")))),
        }
    }

    /// pg_dump's own directory archive, as ours is compressed.
    ///
    /// # Errors
    /// When it fails.
    pub async fn pg_dump_directory(&self, database: &str) -> Result<PathBuf, Failure> {
        let folder = self.folder.join("directory");
        let job = self.server.client("pg_dump", database).args(["-Fd", "-j2", "--compress=zstd:1", "--no-sync", "-f"]).args([&folder]);
        job.run_well().await.map(|_| folder)
    }

    fn program(&self, name: &str) -> String {
        self.server.bin_folder.join(name).display().to_string()
    }

    fn aws(&self, job: Job) -> Job {
        job.env("AWS_ENDPOINT_URL", &self.sink.url)
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOME", &self.folder)
    }
}

/// Every row of the database by two psql: big tables in halves of their pages, the others to whoever has less.
async fn halves(server: &Server, database: &str) -> Result<Vec<Job>, Failure> {
    const WHOLE_BYTES_MAX: u64 = 64 << 20;
    let listed = server
        .ask(database, "SELECT oid::regclass, pg_table_size(oid), relpages FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC")
        .await?;
    let mut scripts = [(0, String::new()), (0, String::new())];
    for line in listed.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let number = |place: usize| fields.get(place).and_then(|field: &&str| field.parse::<u64>().ok()).unwrap_or(0);
        let (table, bytes, middle) = (fields[0], number(1), number(2) / 2);
        if bytes > WHOLE_BYTES_MAX {
            scripts[0].1 += &format!("COPY (SELECT * FROM ONLY {table} WHERE ctid < '({middle},0)') TO STDOUT;\n");
            scripts[1].1 += &format!("COPY (SELECT * FROM ONLY {table} WHERE ctid >= '({middle},0)') TO STDOUT;\n");
        } else {
            scripts.sort_by_key(|(bytes, _)| *bytes);
            scripts[0].0 += bytes;
            scripts[0].1 += &format!("COPY {table} TO STDOUT;\n");
        }
    }
    Ok(scripts.iter().map(|(_, script)| server.psql(database, script).args(["-o", "/dev/null"])).collect())
}
