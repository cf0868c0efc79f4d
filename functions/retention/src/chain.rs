//! What the copies of snapshots demand: a source stays until its copies are there, a copy stays as long as its source, and what the newest copy was made from
//! stays. Pure; it only ever finds reasons to keep.
//!
//! RDS copies incrementally only while the last copy in the destination exists (RDS User Guide, "Copying a DB snapshot", "Incremental snapshot copying"): a
//! retention that deletes the newest copy makes the next one full. The newest copy itself needs no rule of its own here: the newest good one of every sort
//! stays, and the one that was made last. A copy whose source is deleted too early fails.

use crate::decision::Why;
use crate::model::{Observed, Place, Snapshot, Status};

/// What the others say about one snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// It is ours by name and tags, and yet not a copy that was made from what should be its source.
    pub(crate) is_strange: bool,
    /// Why it is kept for others.
    pub(crate) hold: Option<Why>,
}

/// One for each snapshot, in their order.
pub(crate) fn links(observed: &Observed) -> Vec<Link> {
    let snapshots = &observed.snapshots;
    let mut links = vec![Link::default(); snapshots.len()];
    let mut ours: Vec<usize> = (0..snapshots.len()).filter(|index| snapshots[*index].owned.is_some()).collect();
    ours.sort_unstable_by_key(|index| (&snapshots[*index].id, snapshots[*index].place));
    for family in ours.chunk_by(|a, b| snapshots[*a].id == snapshots[*b].id) {
        for member in family {
            links[*member].is_strange = is_strange(&snapshots[*member], family.iter().map(|index| &snapshots[*index]));
        }
        let sound: Vec<usize> = family.iter().copied().filter(|member| !links[*member].is_strange).collect();
        let copies: Vec<&Snapshot> = sound.iter().map(|member| &snapshots[*member]).collect();
        for (member, snapshot) in sound.iter().zip(&copies) {
            links[*member].hold = missing_copy(observed, snapshot, &copies).or_else(|| standing_source(observed, snapshot, &copies));
        }
    }
    hold_sources(observed, &mut links);
    links
}

/// At home, a copy; elsewhere, what is no copy, or one of something else.
fn is_strange<'a>(snapshot: &Snapshot, family: impl Iterator<Item = &'a Snapshot>) -> bool {
    let Place::Hop(hop) = snapshot.place else { return copy_of(snapshot).is_some() };
    let Some(copy_of) = copy_of(snapshot) else { return true };
    if !copy_of.strip_suffix(snapshot.id.as_str()).is_some_and(|rest| rest.ends_with(":snapshot:")) {
        return true;
    }
    let before = if hop == 0 { Place::Home } else { Place::Hop(hop - 1) };
    let (mut is_there, mut is_source) = (false, false);
    for other in family.filter(|other| other.place < snapshot.place) {
        is_there |= other.place == before;
        is_source |= other.arn == copy_of;
    }
    is_there && !is_source
}

fn copy_of(snapshot: &Snapshot) -> Option<&str> {
    snapshot.owned.as_ref().and_then(|owned| owned.copy_of.as_deref())
}

/// Whether the snapshot at home still owes its copy in that hop: promised when it was made, and not written down as done. When the snapshot is gone nobody
/// makes its copies any more, and it only went when they had all been there.
fn is_owed(hop: &str, family: &[&Snapshot]) -> bool {
    let home = family.iter().find(|one| one.place == Place::Home && one.status == Status::Available);
    home.and_then(|home| home.owned.as_ref()).is_some_and(|owned| {
        let names = |list: &[String]| list.iter().any(|name| name == hop);
        names(&owned.copy_to) && !names(&owned.copied_to)
    })
}

/// The first hop whose copy is owed and not available.
fn missing_copy(observed: &Observed, snapshot: &Snapshot, family: &[&Snapshot]) -> Option<Why> {
    let hops = observed.hops.iter().enumerate().map(|(hop, name)| (Place::Hop(hop), name));
    hops.filter(|(place, _)| *place > snapshot.place).find_map(|(place, name)| {
        let is_there = || family.iter().any(|one| one.place == place && one.status == Status::Available);
        (is_owed(name, family) && !is_there()).then_some(Why::CopyMissing(place))
    })
}

/// What a copy was made from, if the copy is still owed: whoever makes copies would make this one again.
fn standing_source(observed: &Observed, snapshot: &Snapshot, family: &[&Snapshot]) -> Option<Why> {
    let Place::Hop(hop) = snapshot.place else { return None };
    let source = family.iter().rev().find(|one| one.place < snapshot.place && one.status == Status::Available)?;
    is_owed(observed.hops.get(hop)?, family).then_some(Why::SourceStands(source.place))
}

/// What the copies under way, the newest copy of each hop by its slot, and that made last were made from.
fn hold_sources(observed: &Observed, links: &mut [Link]) {
    let snapshots = &observed.snapshots;
    for place in (0..observed.hops.len()).map(Place::Hop) {
        let copies = || (0..snapshots.len()).filter(|index| snapshots[*index].place == place && snapshots[*index].owned.is_some());
        let available = || copies().filter(|index| snapshots[*index].status == Status::Available && !links[*index].is_strange);
        let slot = |index: usize| snapshots[index].owned.as_ref().map(|owned| owned.slot);
        let made_at = |index: usize| snapshots[index].created_at.or(slot(index));
        let newest = available().max_by_key(|index| (slot(*index), made_at(*index), &snapshots[*index].id));
        let made_last = available().max_by_key(|index| (made_at(*index), slot(*index), &snapshots[*index].id));
        let newest = [newest, made_last].into_iter().flatten().map(|index| (index, Why::SourceOfNewest(place)));
        let under_way = copies().filter(|index| snapshots[*index].status == Status::Changing).map(|index| (index, Why::BeingCopied(place)));
        let reasons: Vec<(usize, Why)> = under_way.chain(newest).collect();
        for (copy, why) in reasons {
            let source = copy_of(&snapshots[copy]).and_then(|arn| snapshots.iter().position(|one| one.arn == arn && one.owned.is_some()));
            if let Some(source) = source {
                links[source].hold.get_or_insert(why);
            }
        }
    }
}
