//! What a drill finds and what it cannot: each damage is done to a copy that was first shown clean, undone, and the copy shown clean again. Two sources:
//! a snapshot between two backups, and an archive.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use local::Instance;
use local::cloud::REGION;
use local::database::{self, literal, with_database};
use restore_drill::checks::neighbours;
use serde_json::json;
use shared::finding::FindingKind;
use sqlx::{AssertSqlSafe, Connection as _};
use tests::bed::{Bed, GUARDED, report};
use tests::checks::{fetch, restored_copy};
use tests::world::{run, unique};

use tests::drills::copy::{Copy, Found, Source, expected};

const DATABASE: &str = "shop";
const ARCHIVE: &str = "shop_archive";
const PAGE_BYTES: u64 = 8192;

/// `steady` and `lines` are not touched between the backups, `busy` is. The order of `odd` can be turned around under an index.
const FILL: &str = "
CREATE FUNCTION compare(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN $1 > $2 THEN 1 WHEN $1 = $2 THEN 0 ELSE -1 END';
CREATE OPERATOR CLASS turning FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compare(int, int);
CREATE TABLE steady (id int PRIMARY KEY, t text, CONSTRAINT positive CHECK (id > 0));
INSERT INTO steady SELECT n, repeat(md5(n::text), 4) FROM generate_series(1, 5000) n;
INSERT INTO steady SELECT n, (SELECT string_agg(md5(n::text || g::text), '') FROM generate_series(1, 300) g) FROM generate_series(5001, 5040) n;
CREATE INDEX steady_t ON steady (md5(t));
CREATE TABLE lines (id int PRIMARY KEY, steady int CONSTRAINT lines_steady REFERENCES steady, n numeric);
INSERT INTO lines SELECT n, n, n / 7.0 FROM generate_series(1, 500) n;
CREATE TABLE odd AS SELECT n FROM generate_series(1, 2000) n;
CREATE INDEX odd_n ON odd (n turning);
CREATE TABLE busy (id bigserial PRIMARY KEY, t text);
INSERT INTO busy (t) SELECT md5(n::text) FROM generate_series(1, 2000) n;
CREATE TABLE queue (id int);
CREATE UNLOGGED TABLE fleeting AS SELECT n FROM generate_series(1, 300) n;
CREATE SEQUENCE idle INCREMENT 3; SELECT nextval('idle') FROM generate_series(1, 40);
SELECT lo_create(4711); SELECT lo_put(4711, 0, 'large');";

const WORK: &str = "INSERT INTO busy (t) SELECT md5(n::text) FROM generate_series(1, 300) n; UPDATE busy SET t = t || 'x' WHERE id % 10 = 0; DELETE FROM busy WHERE id % 50 = 1";

/// Everything: a copy from a snapshot and one from an archive, on a server of their own.
struct Scene {
    bed: Bed,
    id: String,
    instance: Instance,
    copies: Vec<Copy>,
}

impl Scene {
    async fn make(major: u32) -> Self {
        let bed = Bed::new().await;
        let (from, id) = (format!("source-{}", unique()), format!("copy-{}", unique()));
        let source = bed.world.cloud.create_instance(&bed.account, &from, major).await.expect("create an instance");
        database::create(&source, DATABASE).await.expect("create");
        let url = with_database(&source.master_url, DATABASE).expect("a URL");
        let mut master = database::connect(&source, &url).await.expect("connect");
        // RDS lets the master user make it; here a superuser does, and lets the master call it.
        let master_name: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut master).await.expect("ask");
        database::run_as_admin(&source, DATABASE, "CREATE SCHEMA tools; CREATE EXTENSION amcheck SCHEMA tools").await.expect("create amcheck");
        let grant = format!(
            "GRANT USAGE ON SCHEMA tools TO {master_name}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tools TO {master_name}; ALTER ROLE {master_name} BYPASSRLS"
        );
        database::run_as_admin(&source, DATABASE, &grant).await.expect("grant");
        database::run_as_admin(&source, DATABASE, FILL).await.expect("fill");
        let own = format!("ALTER LARGE OBJECT 4711 OWNER TO {master_name}");
        database::run_as_admin(&source, DATABASE, &own).await.expect("own the large object");
        let admin = with_database(&source.admin_url, DATABASE).expect("a URL");
        let dump_at = async |slot: &str| {
            let outcome = bed.dump(&source, &admin, &json!({"kind": "dump", "databases": [DATABASE], "scheduledAt": slot})).await;
            fetch(&bed, &report(outcome), DATABASE).await
        };
        let before = dump_at("2026-11-23T02:00:00Z").await;
        database::run_as_admin(&source, DATABASE, WORK).await.expect("work");
        let at = local::host::now();
        master.close().await.expect("close");
        let rds = aws_sdk_rds::Client::new(&bed.world.cloud.sdk_config(&bed.account));
        rds.create_db_snapshot().db_instance_identifier(&from).db_snapshot_identifier("between").send().await.expect("create a snapshot");
        bed.world.cloud.wait_for_snapshot(&bed.account, REGION, "between").await.expect("a snapshot");
        database::run_as_admin(&source, DATABASE, WORK).await.expect("work");
        let after = dump_at("2026-11-23T03:00:00Z").await;
        // The two are found again in the bucket.
        let (found_before, found_after) = neighbours(&bed.store, GUARDED, DATABASE, at).await.expect("look for the neighbours");
        assert_eq!((found_before.as_ref(), found_after.as_ref()), (Some(&before.manifest), Some(&after.manifest)));

        let restore = rds.restore_db_instance_from_db_snapshot().db_instance_identifier(&id).db_snapshot_identifier("between");
        restore.send().await.expect("restore the snapshot");
        let instance = bed.world.cloud.wait_for_instance(&bed.account, REGION, &id).await.expect("available");
        let mut tocs = Vec::new();
        for manifest in [&before.manifest, &after.manifest] {
            tocs.push(neighbours::table_of_contents(&bed.store, manifest).await.expect("read").expect("a table of contents"));
        }
        let (new, old) = (tocs.pop().expect("two"), tocs.pop().expect("two"));
        restored_copy(&instance, &after, DATABASE, ARCHIVE, &[&["-j2"]]).await;
        let archive = Copy { database: ARCHIVE.to_owned(), source: Source::Archive(Box::new((after.manifest.clone(), new.clone()))) };
        let snapshot = Copy { database: DATABASE.to_owned(), source: Source::Snapshot(Box::new((before.manifest, after.manifest, old, new))) };
        Self { bed, id, instance, copies: vec![snapshot, archive] }
    }

    /// Turns one byte of a page over, where the server has to read it again.
    async fn flip(&mut self, copy: usize, relation: &str, page: u64) {
        let url = with_database(&self.instance.admin_url, &self.copies[copy].database).expect("a URL");
        let mut admin = database::connect(&self.instance, &url).await.expect("connect");
        let sql = format!("SELECT current_setting('data_directory') || '/' || pg_relation_filepath({}::regclass)", literal(relation));
        let path: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut admin).await.expect("the file");
        database::run(&mut admin, "CHECKPOINT").await.expect("checkpoint");
        admin.close().await.expect("close");
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("open the file");
        let place = SeekFrom::Start(page * PAGE_BYTES + PAGE_BYTES - 100);
        let mut byte = [0];
        file.seek(place).and_then(|_| file.read_exact(&mut byte)).expect("read the byte");
        byte[0] ^= 0x10;
        file.seek(place).and_then(|_| file.write_all(&byte)).expect("write the byte");
        drop(file);
        let rds = aws_sdk_rds::Client::new(&self.bed.world.cloud.sdk_config(&self.bed.account));
        rds.reboot_db_instance().db_instance_identifier(&self.id).send().await.expect("reboot");
        self.instance = self.bed.world.cloud.wait_for_instance(&self.bed.account, REGION, &self.id).await.expect("available");
    }
}

/// What is done, how it is undone, what is found, and whether a copy of a snapshot shows it too.
type Damage<'a> = (&'a str, &'a str, Vec<(FindingKind, &'a str)>, bool);

async fn damages(major: u32) {
    use FindingKind::{ContentMismatch, HeapCorrupt, IndexCorrupt, RowsDropped, SchemaDiffers, TableUnreadable};
    let mut scene = Scene::make(major).await;
    let turn = |sign: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION compare(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN $1 {sign} $2 THEN 1 WHEN $1 = $2 THEN 0 ELSE -1 END'"
        )
    };
    let (back, forth) = (turn("<"), turn(">"));
    let definition = (SchemaDiffers, "function public.compare(integer, integer)");
    let by_sql: Vec<Damage<'_>> = vec![
        (
            "UPDATE steady SET t = 'changed' WHERE id = 77",
            "UPDATE steady SET t = repeat(md5('77'), 4) WHERE id = 77",
            vec![(ContentMismatch, "public.steady")],
            true,
        ),
        ("DELETE FROM lines WHERE id = 8", "INSERT INTO lines VALUES (8, 8, 8 / 7.0)", vec![(ContentMismatch, "public.lines")], true),
        ("DROP INDEX steady_t", "CREATE INDEX steady_t ON steady (md5(t))", vec![(SchemaDiffers, "index public.steady_t")], true),
        (
            "ALTER TABLE lines DROP CONSTRAINT lines_steady",
            "ALTER TABLE lines ADD CONSTRAINT lines_steady FOREIGN KEY (steady) REFERENCES steady",
            vec![(SchemaDiffers, "fk constraint public.lines lines_steady")],
            true,
        ),
        (
            "ALTER TABLE steady DROP CONSTRAINT positive",
            "ALTER TABLE steady ADD CONSTRAINT positive CHECK (id > 0)",
            vec![(SchemaDiffers, "table public.steady")],
            true,
        ),
        ("SELECT setval('idle', 10)", "SELECT setval('idle', 118)", vec![(ContentMismatch, "sequence public.idle")], true),
        ("SELECT lo_put(4711, 0, 'other')", "SELECT lo_put(4711, 0, 'large')", vec![(ContentMismatch, "large objects")], true),
        // An index whose order is wrong while every checksum is right.
        (&back, &forth, vec![(IndexCorrupt, "public.odd_n"), definition], true),
        // What only an archive can show: a row of a table that changes anyway.
        (
            "UPDATE busy SET t = t || 'y' WHERE id = 15",
            "UPDATE busy SET t = left(t, -1) WHERE id = 15",
            vec![(ContentMismatch, "public.busy")],
            false,
        ),
    ];
    for copy in &scene.copies {
        let what = format!("{} on {major}", copy.database);
        assert_eq!(copy.found(&scene.instance).await, Found::new(), "{what}: clean at first");
        for (damage, repair, finds, by_snapshot) in &by_sql {
            copy.damage(&scene.instance, damage).await;
            let wanted = if copy.is_snapshot() && !by_snapshot { Found::new() } else { expected(finds) };
            assert_eq!(copy.found(&scene.instance).await, wanted, "{what}: {damage}");
            copy.damage(&scene.instance, repair).await;
        }
        assert_eq!(copy.found(&scene.instance).await, Found::new(), "{what}: clean after the repairs");
        let busy = if copy.is_snapshot() { (RowsDropped, "public.busy") } else { (ContentMismatch, "public.busy") };
        copy.damage(&scene.instance, "CREATE SCHEMA kept; CREATE TABLE kept.busy AS TABLE busy; DELETE FROM busy").await;
        let seen: Found = copy.found(&scene.instance).await.into_iter().filter(|(_, subject)| !subject.contains("kept")).collect();
        assert_eq!(seen, expected(&[busy]), "{what}: emptied");
        copy.damage(&scene.instance, "INSERT INTO busy SELECT * FROM kept.busy; DROP SCHEMA kept CASCADE").await;
    }
    for copy in 0..scene.copies.len() {
        let what = format!("{} on {major}", scene.copies[copy].database);
        assert_eq!(scene.copies[copy].found(&scene.instance).await, Found::new(), "{what}: clean before the pages");
        scene.flip(copy, "steady_t", 3).await;
        let seen = scene.copies[copy].found(&scene.instance).await;
        assert_eq!(seen, expected(&[(IndexCorrupt, "public.steady_t"), (HeapCorrupt, "checksums")]), "{what}: a page of an index");
        scene.flip(copy, "steady_t", 3).await;
        scene.flip(copy, "steady", 17).await;
        let url = with_database(&scene.instance.master_url, &scene.copies[copy].database).expect("a URL");
        let findings = scene.copies[copy].findings(&scene.instance, &url).await;
        let told = |kind: FindingKind| {
            findings.iter().find(|finding| finding.kind == kind && finding.subject == "public.steady").map(|finding| finding.seen.clone())
        };
        assert!(told(TableUnreadable).is_some_and(|seen| seen.starts_with("page 17 of")), "{what}: {findings:#?}");
        assert!(told(HeapCorrupt).is_some_and(|seen| seen.starts_with("block 17 of")), "{what}: {findings:#?}");
        scene.flip(copy, "steady", 17).await;
        // A page of long values, which are stored elsewhere: no page of the table itself is damaged.
        let mut admin = database::connect(&scene.instance, &with_database(&scene.instance.admin_url, &scene.copies[copy].database).expect("a URL"))
            .await
            .expect("connect");
        let toast: String = sqlx::query_scalar("SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'steady'::regclass")
            .fetch_one(&mut admin)
            .await
            .expect("ask");
        admin.close().await.expect("close");
        scene.flip(copy, &toast, 2).await;
        let seen = scene.copies[copy].found(&scene.instance).await;
        let values = format!("{toast}, where long values of public.steady are");
        for wanted in [(TableUnreadable, "public.steady"), (HeapCorrupt, values.as_str())] {
            assert!(seen.contains(&(wanted.0, wanted.1.to_owned())), "{what}: {seen:#?}");
        }
        scene.flip(copy, &toast, 2).await;
        // All pages are as they were, but the server does not forget what it counted.
        assert_eq!(scene.copies[copy].found(&scene.instance).await, expected(&[(HeapCorrupt, "checksums")]), "{what}: clean at last");
    }
}

#[test]
fn each_damage_is_found_in_the_copy_that_was_clean_before_on_17() {
    run(damages(17));
}

#[test]
fn each_damage_is_found_in_the_copy_that_was_clean_before_on_18() {
    run(damages(18));
}
