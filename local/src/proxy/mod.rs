//! Faults on the wire: proxies between a function and what it talks to. The function under test is the one that ships; nothing in it knows of them.

mod error_body;
mod http;
mod operation;
mod tcp;

pub use http::{Chaos, Fault, HttpProxy, Occurrence, Recorded, Rule};
pub use operation::operation;
pub use tcp::{AfterCut, Bytes, Cut, Direction, TcpProxy};
