//! Carries out what was decided: one deletion after the other, in the plan's order, until the time is over. One that is refused is a finding, and does not stop
//! the others.

use shared::failure::Failure;
use shared::snapshot::Owner;
use tokio::time::Instant;

use crate::decision::{Action, Decision};
use crate::look::Clients;
use crate::model::{Observed, Place, What};
use crate::{snapshots, tally::Tally};

/// What became of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was deleted.
    Deleted,
    /// It was not there any more.
    GoneAlready,
    /// It is not what the plan saw: it stays, and the next run looks at it anew.
    Changed,
    /// The time was over in the middle of it; the next run goes on.
    Cut,
}

/// Deletes what the plan says.
pub async fn execute(decisions: &[Decision<'_>], observed: &Observed, clients: &Clients, owner: &Owner, until: Instant) -> Tally {
    let mut tally = Tally::default();
    for decision in decisions.iter().filter(|decision| decision.action == Action::Delete) {
        if Instant::now() >= until {
            tally.cut += 1;
            continue;
        }
        let (name, why) = (observed.name(decision.what), decision.reason(observed));
        match delete(decision.what, clients, owner, until).await {
            Ok(done) => {
                tracing::info!(what = name, why, done = ?done, "deletion");
                tally.add(decision.what, done);
            }
            Err(failure) => {
                tracing::warn!(what = name, why, failure = %failure, "deletion refused");
                tally.refused.push((name, failure));
            }
        }
    }
    tally
}

async fn delete(what: What<'_>, clients: &Clients, owner: &Owner, until: Instant) -> Result<Done, Failure> {
    match what {
        What::Snapshot(snapshot) => match clients.snapshots.get(&snapshot.place) {
            Some(client) => snapshots::delete(client, owner, snapshot).await,
            None => Ok(Done::Changed),
        },
        What::Archive(archive) => match (archive.place, &clients.replica) {
            (Place::Replica, Some(replica)) => replica.delete(archive, until).await,
            (Place::Replica, None) => Ok(Done::Changed),
            _ => clients.bucket.delete(archive, until).await,
        },
    }
}
