//! That nobody notices a scan: each page is read once and no faster than allowed, migrations do not wait, and what changes meanwhile does not mislead it.

use super::*;

const BIG: &str = "CREATE TABLE big (n int NOT NULL, t text, v numeric) WITH (autovacuum_enabled = off);
                   INSERT INTO big SELECT n, md5(n::text) || repeat('x', 150), n % 1000 FROM generate_series(1, 200000) n";

async fn blocks(connection: &mut Connection, oid: u32) -> u64 {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.expect("flush");
    let blocks: i64 =
        sqlx::query_scalar("SELECT pg_stat_get_blocks_fetched($1::int8::oid)").bind(i64::from(oid)).fetch_one(connection).await.expect("ask");
    u64::try_from(blocks).expect("a count")
}

#[test]
fn every_page_is_read_once_and_no_faster_than_the_pace() {
    run(async {
        for major in [15, 16, 17, 18] {
            let bed = Bed::new(major, BIG).await;
            let table = bed.table("big").await;
            let (mut connection, _) = bed.sessions(None).connect("scan").await.expect("connect");
            let scanner = Scanner::new(&mut connection, &[&table], Limits::default(), "monitor").await.expect("ask");
            let before = blocks(&mut connection, table.oid).await;
            let (rate, begun) = (table.pages / 2, Instant::now());
            let outcome = scanner.scan(&mut connection, &table, None, &mut Pace::new(rate), begun + LONG).await.expect("scan");
            let (metrics, took) = (done(outcome).0, begun.elapsed());
            let read = blocks(&mut connection, table.oid).await - before;
            assert!(read * 100 <= table.pages * 105 && read >= table.pages, "{read} blocks for {} pages on {major}", table.pages);
            assert_eq!((metrics.rows, metrics.pages), (200_000, table.pages));
            // What the last window reads is not waited for; it is a second's worth at most.
            assert!(took >= Duration::from_millis(950), "{} pages at {rate} a second took {took:?} on {major}", table.pages);
            bed.end().await;
        }
    });
}

#[test]
fn a_large_table_is_sampled_and_its_rows_are_estimated_from_its_pages() {
    run(async {
        for major in [15, 18] {
            let bed = Bed::new(major, BIG).await;
            // Half of the rows are gone, and the statistics claim a thousand times as many.
            bed.sql("DELETE FROM big WHERE n % 2 = 0; UPDATE pg_class SET reltuples = 1e8 WHERE relname = 'big'").await;
            let table = bed.table("big").await;
            let (mut connection, _) = bed.sessions(None).connect("scan").await.expect("connect");
            let limits = Limits { table_pages_max: 1_000, sample_pages: 1_500, ..Limits::default() };
            let scanner = Scanner::new(&mut connection, &[&table], limits, "monitor").await.expect("ask");
            let before = blocks(&mut connection, table.oid).await;
            let outcome = scanner.scan(&mut connection, &table, None, &mut Pace::new(1 << 30), Instant::now() + LONG).await.expect("scan");
            let (metrics, _, findings) = done(outcome);
            let read = blocks(&mut connection, table.oid).await - before;
            assert!((1_300..=1_700).contains(&read), "{read} of {} blocks", table.pages);
            assert!(findings.is_empty() && metrics.partial.is_none(), "a sample is no part that is hidden");
            assert!(metrics.rows.abs_diff(100_000) < 10_000 && metrics.seen < 35_000 && metrics.pages == 1_500, "{metrics:?}");
            assert!(close(metrics.columns[2].distinct, Some(500.0), 0.06), "{metrics:?}");
            // The same pages again.
            let again = scanner.scan(&mut connection, &table, None, &mut Pace::new(1 << 30), Instant::now() + LONG).await.expect("scan");
            assert!(done(again).0.rows.abs_diff(metrics.rows) < 5_000);
            bed.end().await;
        }
    });
}

#[test]
fn migrations_do_not_wait_for_a_scan() {
    run(async {
        let bed = Bed::new(17, &format!("{BIG}; INSERT INTO big SELECT * FROM big; INSERT INTO big SELECT * FROM big")).await;
        let table = bed.table("big").await;
        let (mut connection, _) = bed.sessions(None).connect("scan").await.expect("connect");
        let scanner = Scanner::new(&mut connection, &[&table], Limits::default(), "monitor").await.expect("ask");
        let scanning = async {
            let (mut progress, mut locked) = (None, 0);
            loop {
                let pace = &mut Pace::new(table.pages / 2);
                match scanner.scan(&mut connection, &table, progress, pace, Instant::now() + LONG).await.expect("scan") {
                    Scanned::Unfinished(next, Cut::Locked) if locked < 100 => (progress, locked) = (Some(*next), locked + 1),
                    ended => break done(ended).0,
                }
            }
        };
        let mut migrating = bed.connection().await;
        let migrations = async {
            let mut waits = Vec::new();
            for number in 0..1_000 {
                let begun = Instant::now();
                database::run(&mut migrating, &format!("ALTER TABLE big ADD COLUMN new_{number} int; ALTER TABLE big DROP COLUMN new_{number}"))
                    .await
                    .expect("migrate");
                waits.push(begun.elapsed());
                tokio::task::yield_now().await;
            }
            waits
        };
        tokio::pin!(scanning);
        let mut waits = Vec::new();
        let metrics = tokio::select! {
            metrics = &mut scanning => metrics,
            all = migrations => { waits = all; scanning.await }
        };
        assert_eq!(metrics.rows, 800_000);
        let longest = waits.iter().max();
        assert!(longest.is_none_or(|longest| *longest <= Duration::from_secs(1)), "a migration waited {longest:?}");
        bed.end().await;
    });
}

/// A scan that was cut after its first window.
async fn begun(bed: &Bed, table: &Table) -> Progress {
    let (mut connection, _) = bed.sessions(None).connect("scan").await.expect("connect");
    let scanner = Scanner::new(&mut connection, &[table], Limits::default(), "monitor").await.expect("ask");
    // The first window may be read at once, the next only after a minute.
    let pace = &mut Pace::new(4);
    match scanner.scan(&mut connection, table, None, pace, Instant::now() + Duration::from_millis(900)).await.expect("scan") {
        Scanned::Unfinished(progress, Cut::Deadline) if progress.totals.seen > 0 => *progress,
        other => panic!("{other:?}"),
    }
}

async fn gone_on(bed: &Bed, table: &Table, progress: Progress) -> Scanned {
    let (mut connection, _) = bed.sessions(None).connect("scan").await.expect("connect");
    let scanner = Scanner::new(&mut connection, &[table], Limits::default(), "monitor").await.expect("ask");
    scanner.scan(&mut connection, table, Some(progress), &mut Pace::new(1 << 30), Instant::now() + LONG).await.expect("scan")
}

#[test]
fn what_is_dropped_made_anew_rewritten_or_changed_midway_does_not_mislead() {
    run(async {
        let bed = Bed::new(16, BIG).await;
        for (change, rows) in
            [("VACUUM FULL big", 200_000), ("TRUNCATE big; INSERT INTO big SELECT 1, 'a', 2", 1), (BIG.split_once(';').expect("two").1, 200_001)]
        {
            let table = bed.table("big").await;
            let table = Table { pages: table.pages.max(100), ..table };
            if table.pages > 100 {
                let progress = begun(&bed, &table).await;
                bed.sql(change).await;
                assert_eq!(done(gone_on(&bed, &table, progress).await).0.rows, rows, "{change}");
            } else {
                bed.sql(change).await;
            }
        }
        let table = bed.table("big").await;
        let progress = begun(&bed, &table).await;
        bed.sql("ALTER TABLE big ALTER t TYPE int USING 1, DROP COLUMN v").await;
        let (metrics, ..) = done(gone_on(&bed, &bed.table("big").await, progress.clone()).await);
        assert!(metrics.rows == 200_001 && metrics.columns.len() == 2 && metrics.columns[1].max == Some(1.0), "{metrics:?}");
        // With the catalog of before: it is to be looked at again.
        let mut connection = bed.sessions(None).connect("scan").await.expect("connect").0;
        let scanner = Scanner::new(&mut connection, &[&table], Limits::default(), "monitor").await.expect("ask");
        bed.sql("ALTER TABLE big ALTER n TYPE text").await;
        let outcome = scanner.scan(&mut connection, &table, None, &mut Pace::new(1 << 30), Instant::now() + LONG).await.expect("scan");
        assert!(matches!(outcome, Scanned::Unfinished(_, Cut::Changed)), "{outcome:?}");
        let (table, progress) = (bed.table("big").await, begun(&bed, &bed.table("big").await).await);
        bed.sql("DROP TABLE big").await;
        assert_eq!(gone_on(&bed, &table, progress.clone()).await, Scanned::Vanished);
        let scanner = Scanner::new(&mut connection, &[&table], Limits::default(), "monitor").await.expect("ask");
        bed.sql("CREATE TABLE big (n text, t int)").await;
        let outcome = scanner.scan(&mut connection, &table, Some(progress), &mut Pace::new(1 << 30), Instant::now() + LONG).await.expect("scan");
        assert_eq!(outcome, Scanned::Vanished);
        bed.end().await;
    });
}

#[test]
fn a_lock_that_excludes_reading_is_waited_for_shortly_and_said() {
    run(async {
        let bed = Bed::new(18, BIG).await;
        let (table, mut holder) = (bed.table("big").await, bed.connection().await);
        database::run(&mut holder, "BEGIN; LOCK TABLE big").await.expect("lock");
        let (mut connection, _) = bed.sessions(None).connect("scan").await.expect("connect");
        let scanner = Scanner::new(&mut connection, &[&table], Limits::default(), "monitor").await.expect("ask");
        let begun = Instant::now();
        let outcome = scanner.scan(&mut connection, &table, None, &mut Pace::new(1 << 30), begun + LONG).await.expect("scan");
        let Scanned::Unfinished(progress, Cut::Locked) = outcome else { panic!("{outcome:?}") };
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        database::run(&mut holder, "ROLLBACK").await.expect("unlock");
        // The session goes on.
        let outcome = scanner.scan(&mut connection, &table, Some(*progress), &mut Pace::new(1 << 30), Instant::now() + LONG).await.expect("scan");
        assert_eq!(done(outcome).0.rows, 200_000);
        bed.end().await;
    });
}
