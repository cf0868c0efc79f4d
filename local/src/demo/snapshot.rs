//! The snapshot's part of the story: taken by its schedule.

use chrono::{DateTime, Utc};
use shared::failure::Failure;
use shared::snapshot::{Owner, Purpose};

use crate::cloud::REGION;
use crate::world::{ACCOUNT, World};

/// Waits until the snapshot of a slot is available, and gives its id.
pub(super) async fn wait(world: &World, slot: DateTime<Utc>) -> Result<String, Failure> {
    let owner = Owner { stage: world.stage.clone(), instance: world.instance.id.clone() };
    let id = owner.id(&Purpose::Daily(slot), 1);
    world.cloud.wait_for_snapshot(ACCOUNT, REGION, &id).await?;
    Ok(id)
}
