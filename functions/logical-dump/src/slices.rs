//! How a big table is cut: ranges of pages, the last one open-ended, so that rows beyond the size that was measured are not lost.

/// A range of pages of a table: from, and up to but without. `None` is the end of the table, wherever that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First page.
    pub from_page: u64,
    /// Page after the last.
    pub to_page: Option<u64>,
}

/// A table cannot have more pages (PostgreSQL manual, appendix "PostgreSQL Limits"); ctid has 32 bits for them.
const PAGES_MAX: u64 = u32::MAX as u64;

/// Cuts a table of so many pages into slices of about so many pages. A table that fits in one is not cut.
pub fn cut(pages: u64, slice_pages: u64) -> Vec<Slice> {
    let pages = pages.min(PAGES_MAX);
    let count = pages.div_ceil(slice_pages.max(1)).max(1);
    (0..count)
        .map(|number| Slice { from_page: pages * number / count, to_page: (number + 1 < count).then_some(pages * (number + 1) / count) })
        .collect()
}

impl Slice {
    /// The condition on `ctid`.
    pub fn condition(self) -> String {
        let from = format!("ctid >= '({},0)'::pg_catalog.tid", self.from_page);
        match self.to_page {
            Some(to) => format!("{from} AND ctid < '({to},0)'::pg_catalog.tid"),
            None => from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_everything_once_and_the_last_is_open() {
        for pages in [0, 1, 2, 7, 100, 1_000_003, PAGES_MAX] {
            for slice_pages in [1_000_000, 1_000_003, 2_000_000] {
                let slices = cut(pages, slice_pages);
                assert_eq!(slices[0].from_page, 0);
                assert_eq!(slices[slices.len() - 1].to_page, None);
                for pair in slices.windows(2) {
                    assert_eq!(pair[0].to_page, Some(pair[1].from_page), "{pages} pages");
                    assert!(pair[1].from_page > pair[0].from_page, "{pages} pages");
                }
            }
        }
        assert_eq!(cut(10, 100).len(), 1);
        assert_eq!(cut(10, 3).len(), 4);
    }
}
