//! A rotation under load: an application logs in all the time while its pair of users takes turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::failure::Failure;
use sqlx::Connection as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::attempt::failed;
use crate::database::{self, identifier, literal, with_database, with_user};
use crate::instance::Instance;
use crate::world::{ACCOUNT, ROTATED_PARAMETER, World};

/// Instances of the application. Each holds a session, as a pool does, and logs in again and again.
const INSTANCES: usize = 4;
/// For the last of them to take the new value, and the old user to be retired.
const CLOSED_MAX: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(200);

/// What came of it.
pub(super) struct Rotated {
    /// Logins meanwhile.
    pub logins: u64,
    /// Those that were refused, in the server's words.
    pub refused: Vec<String>,
    /// Who was live before, and after.
    pub users: (String, String),
    /// Whether the old credential is refused now.
    pub old_is_dead: bool,
}

/// Makes the pair, the rotator and the definition, as DEPLOYMENT.md says.
pub(super) async fn prepare(world: &World) -> Result<(), Failure> {
    let password = format!("{:032x}", rand::random::<u128>());
    let sql = format!(
        "CREATE ROLE shop NOLOGIN; CREATE ROLE shop_a LOGIN PASSWORD {password} IN ROLE shop; CREATE ROLE shop_b LOGIN IN ROLE shop;
         ALTER ROLE shop_a SET role = shop; ALTER ROLE shop_b SET role = shop; GRANT CONNECT ON DATABASE {database} TO shop;
         CREATE ROLE rotator LOGIN CREATEROLE PASSWORD {password}; GRANT shop_a, shop_b TO rotator WITH ADMIN OPTION;
         GRANT pg_monitor, pg_signal_backend TO rotator",
        password = literal(&password),
        database = identifier(&world.database),
    );
    let url = with_database(&world.instance.master_url, &world.database)?;
    database::run(&mut database::connect(&world.instance, &url).await?, &sql).await?;
    let definitions =
        format!("[[database]]\nname = \"shop\"\nparameter = \"{ROTATED_PARAMETER}\"\nusers = [\"shop_a\", \"shop_b\"]\ngrace-hours = 0\n");
    let parameters = [
        (format!("/lifeboat/{}/rotator-url", world.stage), with_user(&url, "rotator", &password)?),
        (format!("/lifeboat/{}/rotation", world.stage), definitions),
        (ROTATED_PARAMETER.to_owned(), with_user(&url, "shop_a", &password)?),
    ];
    for (name, value) in parameters {
        world.cloud.put_secret(ACCOUNT, &name, &value).await?;
    }
    Ok(())
}

/// The live value.
async fn live(world: &World) -> Result<String, Failure> {
    let ssm = aws_sdk_ssm::Client::new(&world.cloud.sdk_config(ACCOUNT));
    let answer = ssm.get_parameter().name(ROTATED_PARAMETER).with_decryption(true).send().await.map_err(shared::aws::failure)?;
    answer.parameter.and_then(|parameter| parameter.value).ok_or_else(|| failed("the parameter is empty"))
}

fn user(url: &str) -> String {
    url.split_once("//").and_then(|(_, rest)| rest.split_once(':')).map_or_else(String::new, |(user, _)| user.to_owned())
}

/// The application, while it runs.
pub(super) struct Application {
    over: Arc<AtomicBool>,
    logins: Arc<AtomicU64>,
    newest: watch::Sender<String>,
    tasks: Vec<JoinHandle<Vec<String>>>,
    first: String,
}

impl Application {
    /// Starts it with the live value.
    pub(super) async fn start(world: &World) -> Result<Self, Failure> {
        let first = live(world).await?;
        let (newest, seen) = watch::channel(first.clone());
        let (over, logins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..INSTANCES).map(|_| tokio::spawn(instance(world.instance.clone(), seen.clone(), over.clone(), logins.clone())));
        Ok(Self { tasks: tasks.collect(), over, logins, newest, first })
    }

    /// Lets it take the new value, waits until the old user is retired, and ends it.
    pub(super) async fn end(self, world: &World) -> Result<Rotated, Failure> {
        let last = live(world).await?;
        self.newest.send_replace(last.clone());
        let deadline = Instant::now() + CLOSED_MAX;
        let mut old_is_dead = false;
        while !old_is_dead && Instant::now() < deadline {
            world.cloud.fire(ACCOUNT, world.deployed.output("RotateSweepScheduleName")?, None).await?;
            tokio::time::sleep(POLL).await;
            old_is_dead = database::connect(&world.instance, &self.first).await.is_err();
        }
        self.over.store(true, Ordering::Relaxed);
        let mut refused = Vec::new();
        for task in self.tasks {
            refused.extend(task.await.map_err(|error| failed(error.to_string()))?);
        }
        Ok(Rotated { logins: self.logins.load(Ordering::Relaxed), refused, users: (user(&self.first), user(&last)), old_is_dead })
    }
}

/// One instance of the application; the refusals that it met.
async fn instance(instance: Instance, mut newest: watch::Receiver<String>, over: Arc<AtomicBool>, logins: Arc<AtomicU64>) -> Vec<String> {
    let (mut refused, mut url, mut held) = (Vec::new(), String::new(), None);
    while !over.load(Ordering::Relaxed) {
        if url.is_empty() || newest.has_changed().unwrap_or(false) {
            let value = newest.borrow_and_update().clone();
            match database::connect(&instance, &value).await {
                Ok(session) => (url, held) = (value, Some(session)),
                Err(failure) => refused.push(failure.to_string()),
            }
        }
        match database::connect(&instance, &url).await {
            Ok(connection) => {
                logins.fetch_add(1, Ordering::Relaxed);
                let _ = connection.close().await;
            }
            Err(failure) => refused.push(failure.to_string()),
        }
    }
    drop(held);
    refused
}
