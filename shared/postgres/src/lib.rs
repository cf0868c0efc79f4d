//! PostgreSQL as Lifeboat's functions use it: verified connections, text that is always printed the same way, COPY, and the server's own
//! client programs. Only functions that connect depend on this crate.

pub mod access;
pub mod amcheck;
pub mod client_program;
pub mod databases;
pub mod error;
pub mod proof;
pub mod route;
pub mod rows;
pub mod session;
pub mod soundness;
pub mod trouble;
pub mod windows;

pub use access::{Access, NoConnection, NotConnected};
pub use error::ContextSql;

/// A connection.
pub type Connection = sqlx::PgConnection;
