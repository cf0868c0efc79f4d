//! Does the digest find every change? A restored copy is shown clean, changed in one row by SQL, judged by the shipped binary, and changed back.

use std::collections::{BTreeMap, BTreeSet};

use local::database::{self, identifier, literal, with_database};
use local::{Instance, Outcome, Runner};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use shared::finding::FindingKind;
use shared::manifest::{Manifest, Table};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Counts, LIMIT};
use crate::bed::{Bed, report};
use crate::checks::{fetch, restored_copy};
use crate::generator::generate;
use crate::generator::mutate::{Mutation, SESSION_SQL, TABLES_SQL, TableInfo, random_mutation};
use crate::world::{unique, world};

/// The shipped binary shows a copy clean again after so many mutations; in between the same comparison does, in this process.
const SHOWN_CLEAN_EVERY: usize = 50;
const TABLES_MIN: usize = 5;
/// A draw may change nothing; so many in a row mean that something is wrong with the draws.
const DRAWS_MAX: usize = 1_000;
/// Where the rows of a table are kept, to put them back.
const KEPT: &str = "lifeboat_kept";

/// Takes away what would refuse rows that are there already, when they are put back: checks that are not valid, triggers that always fire. The rows stay
/// as they are, and rows are all that is compared.
const UNGUARDED: &str = "DO $do$ DECLARE found record; BEGIN
    FOR found IN SELECT conrelid::regclass AS name, conname FROM pg_constraint
        WHERE conrelid <> 0 AND conislocal AND (contype = 'c' OR contype = 'n' AND NOT convalidated)
    LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', found.name, found.conname); END LOOP;
    FOR found IN SELECT tgrelid::regclass AS name, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0
    LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', found.name, found.tgname); END LOOP;
END $do$";

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Mutations {
    /// Mutations that the binary judged rightly, by kind.
    pub found: Counts,
    /// Tables that were changed, over all databases.
    pub tables: usize,
    /// Draws that changed nothing, and were drawn again.
    pub drawn_again: usize,
    /// What was missed, or reported wrongly: with seed, number and statement.
    pub missed: Vec<String>,
}

/// A restored copy that can be changed and changed back.
struct Copy<'a> {
    instance: &'a Instance,
    name: String,
    manifest: &'a Manifest,
    mutator: PgConnection,
    prover: PgConnection,
    tables: Vec<TableInfo>,
    /// What a finding calls a table, by its name in SQL.
    subjects: BTreeMap<String, String>,
}

/// Mutates the database of a seed so often.
pub async fn mutations(seed: u64, major: u32, count: usize) -> Mutations {
    let (bed, instance) = (Bed::new().await, world().await.server(major).await);
    let (source, copy) = (format!("mutated_{seed}_{}", unique()), format!("mutated_copy_{seed}_{}", unique()));
    create_generated(&instance, &source, seed).await;
    // The lock of a run is one of the URL's database: other tests dump others of this server.
    bed.set_url(&instance, &with_database(&instance.admin_url, &source).expect("a URL")).await;
    let runner = bed.dumper(&instance, &[]).await;
    let dumped = report(runner.invoke(&json!({"kind": "dump", "databases": [source]}), LIMIT).await);
    let backup = fetch(&bed, &dumped, &source).await;
    restored_copy(&instance, &backup, &source, &copy, &[&["-j2"]]).await;
    database::drop(&instance, &source).await.expect("drop the source");

    let compare = json!({"kind": "compare", "manifest": backup.key, "database": copy});
    assert_eq!(verdict(&runner, &compare).await, Ok(BTreeSet::new()), "seed {seed} on {major}: the copy is clean");
    let mut copy = Copy::open(&instance, &copy, &backup.manifest).await;
    assert!(copy.tables.len() >= TABLES_MIN, "seed {seed} on {major} has {} tables with rows", copy.tables.len());
    let mut rng = StdRng::seed_from_u64(seed);
    let mut result = Mutations { tables: copy.tables.len(), ..Mutations::default() };
    for number in 1..=count {
        let mutation = copy.mutate(&mut rng, &mut result.drawn_again).await;
        let expected = copy.subjects_of(&mutation);
        let judged = verdict(&runner, &compare).await;
        if judged.as_ref() == Ok(&expected) {
            result.found.add(mutation.what);
        } else {
            result
                .missed
                .push(format!("seed {seed} on {major}, number {number}, {}: {judged:?} instead of {expected:?}: {}", mutation.what, mutation.sql));
        }
        copy.put_back(&mutation).await;
        copy.is_clean(&expected, &format!("seed {seed} on {major}, after number {number}")).await;
        if number % SHOWN_CLEAN_EVERY == 0 {
            assert_eq!(verdict(&runner, &compare).await, Ok(BTreeSet::new()), "seed {seed} on {major}: clean again after number {number}");
        }
    }
    copy.end().await;
    result
}

/// A database of the generator, owned by the master user as it would be on RDS.
pub async fn create_generated(instance: &Instance, database: &str, seed: u64) -> crate::generator::Generated {
    database::create(instance, database).await.expect("create");
    let generated = generate(seed, u16::try_from(instance.major).expect("a major"));
    let url = with_database(&instance.master_url, database).expect("a URL");
    let mut connection = database::connect(instance, &url).await.expect("connect");
    database::run(&mut connection, &generated.sql).await.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    connection.close().await.expect("close");
    generated
}

/// The subjects of the findings of the shipped binary; anything but a content mismatch is no verdict.
pub(super) async fn verdict(runner: &Runner, compare: &Value) -> Result<BTreeSet<String>, String> {
    match runner.invoke(compare, LIMIT).await {
        outcome @ Outcome::Ok(_) => {
            let findings = report(outcome).findings;
            match findings.iter().find(|finding| finding.kind != FindingKind::ContentMismatch) {
                Some(other) => Err(format!("{other:?}")),
                None => Ok(findings.into_iter().map(|finding| finding.subject).collect()),
            }
        }
        other => Err(format!("{other:?}")),
    }
}

impl<'a> Copy<'a> {
    async fn open(instance: &'a Instance, name: &str, manifest: &'a Manifest) -> Self {
        let url = with_database(&instance.admin_url, name).expect("a URL");
        let mut mutator = database::connect(instance, &url).await.expect("connect");
        database::run(&mut mutator, SESSION_SQL).await.expect("prepare the session");
        database::run(&mut mutator, UNGUARDED).await.expect("take the guards away");
        let rows: Vec<String> = sqlx::query_scalar(TABLES_SQL).fetch_all(&mut mutator).await.expect("list the tables");
        let tables: Vec<TableInfo> = rows.iter().map(|row| TableInfo::parse(row).expect("a row of TABLES_SQL")).collect();
        database::run(&mut mutator, &format!("CREATE SCHEMA {KEPT}")).await.expect("create a schema");
        for (number, table) in tables.iter().enumerate() {
            let sql = format!("CREATE TABLE {KEPT}.t{number} AS SELECT {} FROM ONLY {}", columns(table), table.name);
            database::run(&mut mutator, &sql).await.expect("keep the rows of a table");
        }
        let mut subjects = BTreeMap::new();
        for table in &manifest.tables {
            let sql = format!("SELECT format('%I.%I', {}, {})", literal(&table.schema), literal(&table.name));
            let in_sql: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut mutator).await.expect("quote a name");
            subjects.insert(in_sql, subject(table));
        }
        let prover = database::connect(instance, &url).await.expect("connect");
        Self { instance, name: name.to_owned(), manifest, mutator, prover, tables, subjects }
    }

    /// Draws until a draw changes something.
    async fn mutate(&mut self, rng: &mut StdRng, drawn_again: &mut usize) -> Mutation {
        for _ in 0..DRAWS_MAX {
            let mutation = random_mutation(rng, &self.tables);
            // An error is a constraint that refuses; a lost connection shows in the next statement.
            match sqlx::raw_sql(AssertSqlSafe(mutation.sql.clone())).fetch_all(&mut self.mutator).await {
                Ok(rows) if rows.len() == 1 => return mutation,
                Ok(rows) => assert!(rows.is_empty(), "one mutation changes one row: {}", mutation.sql),
                Err(error) => assert!(error.as_database_error().is_some(), "{error}: {}", mutation.sql),
            }
            *drawn_again += 1;
        }
        panic!("{DRAWS_MAX} draws changed nothing in {}", self.name);
    }

    fn subjects_of(&self, mutation: &Mutation) -> BTreeSet<String> {
        mutation.tables.iter().map(|table| self.subjects.get(table).cloned().unwrap_or_else(|| format!("{table} is not in the manifest"))).collect()
    }

    /// Makes the changed tables what they were.
    async fn put_back(&mut self, mutation: &Mutation) {
        for (number, table) in self.tables.iter().enumerate().filter(|(_, table)| mutation.tables.contains(&table.name)) {
            let (name, columns) = (&table.name, columns(table));
            let list = if columns.is_empty() { String::new() } else { format!("({columns}) OVERRIDING SYSTEM VALUE") };
            let sql = format!("DELETE FROM ONLY {name}; INSERT INTO {name} {list} SELECT {columns} FROM {KEPT}.t{number}");
            database::run(&mut self.mutator, &sql).await.unwrap_or_else(|failure| panic!("put {name} back: {failure}"));
        }
    }

    /// Whether the tables that were changed are again what they were. (The others were not touched.)
    async fn is_clean(&mut self, changed: &BTreeSet<String>, when: &str) {
        let mut manifest = self.manifest.clone();
        manifest.tables.retain(|table| changed.contains(&subject(table)));
        assert!(!manifest.tables.is_empty(), "{when}: {changed:?}");
        let proof = shared_postgres::proof::compare(&mut self.prover, &manifest).await.expect("compare");
        assert_eq!(proof.findings, [], "{when}: not clean");
    }

    async fn end(self) {
        self.mutator.close().await.expect("close");
        self.prover.close().await.expect("close");
        database::run_as_admin(self.instance, "postgres", &format!("DROP DATABASE {} WITH (FORCE)", identifier(&self.name))).await.expect("drop");
    }
}

/// What a finding calls a table: what was loaded through a partition root is compared as a whole.
fn subject(table: &Table) -> String {
    let root = table.through_root.as_ref().map(|root| format!("{}.{} and its partitions", root.schema, root.name));
    root.unwrap_or_else(|| format!("{}.{}", table.schema, table.name))
}

/// As a statement lists them; nothing where there are none.
fn columns(table: &TableInfo) -> String {
    table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}
