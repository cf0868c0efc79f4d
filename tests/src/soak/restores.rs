//! Does the digest raise false alarms? A database is dumped again and again while others commit to it; every archive is restored and compared.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use local::Instance;
use local::database::{self, with_database};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _};

use super::LIMIT;
use super::mutations::verdict;
use crate::bed::{Bed, report};
use crate::checks::{fetch, restored_copy};
use crate::world::{unique, world};

/// Tables with rows of their own, without the partitions of `parted`.
const PLAIN: usize = 20;
const LEAVES: usize = 4;
/// The accounts' money moves and never changes its sum: a copy in which it differs is not of one moment.
const MONEY: i64 = 100 * 1_000;
/// More than are asked for, and few enough to leave the machine something for the dumps.
const COMMIT_EVERY: Duration = Duration::from_millis(7);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Restores {
    /// Archives that were restored and compared.
    pub restored: usize,
    /// Tables in each.
    pub tables: usize,
    /// Rows in all of them together.
    pub rows: u64,
    /// The fewest commits for each second of any dump.
    pub commits_per_second_min: f64,
    /// Dumps between whose begin and end not one commit landed.
    pub undisturbed: usize,
    /// Alarms about copies that are what was dumped; with seed and number.
    pub false_alarms: Vec<String>,
}

/// Dumps, restores and compares so often, on a server of that major.
pub async fn clean_restores(seed: u64, major: u32, count: usize) -> Restores {
    let (bed, instance) = (Bed::new().await, world().await.server(major).await);
    let source = format!("busy_{seed}_{}", unique());
    database::create(&instance, &source).await.expect("create");
    database::run_as_admin(&instance, &source, &schema()).await.expect("fill");
    bed.set_url(&instance, &with_database(&instance.admin_url, &source).expect("a URL")).await;
    let runner = bed.dumper(&instance, &[]).await;
    let (commits, ends) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut result = Restores { commits_per_second_min: f64::INFINITY, ..Restores::default() };
    let work = async {
        for number in 0..count {
            let what = format!("seed {seed} on {major}, number {number}");
            let slot: DateTime<Utc> = DateTime::from_timestamp(1_767_225_600 + 60 * i64::try_from(number).expect("a number"), 0).expect("a time");
            let (began, commits_before) = (Instant::now(), commits.load(Ordering::Relaxed));
            let outcome = runner.invoke(&json!({"kind": "dump", "databases": [source], "scheduledAt": slot}), LIMIT).await;
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let landed = (commits.load(Ordering::Relaxed) - commits_before) as f64;
            result.commits_per_second_min = result.commits_per_second_min.min(landed / began.elapsed().as_secs_f64());
            result.undisturbed += usize::from(landed < 1.0);
            let backup = fetch(&bed, &report(outcome), &source).await;
            let copy = format!("busy_copy_{seed}_{}", unique());
            restored_copy(&instance, &backup, &source, &copy, &[&["-j2"]]).await;
            match verdict(&runner, &json!({"kind": "compare", "manifest": backup.key, "database": copy})).await {
                Ok(subjects) if subjects.is_empty() => {}
                other => result.false_alarms.push(format!("{what}: {other:?}")),
            }
            let money = money(&instance, &copy).await;
            if money != MONEY {
                result.false_alarms.push(format!("{what}: the copy is not of one moment: the accounts hold {money}"));
            }
            database::drop(&instance, &copy).await.expect("drop the copy");
            result.restored += 1;
            result.tables = backup.manifest.tables.len();
            result.rows += backup.manifest.rows();
        }
        ends.store(true, Ordering::Relaxed);
    };
    tokio::join!(work, write(&instance, &source, seed, &commits, &ends));
    database::drop(&instance, &source).await.expect("drop the source");
    result
}

/// Commits one random change after the other until it is told to end.
async fn write(instance: &Instance, database: &str, seed: u64, commits: &AtomicU64, ends: &AtomicBool) {
    let mut connection = database::connect(instance, &with_database(&instance.admin_url, database).expect("a URL")).await.expect("connect");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut ticks = tokio::time::interval(COMMIT_EVERY);
    while !ends.load(Ordering::Relaxed) {
        ticks.tick().await;
        // One batch of the simple protocol is one transaction, and one commit.
        let sql = change(&mut rng);
        database::run(&mut connection, &sql).await.unwrap_or_else(|failure| panic!("{failure}: {sql}"));
        commits.fetch_add(1, Ordering::Relaxed);
    }
    connection.close().await.expect("close");
}

fn change(rng: &mut StdRng) -> String {
    let table = match rng.random_range(0..PLAIN + 1) {
        PLAIN => "parted".to_owned(),
        number => format!("t{number}"),
    };
    let id = rng.random_range(1..=400);
    let text = format!("repeat(md5({id}::text || {}), {})", rng.random_range(0..1_000_000), rng.random_range(1..6));
    match rng.random_range(0..10) {
        0..3 => format!("INSERT INTO {table} (body, amount) SELECT {text}, {id} / 7.0 FROM generate_series(1, {})", rng.random_range(1..4)),
        3..6 => format!("UPDATE {table} SET body = {text}, at = clock_timestamp(), real = real * -1.1 WHERE id % 400 = {}", id - 1),
        6..8 => format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id % 200 = {} LIMIT 3)", id % 200),
        8 => {
            let (from, to, sum) = (rng.random_range(1..=50), rng.random_range(51..=100), rng.random_range(-500..500));
            format!("UPDATE giving SET money = money - {sum} WHERE id = {from}; UPDATE taking SET money = money + {sum} WHERE id = {to}")
        }
        _ => format!(
            "DELETE FROM t0 WHERE id = {id}; SELECT lo_from_bytea(0, decode(md5('{id}'), 'hex')); \
             SELECT lo_unlink(oid) FROM (SELECT oid FROM pg_largeobject_metadata ORDER BY md5(oid::text) OFFSET 10) AS surplus"
        ),
    }
}

fn schema() -> String {
    let columns = "id bigserial PRIMARY KEY, body text, amount numeric, at timestamptz DEFAULT now(), real float8 DEFAULT random(), raw bytea";
    let rows = "SELECT repeat(md5(g::text), 3), g / 3.0, decode(md5(g::text), 'hex') FROM generate_series(1, 400) AS g";
    let plain = (0..PLAIN).map(|number| format!("CREATE TABLE t{number} ({columns}); INSERT INTO t{number} (body, amount, raw) {rows};"));
    let root = format!("CREATE TABLE parted ({columns}) PARTITION BY HASH (id);");
    let leaf = |leaf| format!("CREATE TABLE parted_{leaf} PARTITION OF parted FOR VALUES WITH (MODULUS {LEAVES}, REMAINDER {leaf});");
    let accounts = ["giving", "taking"].map(|name| {
        format!("CREATE TABLE {name} (id int PRIMARY KEY, money bigint); INSERT INTO {name} SELECT g, 500 FROM generate_series(1, 100) AS g;")
    });
    let fill = format!("INSERT INTO parted (body, amount, raw) {rows};");
    plain.chain([root]).chain((0..LEAVES).map(leaf)).chain([fill]).chain(accounts).collect()
}

async fn money(instance: &Instance, copy: &str) -> i64 {
    let mut connection = database::connect(instance, &with_database(&instance.admin_url, copy).expect("a URL")).await.expect("connect");
    let sql = "SELECT ((SELECT sum(money) FROM giving) + (SELECT sum(money) FROM taking))::bigint";
    let money = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect("add the money up");
    connection.close().await.expect("close");
    money
}
