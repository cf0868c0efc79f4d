//! The snapshot's part of the story: taken by its schedule, restored to an instance of its own, and held against the archive's manifest: two chains of
//! backups that know nothing of each other must agree.

use aws_sdk_rds::Client;
use chrono::{DateTime, Utc};
use shared::failure::{Context, Failure};
use shared::manifest::Manifest;
use shared::snapshot::{Owner, Purpose};
use shared_postgres::proof::{self, Proof};
use sqlx::Connection;

use crate::attempt::failed;
use crate::cloud::REGION;
use crate::database;
use crate::world::{ACCOUNT, World};

/// The instance that the snapshot is restored to.
const COPY: &str = "app-db-restored";

/// Waits until the snapshot of a slot is available, and gives its id.
pub(super) async fn wait(world: &World, slot: DateTime<Utc>) -> Result<String, Failure> {
    let owner = Owner { stage: world.stage.clone(), instance: world.instance.id.clone() };
    let id = owner.id(&Purpose::Daily(slot), 1);
    world.cloud.wait_for_snapshot(ACCOUNT, REGION, &id).await?;
    Ok(id)
}

/// Restores a snapshot to an instance of its own, and compares the database in it with the manifest; the instance goes with the cloud.
pub(super) async fn prove(world: &World, id: &str, manifest: &Manifest) -> Result<Proof, Failure> {
    let rds = Client::new(&world.cloud.sdk_config(ACCOUNT));
    let restore = rds.restore_db_instance_from_db_snapshot().db_instance_identifier(COPY).db_snapshot_identifier(id);
    restore.send().await.map_err(|error| shared::aws::failure(error).context(format!("restore the snapshot {id}")))?;
    let instance = world.cloud.wait_for_instance(ACCOUNT, REGION, COPY).await?;
    let url = database::with_database(&instance.admin_url, &world.database)?;
    let mut connection = database::connect(&instance, &url).await?;
    let proof = proof::compare(&mut connection, manifest).await.context("compare the restored snapshot with the manifest")?;
    connection.close().await.map_err(|error| failed(error.to_string()))?;
    Ok(proof)
}
