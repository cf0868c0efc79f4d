//! After a database was restored to an earlier moment: the live value stays what it is, and the database is made to accept it again.
//!
//! Needs no journal: the password is in the live value already, and setting it is an absolute change that can be made twice.

use shared::failure::Failure;

use crate::acting::CredentialHands;
use crate::hands::{Credential, DatabaseHands, Fence, Hands};
use crate::identity::{self, Mark, RotationId};
use crate::journal::Outcome;
use crate::plan::Proof;
use crate::rotation::{Ask, Target, rotate};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// They agree.
    Agrees,
    /// They agree again.
    Mended,
    /// They do not agree, and a dry run mends nothing.
    WouldMend,
    /// A rotation was open; it went on instead.
    WentOn(String),
    /// It cannot be done; why.
    Stuck(String),
}

/// Makes the database accept the live value, and the retired user of a pair retired again.
///
/// # Errors
/// When something cannot be looked at or done; to be called again.
pub async fn reconcile(hands: &mut CredentialHands<'_>, target: &Target, rotation: &RotationId, dry_run: bool) -> Result<Reconciled, Failure> {
    if let Fence::Busy(who) = hands.fence().await? {
        return Ok(Reconciled::Stuck(format!("another invocation is at it: {who}")));
    }
    let journal = hands.journal().await?;
    if let Some(open) = journal.as_ref().filter(|journal| journal.is_open()) {
        if dry_run {
            return Ok(Reconciled::WentOn(format!("the rotation {} is open, and would go on", open.rotation)));
        }
        let run = rotate(hands, target, &Ask::GoOn).await?;
        return Ok(Reconciled::WentOn(format!("the rotation {} was open, and went on: {:?}", open.rotation, run.progress)));
    }
    let live = hands.live(None).await?.credential;
    if !target.users.contains(&live.user) {
        return Ok(Reconciled::Stuck(format!("the live value names the user {:?}, which is not one of {}", live.user, target.users.join(", "))));
    }
    let mut mended = match hands.prove(&live, None).await? {
        Proof::Works | Proof::NotEverywhere(_) => false,
        Proof::Unknown(why) => return Ok(Reconciled::Stuck(why)),
        Proof::WrongPassword | Proof::Unfit(_) if dry_run => return Ok(Reconciled::WouldMend),
        Proof::WrongPassword | Proof::Unfit(_) => {
            set(hands, &live, rotation).await?;
            match hands.prove(&live, None).await? {
                Proof::Works | Proof::NotEverywhere(_) => true,
                other => return Ok(Reconciled::Stuck(format!("the password was set again, and: {other:?}"))),
            }
        }
    };
    // Whom the last rotation had retired, a restore has brought back to life, with a password that was to be dead.
    let retired_by = journal.filter(|journal| journal.closed.as_ref().is_some_and(|closed| closed.outcome == Outcome::Done));
    let risen = retired_by.and_then(|journal| Some((journal.old_user.filter(|old| *old != live.user)?, journal.rotation)));
    if let Some((old, by)) = risen.filter(|(old, _)| target.users.contains(old)) {
        let comment = hands.role(&old).await?.and_then(|role| role.comment);
        if comment.as_deref().and_then(identity::mark) != Some(Mark::Retired(by.clone())) {
            let users = hands.sessions(&old, None).await?;
            if !users.is_empty() {
                return Ok(Reconciled::Stuck(format!("{old}, which had been retired, is in use: {}", users.join(", "))));
            }
            if dry_run {
                return Ok(Reconciled::WouldMend);
            }
            hands.retire(&old, &identity::retired(comment.as_deref(), &by)).await?;
            mended = true;
        }
    }
    Ok(if mended { Reconciled::Mended } else { Reconciled::Agrees })
}

async fn set(hands: &mut CredentialHands<'_>, live: &Credential, rotation: &RotationId) -> Result<(), Failure> {
    let comment = hands.role(&live.user).await?.and_then(|role| role.comment);
    hands.set_password(live, &identity::marked(comment.as_deref(), rotation)).await
}
