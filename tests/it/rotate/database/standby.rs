//! A streaming standby of a test's server: another real server, on another port of the same address.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use local::database::{self, with_database};
use local::host::free_port;
use local::process::Job;
use local::{Instance, database::client_environment};
use rotate_secret::database::Place;
use tests::world::unique;

const START_MAX: Duration = Duration::from_mins(1);

/// It ends with this.
pub(super) struct Standby {
    /// Of its superuser.
    admin_url: String,
    port: u16,
    instance: Instance,
    running: tokio::task::JoinHandle<()>,
}

impl Standby {
    pub(super) async fn start(instance: &Instance) -> Self {
        let folder = instance.folder.parent().expect("the servers' folder").join(format!("standby-{}", unique()));
        let environment = client_environment(instance, &instance.admin_url).expect("a URL");
        let backup = as_owner(&instance.folder, instance.bin_folder.join("pg_basebackup"))
            .args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"])
            .args([&folder]);
        environment.into_iter().fold(backup, |job, (name, value)| job.env(name, value)).run_well().await.expect("a base backup");
        let port = free_port().expect("a port");
        let server = as_owner(&instance.folder, instance.bin_folder.join("postgres")).args(["-D"]).args([&folder]).args([
            "-c",
            &format!("port={port}"),
            "-c",
            "archive_mode=off",
        ]);
        let running = tokio::spawn(async move {
            let ended = server.folder("/").env("LC_ALL", "C.UTF-8").run().await.expect("run");
            panic!("the standby ended: {}", String::from_utf8_lossy(&ended.stderr));
        });
        let admin_url = instance.admin_url.replace(&format!(":{}/", instance.port), &format!(":{port}/"));
        let standby = Self { admin_url, port, instance: instance.clone(), running };
        let begun = Instant::now();
        while database::connect(instance, &standby.admin_url).await.is_err() {
            assert!(begun.elapsed() < START_MAX && !standby.running.is_finished(), "the standby does not come up");
            tokio::task::yield_now().await;
        }
        standby
    }

    pub(super) fn place(&self, writer: &Place) -> Place {
        writer.at(&writer.host, self.port)
    }

    pub(super) async fn admin(&self, sql: &str) {
        let url = with_database(&self.admin_url, "postgres").expect("a URL");
        let mut connection = database::connect(&self.instance, &url).await.expect("connect");
        database::run(&mut connection, sql).await.expect("run");
    }

    /// Until it has what the writer has now.
    pub(super) async fn caught_up(&self) {
        let mut writer = database::connect(&self.instance, &self.instance.admin_url).await.expect("connect");
        let position: String = sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&mut writer).await.expect("ask");
        let mut connection = database::connect(&self.instance, &self.admin_url).await.expect("connect");
        let begun = Instant::now();
        loop {
            let there: bool =
                sqlx::query_scalar("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn").bind(&position).fetch_one(&mut connection).await.expect("ask");
            if there {
                return;
            }
            assert!(begun.elapsed() < START_MAX, "the standby does not catch up");
        }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// PostgreSQL refuses root: then its programs run as whoever owns the servers' files.
fn as_owner(folder: &Path, program: std::path::PathBuf) -> Job {
    let owner = std::fs::metadata(folder).expect("the server's folder");
    let us = std::fs::metadata("/proc/self").expect("ourselves");
    if owner.uid() == us.uid() {
        return Job::new(program);
    }
    let ids = [format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid()), "--clear-groups".to_owned()];
    Job::new("/usr/bin/setpriv").args(ids).args([program])
}
