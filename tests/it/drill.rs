//! The restore drill against the local cloud, one file for each of its parts.

mod archive;
mod damage;
mod faults;
mod reading;
mod rehearsal;
mod scenario;
mod sound;
