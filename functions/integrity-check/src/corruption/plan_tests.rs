//! Whatever a night's budget, and whatever is rewritten, grows, is locked or corrupt: every page comes to its turn within a number of nights that is known.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use shared::finding::FindingKind;
use shared_postgres::amcheck::{Btree, Place, Target, Tools};

use super::cursor::{Cursor, Miss};
use super::findings::{amcheck_missing, coverage, findings};
use super::plan::{MISSES_MAX, Piece, fit, heap_cost, index_cost, left_for_suspects, pieces, suspects};

fn target(oid: u32, method: &str, pages: u64) -> Target {
    Target {
        oid,
        table_oid: oid,
        subject: format!("public.r{oid}"),
        method: method.to_owned(),
        pages,
        has_toast: false,
        toast_pages: 0,
        table_pages: pages,
        file: oid,
        is_unique: false,
        is_locked: false,
    }
}

fn all(_: &Target) -> bool {
    true
}

fn place(block: u64) -> Place {
    Place { block, said: "line pointer redirection to item at offset 0".to_owned() }
}

/// A night as the product goes through it, in invocations that end anywhere.
fn night(cursor: &mut Cursor, day: i32, targets: &[Target], budget: u64, rng: &mut StdRng, corrupt: &[(u32, u64)]) {
    loop {
        let mut pieces_left = rng.random_range(1..60);
        let mut was_cut = false;
        cursor.begin(day, targets);
        for piece in suspects(targets, cursor, all) {
            let target = &targets[piece.target];
            let cost = if target.method == "heap" { heap_cost(target, 1) } else { index_cost(target, budget).0 };
            if cost <= left_for_suspects(cursor, budget) {
                cursor.spend(cost, true);
                check(cursor, target, piece.from, piece.to, corrupt);
            }
        }
        'pieces: for piece in pieces(targets, cursor, all) {
            let target = &targets[piece.target];
            let mut at = piece.from;
            while at < piece.to || target.method != "heap" {
                let Some((to, cost)) = fit(target, Piece { from: at, ..piece }, cursor, budget, 64) else { continue 'pieces };
                if pieces_left == 0 {
                    was_cut = true;
                    break 'pieces;
                }
                pieces_left -= 1;
                cursor.spend(cost, false);
                check(cursor, target, at, to, corrupt);
                at = to;
                if target.method != "heap" {
                    break;
                }
            }
        }
        // What a later invocation knows, it knows from what an earlier one wrote down.
        *cursor = serde_json::from_slice(&serde_json::to_vec(cursor).expect("write")).expect("read");
        if !was_cut {
            return;
        }
    }
}

fn check(cursor: &mut Cursor, target: &Target, from: u64, to: u64, corrupt: &[(u32, u64)]) {
    let places: Vec<Place> =
        corrupt.iter().filter(|(oid, block)| *oid == target.oid && (from..to.max(1)).contains(block)).map(|(_, block)| place(*block)).collect();
    if places.is_empty() { cursor.sound(target, from, to.max(1)) } else { cursor.corrupt(target, from, to, &places) }
}

fn world(rng: &mut StdRng) -> Vec<Target> {
    (1..rng.random_range(2..40_u32))
        .map(|oid| {
            let pages = [0, 1, 7, 100, 1000, 5000][rng.random_range(0..6)] + rng.random_range(0..50);
            let mut target = target(oid, ["heap", "heap", "btree", "gin"][rng.random_range(0..4)], pages);
            target.is_unique = rng.random_bool(0.5);
            target.table_pages = if target.method == "heap" { pages } else { rng.random_range(0..3000) };
            target.has_toast = target.method == "heap" && rng.random_bool(0.3);
            target.toast_pages = if target.has_toast { rng.random_range(0..500) } else { 0 };
            target
        })
        .collect()
}

fn total(targets: &[Target], budget: u64) -> u64 {
    targets
        .iter()
        .map(|target| if target.method == "heap" { heap_cost(target, target.pages) + 60 } else { index_cost(target, budget).0.max(1) })
        .sum()
}

#[test]
fn every_page_is_checked_within_a_number_of_nights_that_is_known() {
    for seed in 0..80 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut targets = world(&mut rng);
        let budget = total(&targets, 0).div_ceil([1, 3, 10, 25][rng.random_range(0..4)]).max(20);
        let corrupt: Vec<(u32, u64)> = if rng.random_bool(0.5) { vec![(1, 0), (2, 3)] } else { Vec::new() };
        // What was corrupt takes half of a night; two nights in a row make up for an index that did not fit.
        let half = if corrupt.is_empty() { budget } else { budget / 2 };
        let most = |targets: &[Target]| 2 * total(targets, budget).div_ceil(half) + 3;
        let (mut cursor, mut nights_max) = (Cursor::default(), most(&targets));
        let mut born: Vec<i64> = vec![0; targets.len()];
        for day in 1..=i64::try_from(nights_max * 2 + 20).expect("few") {
            if rng.random_bool(0.2) && day < 20 {
                let one = rng.random_range(0..targets.len());
                // Rewritten, or grown.
                if rng.random_bool(0.5) {
                    targets[one].file += 1000;
                } else {
                    targets[one].pages += rng.random_range(1..100);
                }
                nights_max = nights_max.max(most(&targets));
                born[one] = day;
            }
            night(&mut cursor, i32::try_from(day).expect("few"), &targets, budget, &mut rng, &corrupt);
            for (place, target) in targets.iter().enumerate() {
                let ages = cursor.known(target.oid).map_or_else(|| vec![(0, target.pages, None)], |known| known.ages(target.pages));
                for (from, to, last) in ages.into_iter().filter(|(from, to, _)| from < to) {
                    let last = last.map_or(born[place], |last| i64::from(last).max(born[place]));
                    let waited = u64::try_from(day - last).expect("past");
                    assert!(
                        waited <= nights_max,
                        "seed {seed}: pages {from} to {to} of {target:?} wait for {waited} of {nights_max} nights at {budget} a night"
                    );
                }
            }
        }
        let found = findings(&targets, &cursor);
        let expected = corrupt.iter().filter(|(oid, block)| targets.iter().any(|target| target.oid == *oid && *block < target.pages)).count();
        assert_eq!(found.len(), expected, "seed {seed}: {found:#?}");
    }
}

#[test]
fn a_night_keeps_its_budget_unless_a_single_index_is_larger() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (targets, budget) = (world(&mut rng), rng.random_range(100..3000));
        let mut cursor = Cursor::default();
        for day in 1..30 {
            night(&mut cursor, day, &targets, budget, &mut rng, &[]);
            let largest =
                targets.iter().map(|target| if target.method == "heap" { heap_cost(target, 1) } else { index_cost(target, budget).0 }).max();
            assert!(cursor.spent() <= budget.max(largest.unwrap_or(0)), "seed {seed}: {} of {budget}", cursor.spent());
        }
    }
}

#[test]
fn what_was_corrupt_is_looked_at_first_and_is_over_once_it_is_sound() {
    let targets = vec![target(1, "heap", 1000), target(2, "heap", 1000), target(3, "btree", 50)];
    let mut rng = StdRng::seed_from_u64(1);
    let mut cursor = Cursor::default();
    night(&mut cursor, 1, &targets, 10_000, &mut rng, &[(2, 7), (2, 9), (3, 0)]);
    cursor.begin(2, &targets);
    let first: Vec<(usize, u64, u64)> = suspects(&targets, &cursor, all).iter().map(|piece| (piece.target, piece.from, piece.to)).collect();
    assert_eq!(first, [(1, 7, 8), (1, 9, 10), (2, 0, 50)]);
    let found = findings(&targets, &cursor);
    assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::HeapCorrupt, FindingKind::IndexCorrupt]);
    assert!(found[0].seen.starts_with("block 7, 9 of 1000:") && found[0].seen.ends_with("(not looked at again this night)"), "{found:#?}");
    // One block is repaired: the other is still said. Then both are.
    night(&mut cursor, 2, &targets, 10_000, &mut rng, &[(2, 9)]);
    assert!(findings(&targets, &cursor)[0].seen.starts_with("block 9 of"));
    night(&mut cursor, 3, &targets, 10_000, &mut rng, &[]);
    assert_eq!(findings(&targets, &cursor), []);
    // Rebuilt, an index is another one.
    night(&mut cursor, 4, &targets, 10_000, &mut rng, &[(3, 0)]);
    assert_eq!(findings(&targets, &cursor).len(), 1);
    let mut rebuilt = targets;
    rebuilt[2].file = 99;
    cursor.begin(5, &rebuilt);
    assert_eq!(findings(&rebuilt, &cursor), []);
}

#[test]
fn what_cannot_be_checked_is_said_after_three_nights_and_lets_others_pass() {
    let targets = vec![target(1, "btree", 10), target(2, "btree", 10)];
    let mut cursor = Cursor::default();
    for (nights, day) in (1..=MISSES_MAX).zip(10..) {
        cursor.begin(day, &targets);
        assert_eq!(pieces(&targets, &cursor, all)[0].target, 0);
        cursor.missed(&targets[0], Miss::TooLong);
        // Twice in a night is one night; and it is not tried again in it.
        cursor.missed(&targets[0], Miss::TooLong);
        assert_eq!(pieces(&targets, &cursor, all).iter().map(|piece| piece.target).collect::<Vec<_>>(), [1]);
        let found = findings(&targets, &cursor);
        assert_eq!(found.len(), usize::from(nights == MISSES_MAX), "{found:#?}");
        assert!(found.iter().all(|finding| finding.kind == FindingKind::NotChecked));
    }
    cursor.begin(20, &targets);
    assert_eq!(pieces(&targets, &cursor, all).iter().map(|piece| piece.target).collect::<Vec<_>>(), [1, 0]);
    cursor.sound(&targets[0], 0, 10);
    assert_eq!(findings(&targets, &cursor), []);
    // Cut off by a lock: again in the same night, after the others.
    cursor.begin(21, &targets);
    cursor.missed(&targets[1], Miss::Locked);
    assert_eq!(pieces(&targets, &cursor, all).iter().map(|piece| piece.target).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn coverage_counts_pages_and_knows_the_oldest() {
    let targets = vec![target(1, "heap", 100), target(2, "btree", 10), target(3, "gist", 5)];
    let can = |target: &Target| target.method != "gist";
    let mut cursor = Cursor::default();
    cursor.begin(5, &targets);
    cursor.sound(&targets[0], 0, 40);
    let now = coverage(&targets, &cursor, can);
    assert_eq!(
        (now.pages, now.checked_pages, now.relations, now.checked_relations, now.oldest_day, now.indexes_without_check),
        (110, 40, 2, 0, None, 1)
    );
    cursor.begin(6, &targets);
    cursor.sound(&targets[0], 30, 100);
    cursor.sound(&targets[1], 0, 10);
    let now = coverage(&targets, &cursor, can);
    assert_eq!((now.checked_pages, now.checked_relations, now.oldest_day), (110, 2, Some(5)));
}

#[test]
fn a_cursor_is_small() {
    let targets: Vec<Target> = (1..=10_000).map(|oid| target(oid + 16_384, "heap", 100)).collect();
    let mut cursor = Cursor::default();
    cursor.begin(20_780, &targets);
    for target in &targets {
        cursor.sound(target, 0, target.pages);
    }
    let bytes = serde_json::to_vec(&cursor).expect("write").len();
    assert!(bytes < 50 * 10_000, "{bytes}");
}

#[test]
fn what_amcheck_lacks_is_said_with_the_statements_that_give_it() {
    let said = |tools: Option<&Tools>, major: u32| amcheck_missing(tools, "night \"watch\"", major).map(|finding| finding.hint.unwrap_or_default());
    assert!(said(None, 15).is_some_and(|hint| {
        hint.contains("CREATE EXTENSION amcheck; GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean), verify_heapam(")
            && hint.ends_with(" TO \"night \"\"watch\"\"\";")
            && !hint.contains("gin_index")
    }));
    assert!(said(None, 18).is_some_and(|hint| hint.contains("gin_index_check(regclass)")));
    let gentle = Btree { function: "x".to_owned(), with_unique: true, is_parent: false };
    let mut tools = Tools {
        btree: vec![gentle],
        heap: Some("y".to_owned()),
        gin: None,
        denied: vec!["tools.bt_index_parent_check(regclass)".to_owned()],
        closed_schema: None,
    };
    assert_eq!(said(Some(&tools), 17), None);
    assert!(said(Some(&tools), 18).is_some_and(|hint| hint.contains("ALTER EXTENSION amcheck UPDATE")));
    tools.heap = None;
    tools.denied.push("tools.verify_heapam(regclass,boolean,boolean,text,bigint,bigint)".to_owned());
    tools.closed_schema = Some("tools".to_owned());
    assert_eq!(
        said(Some(&tools), 17).as_deref(),
        Some(
            "GRANT USAGE ON SCHEMA tools TO \"night \"\"watch\"\"\"; GRANT EXECUTE ON FUNCTION tools.verify_heapam(regclass,boolean,boolean,text,bigint,bigint) TO \"night \"\"watch\"\"\";"
        )
    );
}
