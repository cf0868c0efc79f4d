//! Two nights: one that finds the shop as it should be, and one after something broke.

use shared::failure::Failure;

use crate::database::{self, identifier};
use crate::world::{ACCOUNT, BACKUP_ROLE, World};

/// What the shop's team promises about its data.
const CHECKS: &str = r#"
[[check]]
name = "no order has a negative total"
kind = "range"
table = "shop.orders"
column = "total"
min = 0
severity = "critical"
owner = "the shop's team"

[[check]]
name = "every item is of a product"
kind = "references"
table = "shop.order_items"
columns = ["sku"]
parent = "shop.products"
parent-columns = ["sku"]
"#;

/// An order that cannot be, and an index whose making fails: queries do not use it, and each write pays for it.
const BREAK: [&str; 2] =
    ["UPDATE shop.orders SET total = -1 WHERE id = 1", "CREATE UNIQUE INDEX CONCURRENTLY orders_by_state ON shop.orders (state)"];

/// What is found of it, by kind and subject.
pub(super) const BROKEN: [(&str, &str); 2] = [("checkFailed", "no order has a negative total"), ("indexInvalid", "shop.orders_by_state")];

/// Lets the role call amcheck, and writes down what the team promises, as DEPLOYMENT.md says.
pub(super) async fn prepare(world: &World) -> Result<(), Failure> {
    let role = identifier(BACKUP_ROLE);
    let sql = format!(
        "CREATE EXTENSION IF NOT EXISTS amcheck; GRANT pg_monitor TO {role};
         DO $$ DECLARE function regprocedure; BEGIN
           FOR function IN SELECT oid FROM pg_catalog.pg_proc WHERE proname IN ('bt_index_check', 'verify_heapam') LOOP
             EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {role}', function);
           END LOOP; END $$"
    );
    // Here the extension belongs to the superuser, whom a master user is none.
    database::run_as_admin(&world.instance, &world.database, &sql).await?;
    world.cloud.put_secret(ACCOUNT, &format!("/lifeboat/{}/checks", world.stage), CHECKS).await
}

/// Breaks two things.
pub(super) async fn spoil(world: &World) -> Result<(), Failure> {
    let mut connection = database::connect(&world.instance, &world.owner_url).await?;
    database::run(&mut connection, BREAK[0]).await?;
    // It fails, which is the point.
    let _ = database::run(&mut connection, BREAK[1]).await;
    Ok(())
}
