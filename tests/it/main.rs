//! Every test that needs the local cloud or a server, in one binary: it links once, and one cloud serves all.

mod canary;
mod cards;
mod digest;
mod drill;
mod faithful;
mod faults;
mod integrity;
mod notify;
mod permissions;
mod refusals;
mod retention;
mod rotate;
mod scenario;
mod snapshot;
mod tidy;
mod vault;
mod verify;
