//! Random databases, from a seed: schema and data that a faithful dump must carry over.
//!
//! The torture database (`tests/torture`) holds everything once; this one mixes it in ways that nobody thought of. It
//! never talks to a database and never reads a clock: the same seed and major give the same SQL.

mod builder;
mod columns;
mod features;
mod keys;
pub mod mutate;
mod objects;
mod partitions;
mod tables;

pub use features::{FEATURES, Feature};
use std::collections::BTreeSet;

/// A database as SQL.
#[derive(Debug, Clone)]
pub struct Generated {
    /// Statements for one batch of the simple query protocol (one transaction), by the owner of an empty database.
    pub sql: String,
    /// What is in it: names from [`FEATURES`].
    pub features: BTreeSet<&'static str>,
    /// The relations with pages of their own. (Leaves whose share of the rows is the server's choice are not listed.)
    pub tables: Vec<TableShape>,
}

/// How large a generated table is.
#[derive(Debug, Clone)]
pub struct TableShape {
    /// As it is written in SQL.
    pub name: String,
    /// Rows put in; later statements may delete some.
    pub rows: usize,
    /// What its pages take at least.
    pub bytes_min: usize,
}

/// The database of a seed, for a server of that major.
pub fn generate(seed: u64, major: u16) -> Generated {
    let mut b = builder::Builder::new(seed, major);
    for setting in ["client_min_messages = warning", "TimeZone = 'UTC'", "DateStyle = 'ISO, MDY'", "IntervalStyle = 'postgres'"] {
        b.say(&format!("SET LOCAL {setting}"));
    }
    tables::types(&mut b);
    objects::code(&mut b);
    let plain = tables::plain(&mut b);
    tables::odd(&mut b);
    partitions::partitioned(&mut b);
    partitions::inherited(&mut b);
    keys::tables(&mut b);
    keys::over(&mut b, &plain);
    objects::views(&mut b, &plain);
    objects::guards(&mut b, &plain);
    objects::access(&mut b, &plain);
    b.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: u64 = 200;
    const MAJORS: [u16; 4] = [15, 16, 17, 18];

    #[test]
    fn same_seed_same_sql_and_another_seed_another() {
        for seed in 0..20 {
            assert_eq!(generate(seed, 17).sql, generate(seed, 17).sql);
            assert_ne!(generate(seed, 17).sql, generate(seed + 1, 17).sql);
        }
    }

    #[test]
    fn every_feature_is_in_a_tenth_of_the_seeds() {
        for major in MAJORS {
            let generated = (0..SEEDS).map(|seed| generate(seed, major).features).collect::<Vec<_>>();
            for feature in FEATURES {
                let seeds = generated.iter().filter(|features| features.contains(feature.name)).count() as u64;
                if feature.since <= major {
                    assert!(seeds * 10 >= SEEDS, "{} is in {seeds} of {SEEDS} seeds for {major}", feature.name);
                } else {
                    assert_eq!(seeds, 0, "{} is not in {major}", feature.name);
                }
            }
        }
    }

    #[test]
    fn feature_names_are_unique() {
        assert_eq!(FEATURES.iter().map(|feature| feature.name).collect::<BTreeSet<_>>().len(), FEATURES.len());
    }

    #[test]
    fn half_of_the_tables_span_three_slices() {
        for slice in [8192, 16384, 32768, 65536] {
            let tables = (0..SEEDS).flat_map(|seed| generate(seed, 17).tables).collect::<Vec<_>>();
            let long = tables.iter().filter(|table| table.bytes_min > 2 * slice).count();
            assert!(2 * long >= tables.len(), "{long} of {} tables span three slices of {slice}", tables.len());
        }
    }

    #[test]
    fn the_virtual_columns_of_18_are_not_in_17() {
        assert!((0..SEEDS).all(|seed| !generate(seed, 17).sql.contains("VIRTUAL")));
        assert!((0..SEEDS).any(|seed| generate(seed, 18).sql.contains("VIRTUAL")));
    }
}
