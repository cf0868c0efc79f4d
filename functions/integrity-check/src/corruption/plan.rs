//! What is checked next: what was corrupt before everything else, then what was not checked for longest. Pure.
//!
//! Every page comes to its turn. A table is cut where the budget ends. An index is checked as a whole: it is passed over when it does not fit into what is
//! left of a night, and is then the first of the next, where it is checked even if it is larger than a whole night's budget.

use shared_postgres::amcheck::Target;

use super::cursor::{Cursor, Known, Miss};

/// Something to be checked: pages of a table, or an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Place of the table or index in the list.
    pub target: usize,
    /// First page of a table.
    pub from: u64,
    /// Page after the last.
    pub to: u64,
    /// When it was checked last.
    pub last: Option<i32>,
}

/// Nights in a row after which it is said that something could not be checked, and it is tried only after everything else.
pub const MISSES_MAX: u32 = 3;

/// What was corrupt when it was last looked at, and was not looked at this night: blocks of tables, and indexes.
pub fn suspects(targets: &[Target], cursor: &Cursor, is_checkable: impl Fn(&Target) -> bool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (place, target) in targets.iter().enumerate().filter(|(_, target)| is_checkable(target)) {
        let Some(known) = cursor.known(target.oid) else { continue };
        let Some(corrupt) = known.is_corrupt().filter(|_| known.misses().is_none_or(|(_, night, _)| *night != cursor.night())) else { continue };
        if target.method != "heap" {
            let last = known.day();
            pieces.extend((last != Some(cursor.night())).then_some(Piece { target: place, from: 0, to: target.pages, last }));
            continue;
        }
        for (from, to, last) in known.ages(target.pages).into_iter().filter(|(.., last)| *last != Some(cursor.night())) {
            let blocks = corrupt.blocks.iter().filter(|block| (from..to).contains(*block));
            pieces.extend(blocks.map(|block| Piece { target: place, from: *block, to: block + 1, last }));
        }
    }
    pieces.sort_by_key(|piece| (piece.last, targets[piece.target].oid, piece.from));
    pieces
}

/// Everything that is not checked yet this night, what was not checked for longest first; then what could not be checked for nights; then what was cut off
/// by a lock this night. What did not end in time this night, or was refused, is for another one.
pub fn pieces(targets: &[Target], cursor: &Cursor, is_checkable: impl Fn(&Target) -> bool) -> Vec<Piece> {
    let tonight = Some(cursor.night());
    let mut pieces = Vec::new();
    for (place, target) in targets.iter().enumerate().filter(|(_, target)| is_checkable(target)) {
        let known = cursor.known(target.oid);
        let rank = match known.and_then(|known| known.misses()) {
            Some((_, night, Miss::Locked)) if Some(*night) == tonight => 2,
            Some((_, night, _)) if Some(*night) == tonight => continue,
            Some((nights, ..)) if *nights >= MISSES_MAX => 1,
            _ => 0,
        };
        let ages = match known {
            Some(known) if target.method == "heap" => known.ages(target.pages),
            known => vec![(0, target.pages, known.and_then(Known::day))],
        };
        // An empty table has nothing that could be wrong; an empty index has a page.
        let left = ages.into_iter().filter(|(from, to, last)| *last != tonight && (from < to || target.method != "heap"));
        pieces.extend(left.map(|(from, to, last)| (rank, Piece { target: place, from, to, last })));
    }
    pieces.sort_by_key(|(rank, piece)| (*rank, piece.last, targets[piece.target].oid, piece.from));
    pieces.into_iter().map(|(_, piece)| piece).collect()
}

/// Pages that are read for so many pages of a table: themselves twice where values are stored elsewhere, and a share of those with their index.
pub fn heap_cost(table: &Target, pages: u64) -> u64 {
    if !table.has_toast || table.toast_pages == 0 {
        return pages;
    }
    let share = u128::from(table.toast_pages) * 2 * u128::from(pages) / u128::from(table.pages.max(1));
    pages * 2 + u64::try_from(share).unwrap_or(u64::MAX / 4)
}

/// The most pages of a table that cost no more than that; at least one.
pub fn heap_pages(table: &Target, cost: u64) -> u64 {
    let each = heap_cost(table, table.pages.max(1)).div_ceil(table.pages.max(1)).max(1);
    (cost / each).max(1)
}

/// Pages that are read for an index, and whether its table's rows are looked up in it: for unique ones, where a night's budget has room for both.
pub fn index_cost(index: &Target, budget_pages: u64) -> (u64, bool) {
    let both = index.pages.saturating_add(index.table_pages);
    if index.method == "btree" && index.is_unique && both <= budget_pages { (both, true) } else { (index.pages, false) }
}

/// What is left for blocks and indexes that were corrupt before: half a night, so that they do not keep everything else from being checked.
pub fn left_for_suspects(cursor: &Cursor, budget_pages: u64) -> u64 {
    budget_pages.div_ceil(2).saturating_sub(cursor.spent())
}

/// How much of a piece may be checked now, of a table no more than `most` pages: the page after the last, and what it costs. `None`: nothing this night.
/// The first piece of a night may cost whatever it does: what is larger than a whole night gets one alone.
pub fn fit(target: &Target, piece: Piece, cursor: &Cursor, budget_pages: u64, most: u64) -> Option<(u64, u64)> {
    let is_first = cursor.spent() == cursor.spent_on_suspects();
    let left = budget_pages.saturating_sub(cursor.spent());
    if target.method != "heap" {
        let cost = index_cost(target, budget_pages).0.max(1);
        return (cost <= left || is_first).then_some((piece.to, cost));
    }
    if left < heap_cost(target, 1) && !is_first {
        return None;
    }
    let to = piece.from.saturating_add(heap_pages(target, most.min(left))).min(piece.to);
    Some((to, heap_cost(target, to - piece.from)))
}
