//! The local cloud, driven from Rust: everything that `cargo demo`, `local up` and the tests need to run Lifeboat's own template against stand-ins
//! on this machine, with a real PostgreSQL, and nothing left behind. Functions never depend on this crate.

mod attempt;
pub mod binaries;
pub mod bucket;
pub mod cli;
pub mod cloud;
pub mod consumer;
pub mod database;
pub mod demo;
pub mod execution;
pub mod host;
mod http;
pub mod instance;
pub mod invoke;
mod memory;
pub mod process;
pub mod progress;
pub mod proxy;
pub mod python;
pub mod ready;
pub mod replica;
pub mod secret;
pub mod slack;
pub mod stack;
pub mod up;
pub mod world;

pub use cloud::{Cloud, Deployed, Options};
pub use instance::Instance;
pub use invoke::{Outcome, Runner};
