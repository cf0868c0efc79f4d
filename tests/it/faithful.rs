//! The archive is what stock pg_dump makes, byte for byte, and stock pg_restore makes the database of it again.

use local::database;
use tests::bed::Bed;
use tests::checks::{Backup, drop_copy, dump_equals_stock, prove, restored_copy_is_proved, schemas_are_equal};
use tests::copies::{WAYS, create_like, restore, restore_script};
use tests::soak::random::random_database;
use tests::torture::{self, BACKUP_ROLE, DATABASES};
use tests::world::{run, unique, world};

async fn torture(major: u32) {
    let world = world().await;
    let instance = world.own_server(major).await;
    torture::load(&instance).await;
    let bed = Bed::new().await;
    for (database, encoding) in DATABASES {
        for user in [None, Some(BACKUP_ROLE)] {
            let backup = dump_equals_stock(&bed, &instance, database, encoding, user).await;
            assert_slices(&backup, major);
            restored_copy_is_proved(&instance, &backup, database, &format!("copy_{}", unique()), &[&["-j4"]]).await;
        }
    }
}

fn assert_slices(backup: &Backup, major: u32) {
    // Every torture database has a table of several slices; before 16 nothing is sliced. Only the client programs for 17 have zstd here.
    assert_eq!(backup.held.sliced.0 > 0, major >= 16, "{:?}", backup.held.sliced);
    let suffix = if major == 17 { ".dat.zst" } else { ".dat.gz" };
    assert!(
        backup
            .manifest
            .objects
            .iter()
            .filter(|object| object.name.starts_with('t') && object.name != "toc.dat")
            .all(|object| object.name.ends_with(suffix))
    );
}

#[test]
fn torture_database_on_15() {
    run(torture(15));
}

#[test]
fn torture_database_on_16() {
    run(torture(16));
}

#[test]
fn torture_database_on_17() {
    run(torture(17));
}

#[test]
fn torture_database_on_18() {
    run(torture(18));
}

#[test]
fn every_way_of_restoring_gives_the_same_database() {
    run(async {
        let world = world().await;
        let instance = world.own_server(17).await;
        torture::load(&instance).await;
        let bed = Bed::new().await;
        let (database, encoding) = DATABASES[0];
        let backup = dump_equals_stock(&bed, &instance, database, encoding, None).await;
        for way in WAYS {
            let copy = format!("copy_{}", unique());
            create_like(&instance, database, &copy).await;
            restore(&instance, backup.folder.path(), &copy, way.calls).await.unwrap_or_else(|said| panic!("{}: {said}", way.name));
            let findings = prove(&instance, &copy, &backup.manifest).await.expect("compare");
            assert!(findings.is_empty(), "{}: {findings:#?}", way.name);
            schemas_are_equal(&instance, database, &copy, encoding, Some(BACKUP_ROLE)).await;
            drop_copy(&instance, &copy).await;
        }
        // `--clean` drops what it is about to create, and says what it cannot drop: the same as for a stock archive.
        let mut said = Vec::new();
        for folder in [backup.folder.path().to_owned(), backup.stock.as_ref().expect("a stock archive").path().join("stock")] {
            let copy = format!("copy_{}", unique());
            create_like(&instance, database, &copy).await;
            said.push(restore(&instance, &folder, &copy, &[&["--clean", "--if-exists"]]).await);
            assert_eq!(prove(&instance, &copy, &backup.manifest).await.expect("compare"), []);
            drop_copy(&instance, &copy).await;
        }
        assert_eq!(said[0], said[1]);
        let copy = format!("copy_{}", unique());
        create_like(&instance, database, &copy).await;
        let folder = tempfile::tempdir().expect("a folder");
        restore_script(&instance, backup.folder.path(), &copy, &folder.path().join("script.sql")).await.expect("restore by a script");
        assert_eq!(prove(&instance, &copy, &backup.manifest).await.expect("compare"), []);
        drop_copy(&instance, &copy).await;
    });
}

#[test]
fn one_table_is_restored_alone_by_name_and_by_list() {
    run(async {
        let world = world().await;
        let instance = world.server(17).await;
        let bed = Bed::new().await;
        let (database, copy) = (format!("source_{}", unique()), format!("copy_{}", unique()));
        database::create(&instance, &database).await.expect("create");
        let sql = "CREATE TABLE big AS SELECT n, md5(n::text) AS t FROM generate_series(1, 20000) n; CREATE TABLE other AS SELECT 1 AS n; CREATE INDEX ON big (n)";
        database::run_as_admin(&instance, &database, sql).await.expect("fill");
        let backup = dump_equals_stock(&bed, &instance, &database, "UTF8", None).await;
        let table = backup.manifest.tables.iter().find(|table| table.name == "big").expect("big");
        assert!(table.objects.len() >= 3, "{:?}", table.objects);
        let list = tempfile::tempdir().expect("a folder");
        let chosen = list.path().join("list");
        let listed = database::program(&instance, "pg_restore", &instance.admin_url).expect("pg_restore").args(["-l"]).args([backup.folder.path()]);
        let listed = String::from_utf8(listed.run_well().await.expect("list").stdout).expect("text");
        let lines: Vec<&str> = listed.lines().filter(|line| line.starts_with(';') || line.contains(" big ")).collect();
        std::fs::write(&chosen, lines.join("\n") + "\n").expect("write the list");
        let by_list = format!("--use-list={}", chosen.display());
        for calls in [&["-j4", "-t", "big"][..], &["-j4", &by_list]] {
            create_like(&instance, &database, &copy).await;
            restore(&instance, backup.folder.path(), &copy, &[calls]).await.expect("restore");
            let findings = prove(&instance, &copy, &backup.manifest).await.expect("compare");
            let subjects: Vec<&str> = findings.iter().map(|finding| finding.subject.as_str()).collect();
            assert_eq!(subjects, ["public.other"], "only the table that was not restored is missing");
            database::drop(&instance, &copy).await.expect("drop");
        }
        database::drop(&instance, &database).await.expect("drop");
    });
}

#[test]
fn random_databases_are_dumped_faithfully() {
    run(async {
        let bed = Bed::new().await;
        for (seed, major) in [(1, 17), (2, 17), (3, 16), (4, 18), (5, 15), (6, 17)] {
            random_database(&bed, seed, major).await;
        }
    });
}
