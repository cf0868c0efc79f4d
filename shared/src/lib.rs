//! What every function of Lifeboat shares.
//!
//! The *pure half* decides and describes: it knows no clock, environment, network or async runtime, and takes `now` as an
//! argument. The *edge half* is the one place that talks to AWS and to the Lambda runtime. The `tidy` test holds the line
//! between the two.

// Pure half.
pub mod archive;
pub mod compression;
pub mod copy_text;
pub mod destination;
pub mod digest;
pub mod failure;
pub mod finding;
pub mod human;
pub mod key;
pub mod manifest;
pub mod report;
pub mod run_list;
pub mod snapshot;
pub mod verification;

// Edge half.
pub mod aws;
pub mod env;
pub mod lambda;
pub mod listing;
pub mod secrets;
pub mod store;
pub mod telemetry;
pub mod upload;

/// Version of Lifeboat, as in every report, manifest and log line.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
