//! Is a restored copy sound, and is it what the backup says? Checks of the server's own structures, and comparisons with manifests.

pub mod definitions;
pub mod engine;
pub mod integrity;
pub mod judge;
#[cfg(test)]
mod judge_tests;
pub mod neighbours;
pub mod snapshot;

pub use judge::archive;
pub use neighbours::neighbours;
pub use snapshot::between;
