//! What a rotation does in PostgreSQL, and how it is known that it was done: one writer at a time, each change in one transaction with its mark, each
//! credential judged by logging in.
//!
//! Nothing here decides what comes next, and nothing here reads the environment. No password in clear ever reaches a server but to log in with it.

pub mod access;
pub mod login;
pub mod parity;
pub mod password;
pub mod preflight;
pub mod readers;
pub mod roles;
mod server;
pub mod session;
mod text;

pub use login::{Login, Place};
pub use server::Server;
pub use session::{Holder, Session, Taken};
