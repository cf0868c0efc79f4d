//! Restore drills, as tests and soak runs play them.

mod clean;
pub mod copy;
pub mod stage;
mod trouble;

pub use clean::clean_drills;
pub use trouble::troubled;
