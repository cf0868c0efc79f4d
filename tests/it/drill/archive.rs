//! An archive restored by us is the database that stock pg_restore makes of it, however often the work is cut; and what is damaged is named.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use local::Instance;
use local::database::{self, with_database};
use restore_drill::archive::{Job, Roles, State, advance, create_database};
use restore_drill::ledger;
use serde_json::json;
use shared::finding::{FindingKind, Severity};
use shared::key::ArchiveKey;
use shared::manifest::{Manifest, Object};
use shared::secrets::SecretString;
use shared_postgres::Access;
use shared_postgres::client_program::ClientPrograms;
use sqlx::Connection as _;
use tests::bed::{Bed, report};
use tests::checks::{drop_copy, prove, schemas_are_equal};
use tests::torture::{self, DATABASES};
use tests::world::{run, unique, world};
use tokio::time::Instant;

/// More calls than any of these restores needs.
const CALLS_MAX: u32 = 400;
const AMPLE: Duration = Duration::from_mins(3);

/// An archive, and what is needed to restore it.
struct Archive {
    bed: Bed,
    instance: Instance,
    key: ArchiveKey,
    manifest: Manifest,
    programs: ClientPrograms,
}

fn access(instance: &Instance, url: &str) -> Access {
    let url = if instance.tls { url.to_owned() } else { format!("{url}?sslmode=disable") };
    Access::parse(&SecretString::from(url), Path::new(&instance.ca_file)).expect("a URL")
}

impl Archive {
    async fn of(bed: Bed, instance: &Instance, url: &str, database: &str) -> Self {
        let url = with_database(url, database).expect("a URL");
        let outcome = bed.dump(instance, &url, &json!({"kind": "dump", "databases": [database]})).await;
        let (key, manifest) = bed.manifest(&report(outcome), database).await;
        let (key, _) = ArchiveKey::parse(&key).expect("a key");
        Self { bed, instance: instance.clone(), key, manifest, programs: ClientPrograms::new(&instance.bin_folder) }
    }

    fn job<'a>(&'a self, access: &'a Access, copy: &'a str, roles: Roles) -> Job<'a> {
        Job {
            store: &self.bed.store,
            archive: &self.key,
            manifest: &self.manifest,
            access,
            database: copy,
            programs: &self.programs,
            connections: 3,
            roles,
            drill: copy,
            maintenance_memory_mb: 64,
            folder_bytes_max: 64 << 20,
        }
    }

    /// Restores with calls of ample time.
    async fn restore(&self, access: &Access, copy: &str, roles: Roles) -> State {
        create_database(access, copy, &self.manifest, copy).await.expect("create the database");
        let state = advance(&self.job(access, copy, roles), Instant::now() + AMPLE).await.expect("restore");
        assert!(state.done, "{state:?}");
        state
    }

    /// Puts other bytes in the place of an object.
    async fn put(&self, name: &str, bytes: Vec<u8>) {
        let s3 = aws_sdk_s3::Client::new(&self.bed.config);
        let put = s3.put_object().bucket(&self.bed.store.bucket).key(self.key.object(name)).body(ByteStream::from(bytes));
        put.send().await.expect("put an object");
    }

    async fn get(&self, name: &str) -> Vec<u8> {
        self.bed.store.get(&self.key.object(name)).await.expect("read").expect("there is an object")
    }

    async fn delete(&self, name: &str) {
        let s3 = aws_sdk_s3::Client::new(&self.bed.config);
        s3.delete_object().bucket(&self.bed.store.bucket).key(self.key.object(name)).send().await.expect("delete an object");
    }

    fn objects_of(&self, table: &str) -> Vec<Object> {
        let table = self.manifest.tables.iter().find(|known| known.name == table).expect("the table");
        table.objects.iter().map(|name| self.manifest.objects.iter().find(|object| object.name == *name).expect("the object").clone()).collect()
    }
}

/// What is more than a note.
fn alarms(state: &State) -> Vec<String> {
    let serious = state.findings.iter().filter(|finding| finding.severity > Severity::Note);
    serious.map(|finding| format!("{:?} {}: {} {:?}", finding.kind, finding.subject, finding.seen, finding.hint)).collect()
}

/// The copy is the source: every row, every definition. The ledger is removed first.
async fn is_the_source(archive: &Archive, source: &str, copy: &str, encoding: &str) {
    let mut findings = prove(&archive.instance, copy, &archive.manifest).await.expect("compare");
    findings.retain(|finding| finding.kind != FindingKind::NotChecked || encoding != "SQL_ASCII");
    assert!(findings.is_empty(), "{copy}: {findings:#?}");
    database::run_as_admin(&archive.instance, copy, "DROP SCHEMA lifeboat_drill CASCADE").await.expect("drop the ledger");
    schemas_are_equal(&archive.instance, source, copy, encoding, None).await;
}

async fn torture(major: u32) {
    let instance = world().await.own_server(major).await;
    torture::load(&instance).await;
    let admin = access(&instance, &instance.admin_url);
    for (database, encoding) in DATABASES {
        let archive = Archive::of(Bed::new().await, &instance, &instance.admin_url, database).await;
        let copy = format!("copy_{}", unique());
        let state = archive.restore(&admin, &copy, Roles::Filtered).await;
        assert_eq!(alarms(&state), Vec::<String>::new(), "{database:?} on {major}");
        assert_eq!(state.rows, archive.manifest.tables.iter().filter(|table| !table.by_pg_dump).map(|table| table.content.rows).sum::<u64>());
        is_the_source(&archive, database, &copy, encoding).await;
        drop_copy(&instance, &copy).await;
    }
}

#[test]
fn the_torture_databases_are_restored_as_by_pg_restore_on_17() {
    run(torture(17));
}

#[test]
fn the_torture_databases_are_restored_as_by_pg_restore_on_16() {
    run(torture(16));
}

#[test]
fn the_torture_databases_are_restored_as_by_pg_restore_on_15() {
    run(torture(15));
}

#[test]
fn a_restore_that_is_cut_again_and_again_is_the_same() {
    run(async {
        let instance = world().await.own_server(17).await;
        torture::load(&instance).await;
        let (database, encoding) = DATABASES[0];
        let archive = Archive::of(Bed::new().await, &instance, &instance.admin_url, database).await;
        let (admin, copy) = (access(&instance, &instance.admin_url), format!("copy_{}", unique()));
        create_database(&admin, &copy, &archive.manifest, &copy).await.expect("create the database");
        create_database(&admin, &copy, &archive.manifest, &copy).await.expect("it is ours already");
        let job = archive.job(&admin, &copy, Roles::Filtered);
        let (mut calls, mut state, mut time) = (0, State::default(), Duration::from_millis(20));
        while !state.done {
            calls += 1;
            assert!(calls < CALLS_MAX, "{state:?}");
            // Every third call is killed in the middle: its future is dropped. Every fifth has a rival.
            time = (time * 6 / 5).min(Duration::from_secs(20));
            if calls % 3 == 0 {
                let _ = tokio::time::timeout(time, advance(&job, Instant::now() + AMPLE)).await;
            } else if calls % 5 == 0 {
                let (one, other) = tokio::join!(advance(&job, Instant::now() + time), advance(&job, Instant::now() + time));
                state = one.expect("restore");
                other.expect("restore");
            } else {
                state = advance(&job, Instant::now() + time).await.expect("restore");
            }
        }
        assert!(calls > 5, "{calls} calls are not many");
        assert_eq!(alarms(&state), Vec::<String>::new());
        is_the_source(&archive, database, &copy, encoding).await;
        drop_copy(&instance, &copy).await;
    });
}

const SHOP: &str = "
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL REFERENCES customers, amount numeric, note text);
CREATE TABLE lines (id bigint, \"order\" bigint REFERENCES orders, what text);
CREATE TABLE nothing (id int);
INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(1, 500) AS g;
INSERT INTO orders SELECT g, 1 + g % 500, g / 7.0, md5(g::text) FROM generate_series(1, 5000) AS g;
INSERT INTO lines SELECT g, 1 + g % 5000, repeat(md5(g::text), 3) FROM generate_series(1, 3000) AS g;
CREATE INDEX ON orders (customer);
CREATE INDEX ON lines (\"order\");
CREATE SEQUENCE invoices; SELECT setval('invoices', 4711);
CREATE VIEW totals AS SELECT c.id, c.name, sum(o.amount) AS total FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.id;
CREATE MATERIALIZED VIEW best AS SELECT * FROM totals ORDER BY total DESC LIMIT 10;
CREATE UNIQUE INDEX ON best (id);
COMMENT ON TABLE orders IS 'what was bought';
SELECT lo_from_bytea(0, decode(repeat('ab', 1000), 'hex'));
";

async fn shop(more: &str) -> (Archive, String) {
    let instance = world().await.server(17).await;
    let source = format!("shop_{}", unique());
    database::create(&instance, &source).await.expect("create");
    let mut master = database::connect(&instance, &with_database(&instance.master_url, &source).expect("a URL")).await.expect("connect");
    database::run(&mut master, SHOP).await.expect("fill");
    database::run(&mut master, more).await.expect("fill");
    master.close().await.expect("close");
    let archive = Archive::of(Bed::new().await, &instance, &instance.master_url, &source).await;
    (archive, source)
}

#[test]
fn a_master_who_is_no_superuser_restores_too() {
    run(async {
        let (archive, source) = shop("").await;
        let master = access(&archive.instance, &archive.instance.master_url);
        for roles in [Roles::Filtered, Roles::None] {
            let copy = format!("copy_{}", unique());
            let state = archive.restore(&master, &copy, roles).await;
            assert_eq!(alarms(&state), Vec::<String>::new(), "{roles:?}");
            assert_eq!(state.findings.iter().any(|finding| finding.kind == FindingKind::OwnershipNotChecked), roles == Roles::None);
            // Once more: nothing happens.
            let again = advance(&archive.job(&master, &copy, roles), Instant::now() + AMPLE).await.expect("restore");
            assert_eq!(again, state);
            is_the_source(&archive, &source, &copy, "UTF8").await;
            database::drop(&archive.instance, &copy).await.expect("drop");
        }
        let failure = create_database(&master, &source, &archive.manifest, "other").await.expect_err("it is somebody else's");
        assert!(failure.hint.is_some(), "{failure}");
        database::drop(&archive.instance, &source).await.expect("drop");
    });
}

#[test]
fn what_the_server_refuses_is_named_and_the_rest_is_restored() {
    run(async {
        let (_, source) = shop("").await;
        let instance = world().await.server(17).await;
        let stranger = format!("stranger_{}", unique());
        let sql = format!(
            "CREATE ROLE {stranger}; ALTER TABLE nothing OWNER TO {stranger};
             CREATE FUNCTION trusted_by_nobody(int, int) RETURNS int LANGUAGE internal IMMUTABLE AS 'int4pl';
             CREATE VIEW needs_it AS SELECT trusted_by_nobody(1, 2) AS three;"
        );
        database::run_as_admin(&instance, &source, &sql).await.expect("plant what a master may not do");
        let archive = Archive::of(Bed::new().await, &instance, &instance.admin_url, &source).await;
        let (master, copy) = (access(&instance, &instance.master_url), format!("copy_{}", unique()));
        let state = archive.restore(&master, &copy, Roles::Filtered).await;
        let failed: Vec<_> = state.findings.iter().filter(|finding| finding.kind == FindingKind::RestoreStatementFailed).collect();
        assert!(failed.iter().any(|finding| finding.subject == "TABLE public.nothing" && finding.seen.contains("owner")), "{failed:#?}");
        let function = failed.iter().find(|finding| finding.subject.starts_with("FUNCTION public.trusted_by_nobody")).expect("the function");
        assert!(function.seen.contains("permission denied for language internal"), "{function:?}");
        assert!(function.hint.as_deref().is_some_and(|hint| hint.contains("VIEW public.needs_it")), "{function:?}");
        let differing = prove(&instance, &copy, &archive.manifest).await.expect("compare");
        assert!(differing.is_empty(), "every row is there: {differing:#?}");
        for name in [&copy, &source] {
            database::drop(&instance, name).await.expect("drop");
        }
        database::run_as_admin(&instance, "postgres", &format!("DROP ROLE {stranger}")).await.expect("drop the role");
    });
}

#[test]
fn every_damage_is_named_and_the_rest_is_restored() {
    run(async {
        let (archive, source) = shop("").await;
        let master = access(&archive.instance, &archive.instance.master_url);
        let clean = format!("copy_{}", unique());
        assert_eq!(alarms(&archive.restore(&master, &clean, Roles::Filtered).await), Vec::<String>::new());
        database::drop(&archive.instance, &clean).await.expect("drop");
        let (orders, lines) = (archive.objects_of("orders"), archive.objects_of("lines"));
        assert!(orders.len() > 1, "a table of slices");
        let (orders, lines) = (orders[0].name.clone(), lines[0].name.clone());
        let original = archive.get(&orders).await;
        let mut flipped = original.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let damages = [
            (FindingKind::ObjectCorrupt, Some(flipped)),
            (FindingKind::ObjectTruncated, Some(original[..original.len() - 9].to_vec())),
            (FindingKind::ObjectTruncated, Some([&original[..], b"more"].concat())),
            (FindingKind::ObjectSwapped, Some(archive.get(&lines).await)),
            (FindingKind::ObjectMissing, None),
        ];
        for (kind, bytes) in damages {
            match bytes {
                Some(bytes) => archive.put(&orders, bytes).await,
                None => archive.delete(&orders).await,
            }
            let copy = format!("copy_{}", unique());
            let state = archive.restore(&master, &copy, Roles::Filtered).await;
            let found: Vec<_> = state.findings.iter().filter(|finding| finding.kind == kind).collect();
            assert!(found.len() == 1 && found[0].subject.ends_with(&orders), "{kind:?}: {:#?}", alarms(&state));
            assert!(!alarms(&state).iter().any(|alarm| alarm.contains("SQLSTATE")), "keys of its rows are not tried: {:#?}", alarms(&state));
            let differing = prove(&archive.instance, &copy, &archive.manifest).await.expect("compare");
            let subjects: Vec<&str> = differing.iter().map(|finding| finding.subject.as_str()).collect();
            assert_eq!(subjects, ["public.orders"], "{kind:?}: only the damaged table is not there");
            let count = database::connect(&archive.instance, &with_database(&archive.instance.admin_url, &copy).expect("a URL")).await;
            let mut count = count.expect("connect");
            let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM public.orders").fetch_one(&mut count).await.expect("count");
            assert_eq!(rows, 0, "{kind:?}: a table that is damaged in part must not look as if it were there");
            count.close().await.expect("close");
            database::drop(&archive.instance, &copy).await.expect("drop");
        }
        archive.put(&orders, original).await;
        archive.put("toc.dat", b"PGDMP".to_vec()).await;
        let copy = format!("copy_{}", unique());
        let state = archive.restore(&master, &copy, Roles::Filtered).await;
        assert_eq!(state.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::ObjectTruncated], "{state:?}");
        assert_eq!(state.files, 0);
        database::drop(&archive.instance, &copy).await.expect("drop");
        database::drop(&archive.instance, &source).await.expect("drop");
    });
}

#[test]
fn an_index_that_takes_longer_than_a_call_is_left_running_and_found_again() {
    run(async {
        let slow = "CREATE FUNCTION slow(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(42); RETURN $1; END';
                    CREATE INDEX slowly ON customers (slow(id))";
        let (archive, source) = shop(slow).await;
        let (master, copy) = (access(&archive.instance, &archive.instance.master_url), format!("copy_{}", unique()));
        create_database(&master, &copy, &archive.manifest, &copy).await.expect("create the database");
        // Whoever builds the index waits for this lock.
        let mut holder =
            database::connect(&archive.instance, &with_database(&archive.instance.admin_url, &copy).expect("a URL")).await.expect("connect");
        database::run(&mut holder, "SELECT pg_advisory_lock(42)").await.expect("take the lock");
        let job = archive.job(&master, &copy, Roles::None);
        let running = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%INDEX slowly%' AND datname = current_database() AND pid <> pg_backend_pid()";
        let mut pids: Vec<Vec<i32>> = Vec::new();
        let mut calls = 0;
        while pids.len() < 2 {
            calls += 1;
            assert!(calls < CALLS_MAX, "the index is never begun");
            let state = advance(&job, Instant::now() + Duration::from_secs(3)).await.expect("restore");
            assert!(!state.done);
            let found: Vec<i32> = sqlx::query_scalar(running).fetch_all(&mut holder).await.expect("look");
            if !found.is_empty() {
                assert_eq!(state.phase, "indexes and constraints");
                pids.push(found);
            }
        }
        assert!(pids[0] == pids[1] && pids[0].len() == 1, "begun once, and left alone: {pids:?}");
        database::run(&mut holder, "SELECT pg_advisory_unlock(42)").await.expect("let go");
        let state = advance(&job, Instant::now() + AMPLE).await.expect("restore");
        assert!(state.done && alarms(&state).is_empty(), "{state:?}");
        let done = ledger::read(&mut holder).await.expect("read the ledger");
        let again: Vec<&String> = done.keys().filter(|step| step.starts_with("try 2 of statement ")).collect();
        assert!(again.is_empty(), "nothing was begun twice: {again:?}");
        holder.close().await.expect("close");
        is_the_source(&archive, &source, &copy, "UTF8").await;
        for name in [copy, source] {
            database::drop(&archive.instance, &name).await.expect("drop");
        }
    });
}
