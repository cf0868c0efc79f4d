//! The restore, as an operator would do it on the bad day, with stock tools only; then the proof.

use std::path::Path;

use shared::failure::{Context, Failure};
use shared::manifest::Manifest;
use shared_postgres::proof::{self, Proof};
use sqlx::Connection;

use crate::database;
use crate::world::World;

/// The database that the archive is restored into.
pub(super) const COPY: &str = "app_restored";

/// Restores a downloaded archive into a fresh database with `pg_restore -j4`.
pub(super) async fn restore(world: &World, archive: &Path) -> Result<String, Failure> {
    database::create(&world.instance, COPY).await?;
    let url = database::with_database(&world.owner_url, COPY)?;
    let pg_restore = database::program(&world.instance, "pg_restore", &url)?.args(["--jobs=4", "--exit-on-error", "--dbname", COPY]);
    let ended = pg_restore.args([archive]).run_well().await.context("restore the archive with stock pg_restore")?;
    Ok(String::from_utf8_lossy(&ended.stderr).trim().to_owned())
}

/// Counts and digests of the copy against the manifest.
pub(super) async fn prove(world: &World, manifest: &Manifest) -> Result<Proof, Failure> {
    let url = database::with_database(&world.instance.admin_url, COPY)?;
    let mut connection = database::connect(&world.instance, &url).await?;
    let proof = proof::compare(&mut connection, manifest).await.context("compare the copy with the manifest")?;
    connection.close().await.map_err(|error| crate::attempt::failed(error.to_string()))?;
    Ok(proof)
}

/// The first line in which the definitions of source and copy differ; `None`: they are equal.
pub(super) async fn schema_difference(world: &World) -> Result<Option<String>, Failure> {
    let source = schema(world, &world.database).await?;
    let copy = schema(world, COPY).await?;
    if source == copy {
        return Ok(None);
    }
    let differing = source.iter().zip(&copy).find(|(source, copy)| source != copy);
    Ok(Some(differing.map_or_else(|| "one is longer".to_owned(), |(source, copy)| format!("`{source}` became `{copy}`"))))
}

async fn schema(world: &World, name: &str) -> Result<Vec<String>, Failure> {
    let url = database::with_database(&world.instance.admin_url, name)?;
    let dumped = database::program(&world.instance, "pg_dump", &url)?.args(["--schema-only"]).run_well().await?;
    // pg_dump guards its script with a key that is new in every run.
    let text = String::from_utf8_lossy(&dumped.stdout).into_owned();
    Ok(text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).map(str::to_owned).collect())
}

/// Size of the guarded database on the server, in bytes.
pub(super) async fn database_bytes(world: &World) -> Result<u64, Failure> {
    let url = database::with_database(&world.instance.admin_url, &world.database)?;
    let mut connection = database::connect(&world.instance, &url).await?;
    let size: Result<i64, _> = sqlx::query_scalar("select pg_database_size(current_database())").fetch_one(&mut connection).await;
    size.map(i64::unsigned_abs).map_err(|error| crate::attempt::failed(error.to_string()).context("measure the database"))
}
