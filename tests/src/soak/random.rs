//! Databases that nobody thought of: dumped, held against stock pg_dump, restored by stock pg_restore, proved.

use local::database;

use super::Counts;
use super::mutations::create_generated;
use crate::bed::Bed;
use crate::checks::{dump_equals_stock, restored_copy_is_proved};
use crate::generator::FEATURES;
use crate::world::{unique, world};

/// What the seeds had in them.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Seeds that were dumped, restored and proved.
    pub seeds: usize,
    /// Seeds that hold a feature, by its name.
    pub features: Counts,
    /// Tables with rows of their own, where tables are sliced at all (16 and later).
    pub tables: usize,
    /// Those of them that are large enough by what the generator says.
    pub large_tables: usize,
    /// Those of them in three slices or more.
    pub sliced_tables: usize,
    /// Slices without a row.
    pub empty_slices: usize,
}

impl Coverage {
    /// Adds that of another run.
    pub fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.features.merge(&other.features);
        self.tables += other.tables;
        self.large_tables += other.large_tables;
        self.sliced_tables += other.sliced_tables;
        self.empty_slices += other.empty_slices;
    }

    /// Features that are in fewer than a tenth of the seeds, of those that `major` has.
    pub fn rare(&self, major: u16) -> Vec<&'static str> {
        let known = FEATURES.iter().filter(|feature| feature.since <= major);
        known.filter(|feature| self.features.of(feature.name) * 10 < self.seeds).map(|feature| feature.name).collect()
    }
}

/// One seed on one major. Whatever differs ends the run with a message that has the seed.
pub async fn random_database(bed: &Bed, seed: u64, major: u32) -> Coverage {
    let instance = world().await.server(major).await;
    let (database, copy) = (format!("seed_{seed}_{}", unique()), format!("copy_{}", unique()));
    let generated = create_generated(&instance, &database, seed).await;
    let backup = dump_equals_stock(bed, &instance, &database, "UTF8", None).await;
    restored_copy_is_proved(&instance, &backup, &database, &copy, &[&["-j4"]]).await;
    database::drop(&instance, &database).await.expect("drop");
    let mut coverage = Coverage { seeds: 1, ..Coverage::default() };
    generated.features.iter().for_each(|feature| coverage.features.add(feature));
    if major >= 16 {
        coverage.tables = generated.tables.len();
        coverage.large_tables = generated.tables.iter().filter(|table| table.bytes_min > 2 * 16384).count();
        coverage.sliced_tables = backup.manifest.tables.iter().filter(|table| table.objects.len() >= 3).count();
        coverage.empty_slices = backup.held.sliced.1;
    }
    coverage
}
