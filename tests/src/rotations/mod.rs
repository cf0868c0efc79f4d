//! Rotation in a model: the product's own code drives servers, parameters and consumers that crash, freeze, lag, lose replies and commit late, while an oracle
//! that shares nothing with it watches every effect.
//!
//! The model is of what the product may rely on, and no better: PostgreSQL commits or does not, a lock ends with its backend, Parameter Store answers with
//! an older version at times, a killed function may leave a backend behind that still commits.

mod hands;
mod oracle;
mod play;
mod signing;
mod world;

pub use play::{Tally, history};
pub use signing::signing_history;
pub use world::Bug;

#[cfg(test)]
mod tests;
