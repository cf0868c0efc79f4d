//! The results of the last drills, for the trend.

use futures_util::future;
use shared::failure::Failure;
use shared::store::Store;

use crate::identity::{DRILLS, DrillId};
use crate::result::{DrillResult, FORMAT};
use crate::step::Milestone;

/// A year of monthly drills.
pub const DRILLS_MAX: usize = 12;
/// Of the newest drills, those that are asked for a result: some have none.
const LOOKED_AT_MAX: usize = 4 * DRILLS_MAX;

/// The last results before a drill, the oldest first. One that cannot be read is left out: it is a trend, not a proof.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn before(store: &Store, drill: &DrillId) -> Result<Vec<DrillResult>, Failure> {
    let folders = store.list_folder(DRILLS).await?.folders;
    let mut drills: Vec<DrillId> = folders.iter().filter_map(|folder| DrillId::of_key(folder)).map(|(id, _)| id).filter(|id| id < drill).collect();
    drills.sort();
    let reading = drills.iter().rev().take(LOOKED_AT_MAX).map(|id| async move { store.get(&id.key(Milestone::Judged.object())).await });
    let mut results = Vec::new();
    for bytes in future::join_all(reading).await {
        let Some(bytes) = bytes? else { continue };
        if let Ok(result) = serde_json::from_slice::<DrillResult>(&bytes)
            && result.format <= FORMAT
        {
            results.push(result);
        }
    }
    results.truncate(DRILLS_MAX);
    results.reverse();
    Ok(results)
}
