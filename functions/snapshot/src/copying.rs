//! Which snapshots are to be copied where, hop by hop, and what has to wait. Pure.
//!
//! What was promised stands in the source's tags; what was kept is written there when a copy was found equal to what it is a copy of. A hop that is
//! no longer configured is no longer promised. Copies are begun in the order of their sources, so that what is missing is made up for in order.

use std::collections::{BTreeMap, BTreeSet};

use shared::destination::Hop;
use shared::finding::{Finding, FindingKind};
use shared::snapshot::{COPIED_TO, COPY_OF, Owned};

use crate::config::Promise;
use crate::creation::{is_the_same, taken};
use crate::equality;
use crate::observed::{Observed, Snapshot, Status};
use crate::plan::{Step, What};

/// The steps towards the promised copies.
pub fn steps(observed: &Observed, promise: &Promise) -> Vec<Step> {
    let hops = &promise.destinations.hops;
    let under_way = |place: usize| observed.place(place).map_or(0, |list| list.iter().filter(|snapshot| snapshot.is_copy_under_way()).count());
    let mut planner = Planner {
        observed,
        promise,
        under_way: (0..=hops.len()).map(under_way).collect(),
        impossible: BTreeMap::new(),
        unseen: BTreeSet::new(),
        steps: Vec::new(),
    };
    for (source, owned) in observed.own(&promise.owner) {
        planner.copies_of(source, &owned);
    }
    planner.finish()
}

/// Snapshots whose sharing must be known: (place, id) of all that a copy into another account may be made from, or was and is not written down.
pub fn sharing_matters(observed: &Observed, promise: &Promise) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (source, owned) in observed.own(&promise.owner) {
        for (index, hop) in promise.destinations.hops.iter().enumerate() {
            let is_due = owned.copy_to.contains(&hop.name()) && !owned.copied_to.contains(&hop.name());
            let from = observed.find(index, &source.id).filter(|from| from.status == Status::Available);
            if is_due && hop.account().is_some() && from.is_some() {
                found.push((index, source.id.clone()));
            }
        }
    }
    found
}

struct Planner<'a> {
    observed: &'a Observed,
    promise: &'a Promise,
    /// Copies in progress at each place, with those that were just decided.
    under_way: Vec<usize>,
    /// By place: why, and of which snapshots.
    impossible: BTreeMap<usize, (Finding, Vec<String>)>,
    /// Places of which nothing is known, where something would be to do.
    unseen: BTreeSet<usize>,
    steps: Vec<Step>,
}

impl Planner<'_> {
    fn hop(&self, index: usize) -> &Hop {
        &self.promise.destinations.hops[index]
    }

    /// All copies of one source. A copy far away needs those on the way.
    fn copies_of(&mut self, source: &Snapshot, owned: &Owned) {
        let hops = &self.promise.destinations.hops;
        let Some(last) = hops.iter().rposition(|hop| owned.copy_to.contains(&hop.name())) else { return };
        if matches!(source.status, Status::Failed | Status::Going) {
            return;
        }
        let is_noted = |index: usize| hops.get(index).is_none_or(|hop| index > last || owned.copied_to.contains(&hop.name()));
        let mut good = Vec::new();
        for (index, hop) in hops.iter().enumerate().take(last + 1) {
            // A copy that was good and is gone is not missed, unless the next one is still to be made from it.
            let is_settled = is_noted(index) && (is_noted(index + 1) || self.observed.find(index + 1, &source.id).is_some());
            if !is_settled && self.is_good(index, source, owned) && !is_noted(index) {
                good.push(hop.name());
            }
        }
        if !good.is_empty() {
            let why = format!("found available and equal to its source: {}", good.join(", "));
            let names = owned.copied_to.iter().cloned().chain(good).collect();
            self.steps.push(Step::new(What::NoteCopies { id: source.id.clone(), arn: source.arn.clone(), names }, why));
        }
    }

    /// Whether the copy at a hop is good, and its sharing over; else the step towards that.
    fn is_good(&mut self, index: usize, home: &Snapshot, owned: &Owned) -> bool {
        let (observed, place, id) = (self.observed, index + 1, home.id.as_str());
        let hop = self.hop(index).clone();
        if observed.place(place).is_none() {
            self.unseen.insert(place);
            return false;
        }
        // What the copy is made from: the snapshot itself, or its copy at the hop before.
        let from = if index == 0 { Some(home) } else { observed.find(index, id) };
        if let Some(copy) = observed.find(place, id) {
            let Some(from) = from else {
                self.steps.push(Step::wait(format!("{id} in {}", hop.name()), "what it was made from is not there, so it cannot be compared"));
                return false;
            };
            return self.is_as_its_source(place, &hop, copy, from, home);
        }
        if let Some(why) = self.cannot_be_made(index, home) {
            self.impossible.entry(place).or_insert_with(|| (why, Vec::new())).1.push(id.to_owned());
            return false;
        }
        let subject = format!("{id} in {}", hop.name());
        let step = match from {
            None => Step::wait(subject, "the copy that it is made from is not there yet"),
            Some(from) if from.status != Status::Available => Step::wait(subject, format!("what it is made from is {}", from.status_word)),
            Some(from) if index > 0 && !equality::differences(from, home, self.hop(index - 1), observed).is_empty() => {
                Step::wait(subject, "the copy that it is made from is not what its own source is")
            }
            Some(_) if self.under_way[place] >= self.promise.copies_in_progress_max => {
                let seen = format!("{} copies are in progress there, ours or not; no more are begun", self.under_way[place]);
                Step::wait_because(Finding::new(FindingKind::CopyWaits, subject, seen).hint("nothing: it is begun when others are done"))
            }
            Some(from) => match self.unusable_key(from, &hop) {
                Some(key) => Step::wait(subject, format!("the key {key} cannot be used")),
                None => return self.begin(place, &hop, from, owned),
            },
        };
        self.steps.push(step);
        false
    }

    fn begin(&mut self, place: usize, hop: &Hop, from: &Snapshot, owned: &Owned) -> bool {
        if let Some(account) = hop.account() {
            let is_shared = from.restorable_by.as_ref().is_some_and(|accounts| accounts.iter().any(|known| known == account));
            if !is_shared {
                let what = What::Share { place: place - 1, id: from.id.clone(), account: account.to_owned() };
                self.steps.push(Step::new(what, "the other account must be let copy it"));
            }
        }
        self.under_way[place] += 1;
        let what =
            What::Copy { place, id: from.id.clone(), source_arn: from.arn.clone(), source_encrypted: from.encrypted, tags: tags_of_copy(from) };
        self.steps.push(Step::new(what, format!("a copy in {} was promised when it was made ({})", hop.name(), owned.kind)));
        false
    }

    fn is_as_its_source(&mut self, place: usize, hop: &Hop, copy: &Snapshot, from: &Snapshot, home: &Snapshot) -> bool {
        let subject = format!("{} in {}", copy.id, hop.name());
        let mut meant = tags_of_copy(home);
        meant.insert(COPY_OF.to_owned(), from.arn.clone());
        if !is_the_same(&meant, &copy.tags) {
            let mut finding = taken(&copy.id);
            finding.subject = subject;
            self.steps.push(Step::wait_because(finding));
            return false;
        }
        match copy.status {
            Status::UnderWay => self.steps.push(Step::wait(subject, format!("RDS is copying it ({} %)", copy.percent))),
            Status::Going => self.steps.push(Step::wait(subject, "it is being deleted")),
            Status::Failed => {
                let hint = "look for the event of the snapshot in RDS's console (the key's policy is the usual cause); `retention` deletes the failed copy, or you do, and the next run copies again";
                let finding =
                    Finding::new(FindingKind::CopyFailed, subject, format!("RDS could not make the copy: its status is {}", copy.status_word));
                self.steps.push(Step::wait_because(finding.expected("available").hint(hint)));
            }
            Status::Available => {
                let differences = equality::differences(copy, from, hop, self.observed);
                if !differences.is_empty() {
                    let hint = "it is kept, and so is its source; find out who made or changed it, delete it by hand, and the next run copies again";
                    self.steps.push(Step::wait_because(Finding::new(FindingKind::CopyDiffers, subject, differences.join("; ")).hint(hint)));
                    return false;
                }
                return self.is_taken_back(place, hop, from, &subject);
            }
        }
        false
    }

    /// Whether a source is no longer shared; else the step that takes the sharing back.
    fn is_taken_back(&mut self, place: usize, hop: &Hop, from: &Snapshot, subject: &str) -> bool {
        let Some(account) = hop.account() else { return true };
        match &from.restorable_by {
            None => {
                self.steps.push(Step::wait(subject, "it is not known whether its source is still shared"));
                return false;
            }
            Some(accounts) if accounts.iter().any(|known| known == account) => {
                let what = What::Unshare { place: place - 1, id: from.id.clone(), account: account.to_owned() };
                self.steps.push(Step::new(what, "the copy is there: the other account needs it no longer"));
            }
            Some(_) => {}
        }
        true
    }

    /// Why a copy can never be made, whatever is tried; said before it is.
    fn cannot_be_made(&self, index: usize, home: &Snapshot) -> Option<Finding> {
        let hop = self.hop(index);
        let before = index.checked_sub(1).map(|before| self.hop(before));
        let source_key = before.map_or(home.key_arn.as_ref(), |hop| hop.key_arn.as_ref());
        let encrypted = home.encrypted || before.is_some_and(|hop| hop.key_arn.is_some());
        let is_default = source_key.and_then(|arn| self.observed.key(arn)).is_some_and(|key| key.by_aws);
        let (seen, hint) = if hop.account().is_some() && !encrypted {
            (
                "the snapshot is not encrypted, and an unencrypted one is not handed to another account",
                "encrypt the instance: copy a snapshot of it with a KMS key, and restore the copy",
            )
        } else if hop.account().is_some() && is_default {
            (
                "the snapshot is encrypted with the account's default key (aws/rds), which no other account can be let use",
                "name a key of your own: CopyKeyArn where the copy in the other region is the source; else re-encrypt the instance (copy a snapshot of it with that key, and restore the copy)",
            )
        } else if encrypted && hop.key_arn.is_none() {
            (
                "no key is named for the copy, and an encrypted snapshot is copied to another region or account with a key of that place only",
                "set the stack's parameter CopyKeyArn, or CopyAccountKeyArn",
            )
        } else {
            return None;
        };
        Some(Finding::new(FindingKind::CopyImpossible, hop.name(), seen).hint(hint))
    }

    /// A key of the copy that is known not to work; the finding about the key says more.
    fn unusable_key(&self, from: &Snapshot, hop: &Hop) -> Option<String> {
        let keys = [from.key_arn.as_ref().filter(|_| from.encrypted), hop.key_arn.as_ref()];
        keys.into_iter().flatten().find(|arn| self.observed.key(arn).is_some_and(|key| !key.is_usable())).cloned()
    }

    fn finish(mut self) -> Vec<Step> {
        for place in &self.unseen {
            let name = self.promise.destinations.hops[place - 1].name();
            self.steps.push(Step::wait(format!("copies in {name}"), "it is not known what is there"));
        }
        for (mut finding, ids) in self.impossible.into_values() {
            finding.seen = match ids.as_slice() {
                [one] => format!("{one}: {}", finding.seen),
                [first, .., last] => format!("{} snapshots, {first} to {last}: {}", ids.len(), finding.seen),
                [] => finding.seen,
            };
            self.steps.push(Step::wait_because(finding));
        }
        self.steps
    }
}

/// The source's tags of ours, and what it is a copy of.
fn tags_of_copy(from: &Snapshot) -> BTreeMap<String, String> {
    let ours = from.tags.iter().filter(|(name, _)| name.starts_with("lifeboat:") && name.as_str() != COPIED_TO);
    let mut tags: BTreeMap<String, String> = ours.map(|(name, value)| (name.clone(), value.clone())).collect();
    tags.insert(COPY_OF.to_owned(), from.arn.clone());
    tags
}
