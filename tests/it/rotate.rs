//! `rotate-secret`: its parts against real servers and the local cloud, and all of it from outside.

mod consumers;
mod consumers_beanstalk;
mod database;
mod driven;
mod iam;
mod listener;
mod scenario;
mod single;
mod store;
mod store_journals;
mod store_secret;
mod told;
mod turns;
mod value;
