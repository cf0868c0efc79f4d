//! What the tests and the soak runs share: one local cloud for a whole run, an account for each test, and the checks themselves, which take a seed.

pub mod anomalies;
pub mod archive;
pub mod bed;
pub mod cards;
pub mod checks;
pub mod copies;
pub mod drills;
pub mod faults;
pub mod generator;
pub mod histories;
pub mod pages;
pub mod rotations;
pub mod soak;
pub mod torture;
pub mod turns;
pub mod urls;
pub mod world;
