//! Would the checks notice a dumper that is wrong? Mistakes that dumpers make, planted one at a time in archives that were first shown to be clean.

mod archive;
mod bugs;

use local::database;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::mutations::create_generated;
use crate::archive::{differences, read};
use crate::bed::Bed;
use crate::checks::dump_equals_stock;
use crate::world::{unique, world};
use archive::Archive;
pub use bugs::{BUGS, Bug};

/// A bug, and the seeds that it took to notice it.
#[derive(Clone, Debug)]
pub struct Planted {
    /// What the dumper does wrong.
    pub bug: &'static str,
    /// Seeds that were dumped until it was noticed, that one included. `None`: not within those that were allowed.
    pub seeds: Option<u64>,
    /// Seeds in which it could be planted.
    pub planted: u64,
    /// The first thing that was noticed.
    pub noticed: String,
}

/// Plants every bug in the archives of seed after seed, until each was noticed or so many seeds have passed.
///
/// A bug that was planted and not noticed counts against the checks: it is looked for in the next seed again.
pub async fn planted_bugs(seed: u64, seeds: u64, major: u32) -> Vec<Planted> {
    let (bed, instance) = (Bed::new().await, world().await.server(major).await);
    let mut all: Vec<Planted> = BUGS.iter().map(|bug| Planted { bug: bug.name, seeds: None, planted: 0, noticed: String::new() }).collect();
    for number in 0..seeds {
        if all.iter().all(|planted| planted.seeds.is_some()) {
            break;
        }
        let database = format!("planted_{}", unique());
        create_generated(&instance, &database, seed + number).await;
        let backup = dump_equals_stock(&bed, &instance, &database, "UTF8", None).await;
        let stock = read(&backup.stock.as_ref().expect("a stock archive").path().join("stock"));
        let sound = Archive::open(&instance, &database, &backup).await;
        database::drop(&instance, &database).await.expect("drop");
        // Written and read again without a bug, it is still clean.
        assert_eq!(differences(&sound.clone().held(), &stock), Vec::<String>::new(), "seed {}", seed + number);
        for (bug, planted) in BUGS.iter().zip(&mut all).filter(|(_, planted)| planted.seeds.is_none()) {
            let mut archive = sound.clone();
            if (bug.plant)(&mut archive, &mut StdRng::seed_from_u64(seed + number)) {
                planted.planted += 1;
                if let Some(noticed) = differences(&archive.held(), &stock).into_iter().next() {
                    planted.seeds = Some(number + 1);
                    planted.noticed = noticed;
                }
            }
        }
    }
    all
}
