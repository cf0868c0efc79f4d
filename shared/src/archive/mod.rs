//! The pg_dump directory archive: its table of contents, the data entries that we add to it, and what it says about the database.

mod assemble;
pub mod blobs;
pub mod toc;

pub use assemble::{DataFile, TableData, add_table_data, schema_fingerprint, sequences};
