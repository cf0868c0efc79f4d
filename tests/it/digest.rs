//! The digest finds what changed and stays quiet about what did not; the comparisons notice what a wrong dumper would write. A few seeds here, many in
//! `bench/src/bin/soak.rs`.

use tests::soak::mutations::mutations;
use tests::soak::planted::planted_bugs;
use tests::soak::restores::clean_restores;
use tests::world::run;

#[test]
fn every_mutation_of_a_restored_copy_is_found() {
    run(async {
        for (seed, major) in [(1, 17), (2, 18)] {
            let result = mutations(seed, major, 20).await;
            assert_eq!(result.missed, Vec::<String>::new(), "seed {seed} on {major}");
            assert_eq!(result.found.0.values().sum::<usize>(), 20, "seed {seed} on {major}: {}", result.found);
        }
    });
}

#[test]
fn a_database_that_is_written_to_restores_without_a_false_alarm() {
    run(async {
        let result = clean_restores(1, 17, 3).await;
        assert_eq!(result.false_alarms, Vec::<String>::new());
        assert!(result.restored == 3 && result.tables >= 20 && result.commits_per_second_min >= 50.0, "{result:?}");
    });
}

#[test]
fn planted_bugs_of_a_dumper_are_noticed() {
    run(async {
        let planted = planted_bugs(1, 3, 17).await;
        // Some need a feature that these seeds have not; none may be planted and go unnoticed.
        let unnoticed: Vec<&str> =
            planted.iter().filter(|planted| planted.planted > 0 && planted.seeds.is_none()).map(|planted| planted.bug).collect();
        assert_eq!(unnoticed, Vec::<&str>::new());
        let noticed = planted.iter().filter(|planted| planted.seeds.is_some()).count();
        assert!(noticed >= 20, "{noticed} of {} bugs were noticed", planted.len());
    });
}
