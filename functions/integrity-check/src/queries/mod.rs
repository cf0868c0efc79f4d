//! Slow queries: what `pg_stat_statements` counted since the last night, which of it is new or became slower, and a few figures of the server for the
//! digest. The counters of a night are kept in the history; the difference of two nights is pure.
//!
//! Text of queries is read for those that are shown only, and never shown with a value in it.

pub mod counters;
pub mod difference;
pub mod facts;

pub use counters::{Counters, Entry, NotCounted, look, texts};
pub use difference::{Review, Reviewed, review};
pub use facts::{Figures, growth};
