//! `snapshot` against the local cloud: real calls, a real PostgreSQL behind every snapshot, faults on the wire.

mod copies;
mod faults;
mod guarded;
mod making;
