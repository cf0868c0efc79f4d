//! Every test that needs the local cloud or a server, in one binary: it links once, and one cloud serves all.

mod digest;
mod faithful;
mod faults;
mod notify;
mod refusals;
mod scenario;
mod tidy;
mod verify;
