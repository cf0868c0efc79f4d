//! `integrity-check`: its parts against real servers, and all of it from outside.

mod anomalies;
mod catalog;
mod checks;
mod corruption;
mod flags;
mod history;
mod orphans;
mod queries;
mod scan;
mod scenario;
