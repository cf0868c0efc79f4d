//! One local cloud for a whole test run. It ends when this process ends, however it ends.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, OnceLock};

use local::host::{Target, checkout};
use local::progress::Progress;
use local::{Cloud, Instance, Options, binaries};
use shared::failure::Failure;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, OnceCell};

/// Of the instances that tests share.
const SERVERS: &str = "100000000000";

/// The cloud and the servers of this process.
pub struct World {
    /// The cloud.
    pub cloud: Cloud,
    /// Folder of the functions' binaries.
    pub functions: PathBuf,
    servers: Mutex<HashMap<u32, Instance>>,
}

// One runtime for all tests: connections of a pool belong to the runtime that made them, and the cloud's outlive a test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().enable_all().build().expect("start the runtime"));
static WORLD: OnceCell<World> = OnceCell::const_new();
static NUMBER: AtomicU64 = AtomicU64::new(1);
static FUNCTIONS: OnceLock<PathBuf> = OnceLock::new();

/// Runs a test.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}

/// The world, made by the first who asks.
pub async fn world() -> &'static World {
    WORLD.get_or_init(|| async { World::make().await.unwrap_or_else(|failure| panic!("the local cloud did not start: {failure}")) }).await
}

/// Takes the functions' binaries from a folder instead of building them. Only before the world is made.
pub fn use_functions(folder: PathBuf) {
    assert!(!WORLD.initialized() && FUNCTIONS.set(folder).is_ok(), "the world is made already");
}

/// Python with the local cloud's packages, without a cloud.
pub async fn python() -> PathBuf {
    let target = Target::of_this_program().expect("the target folder");
    local::python::environment(&target, &Progress::silent()).await.unwrap_or_else(|failure| panic!("there is no Python: {failure}"))
}

/// A number that no other test of this process gets.
pub fn unique() -> u64 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl World {
    async fn make() -> Result<Self, Failure> {
        let target = Target::of_this_program()?;
        let python = local::python::environment(&target, &Progress::silent()).await?;
        let functions = match FUNCTIONS.get() {
            Some(folder) => folder.clone(),
            None => binaries::build(&target, &Progress::silent()).await?,
        };
        let cloud = Cloud::start(&Options { python, functions: functions.clone(), port: None, postgres: Vec::new() }).await?;
        Ok(Self { cloud, functions, servers: Mutex::default() })
    }

    /// The shared server of a major.
    pub async fn server(&self, major: u32) -> Instance {
        let mut servers = self.servers.lock().await;
        if let Some(instance) = servers.get(&major) {
            return instance.clone();
        }
        let instance = self.cloud.create_instance(SERVERS, &format!("shared-{major}"), major).await.expect("create the shared instance");
        servers.insert(major, instance.clone());
        instance
    }

    /// A server of a test's own.
    pub async fn own_server(&self, major: u32) -> Instance {
        self.cloud.create_instance(SERVERS, &format!("own-{major}-{}", unique()), major).await.expect("create an instance")
    }

    /// The binary of a function.
    pub fn function(&self, name: &str) -> PathBuf {
        self.functions.join(name)
    }
}

/// The template of the checkout.
pub fn template() -> PathBuf {
    checkout().join("template.yaml")
}

/// A file of the checkout.
pub fn file(path: impl AsRef<Path>) -> PathBuf {
    checkout().join(path)
}
