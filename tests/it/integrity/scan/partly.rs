//! What the role may not see, or the server not compare, is said with the statement that helps; it is never a smaller number in silence.

use shared::finding::FindingKind;

use super::*;

const LOGIN: &str = "LOGIN PASSWORD 'scan'";

async fn scanned(bed: &Bed, role: &str, table: &Table, limits: &Limits) -> Scanned {
    let (mut connection, _) = bed.sessions(Some(role)).connect("scan").await.expect("connect");
    let scanner = Scanner::new(&mut connection, &[table], limits.clone(), role).await.expect("ask");
    scanner.scan(&mut connection, table, None, &mut Pace::new(2_000), Instant::now() + LONG).await.expect("scan")
}

#[test]
fn row_level_security_is_seen_through_as_far_as_it_goes_and_said() {
    run(async {
        for major in [15, 16, 17, 18] {
            let role = format!("watcher_{}", unique());
            let bed = Bed::new(
                major,
                &format!(
                    "CREATE ROLE {role} {LOGIN}; CREATE TABLE secret (n int NOT NULL, t text); INSERT INTO secret SELECT n, 'x' FROM generate_series(1, 30000) n;
                     ALTER TABLE secret ENABLE ROW LEVEL SECURITY; CREATE POLICY third ON secret USING (n % 3 = 0); GRANT SELECT ON secret TO {role}"
                ),
            )
            .await;
            let table = bed.table("secret").await;
            let (metrics, _, findings) = done(scanned(&bed, &role, &table, &Limits::default()).await);
            assert_eq!((metrics.rows, metrics.seen, metrics.columns[0].max), (10_000, 10_000, Some(30_000.0)), "on {major}");
            assert!(metrics.partial.is_some_and(|partial| partial.contains("row-level security")));
            assert_eq!(
                findings.iter().map(|finding| (finding.kind, finding.subject.as_str())).collect::<Vec<_>>(),
                [(FindingKind::PartlySeen, "public.secret")]
            );
            assert!(findings[0].hint.as_deref().is_some_and(|hint| hint.starts_with(&format!("ALTER ROLE \"{role}\" BYPASSRLS;"))), "{findings:#?}");
            // What the hint says helps.
            bed.sql(&format!("ALTER ROLE {role} BYPASSRLS")).await;
            let (metrics, _, findings) = done(scanned(&bed, &role, &table, &Limits::default()).await);
            assert!(metrics.rows == 30_000 && metrics.partial.is_none() && findings.is_empty(), "{metrics:?} {findings:?}");
            bed.end().await;
            database::run_as_admin(&world().await.server(major).await, "postgres", &format!("DROP ROLE {role}")).await.expect("drop the role");
        }
    });
}

#[test]
fn missing_privileges_are_said_with_the_grant_and_columns_that_may_be_read_are_read() {
    run(async {
        let role = format!("poor_{}", unique());
        let bed = Bed::new(
            17,
            &format!(
                "CREATE ROLE {role} {LOGIN}; CREATE SCHEMA \"the \"\"shop\"; CREATE TABLE \"the \"\"shop\".\"it's\" (n int NOT NULL, t text, hidden text);
                 INSERT INTO \"the \"\"shop\".\"it's\" SELECT n, 'x', 'secret' FROM generate_series(1, 50000) n"
            ),
        )
        .await;
        let table = bed.table("\"the \"\"shop\".\"it's\"").await;
        let grants = format!("GRANT USAGE ON SCHEMA \"the \"\"shop\" TO \"{role}\"; GRANT SELECT ON \"the \"\"shop\".\"it's\" TO \"{role}\";");
        // The catalog knows it, or it was revoked since.
        let hidden = |may: bool| Table {
            may_select: false,
            columns: table.columns.iter().map(|column| Column { may_select: may && column.name != "hidden", ..column.clone() }).collect(),
            ..table.clone()
        };
        for table in [hidden(false), table.clone()] {
            let Scanned::NotChecked(finding) = scanned(&bed, &role, &table, &Limits::default()).await else { panic!("it was read") };
            assert_eq!((finding.kind, finding.subject.as_str()), (FindingKind::NotChecked, "the \"shop.it's"));
            assert!(finding.hint.as_deref().is_some_and(|hint| hint.starts_with(&grants)), "{finding:#?}");
        }
        bed.sql(&format!("GRANT USAGE ON SCHEMA \"the \"\"shop\" TO {role}; GRANT SELECT (n, t) ON \"the \"\"shop\".\"it's\" TO {role}")).await;
        let (metrics, _, findings) = done(scanned(&bed, &role, &hidden(true), &Limits::default()).await);
        assert_eq!((metrics.rows, metrics.columns.len(), metrics.columns[0].max), (50_000, 2, Some(50_000.0)));
        assert!(metrics.partial.is_some_and(|partial| partial.contains("1 of 3 columns: \"hidden\"")));
        assert!(
            findings.len() == 1
                && findings[0].kind == FindingKind::PartlySeen
                && findings[0].hint.as_deref().is_some_and(|hint| hint.starts_with(&grants)),
            "{findings:#?}"
        );
        // Larger than a window: what cannot be read by pages is sampled.
        let (metrics, ..) =
            done(scanned(&bed, &role, &Table { pages: 2_001, ..hidden(true) }, &Limits { sample_pages: 500, ..Limits::default() }).await);
        assert!(metrics.pages == 500 && metrics.seen < 50_000 && metrics.rows > metrics.seen, "{metrics:?}");
        bed.sql(&grants).await;
        let (metrics, _, findings) = done(scanned(&bed, &role, &table, &Limits::default()).await);
        assert!(metrics.rows == 50_000 && metrics.columns.len() == 3 && findings.is_empty());
        bed.end().await;
        database::run_as_admin(&world().await.server(17).await, "postgres", &format!("DROP ROLE {role}")).await.expect("drop the role");
    });
}

#[test]
fn values_that_the_server_refuses_to_compare_are_counted_nevertheless() {
    run(async {
        let bed = Bed::new(
            18,
            "CREATE TABLE odd (n int, t text); INSERT INTO odd SELECT n, CASE WHEN n % 4 > 0 THEN 'x' END FROM generate_series(1, 9000) n;
             CREATE MATERIALIZED VIEW later AS SELECT * FROM odd WITH NO DATA; CREATE TYPE pair AS (a int, b json); CREATE TABLE pairs (p pair, x xid, y point)",
        )
        .await;
        bed.sql("INSERT INTO pairs SELECT ROW(n, '{}')::pair, n::text::xid, point(n, n) FROM generate_series(1, 50) n").await;
        // Its type says that it can be hashed; what is in it cannot.
        let (metrics, _, findings) = done(bed.scan(&bed.table("pairs").await, &Limits::default()).await);
        assert!(
            metrics.rows == 50 && findings.is_empty() && metrics.columns[0].distinct.is_none() && metrics.columns[1].distinct == Some(50.0),
            "{metrics:?} {findings:?}"
        );
        let Scanned::NotChecked(finding) = bed.scan(&Table { pages: 1, ..bed.table("later").await }, &Limits::default()).await else {
            panic!("it was read")
        };
        assert!(
            finding.kind == FindingKind::NotChecked
                && finding.hint.is_some_and(|hint| hint.contains("REFRESH MATERIALIZED VIEW \"public\".\"later\";"))
        );
        bed.sql("REFRESH MATERIALIZED VIEW later").await;
        let (metrics, ..) = done(bed.scan(&bed.table("later").await, &Limits::default()).await);
        assert_eq!((metrics.rows, metrics.columns[1].nulls), (9_000, 2_250));
        bed.end().await;
    });
}

#[test]
fn text_that_is_no_text_is_counted_in_a_database_without_an_encoding() {
    run(async {
        let (instance, database) = (world().await.server(16).await, format!("ascii_{}", unique()));
        let create = format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
        database::run_as_admin(&instance, "postgres", &create).await.expect("create");
        let bed = Bed { instance, database };
        bed.sql("CREATE TABLE raw AS SELECT convert_from(decode(lpad(to_hex(128 + n % 100), 2, '0') || 'ff', 'hex'), 'SQL_ASCII') AS t FROM generate_series(1, 3000) n").await;
        let (metrics, _, findings) = done(bed.scan(&bed.table("raw").await, &Limits::default()).await);
        let column = &metrics.columns[0];
        assert!(metrics.rows == 3000 && findings.is_empty() && column.max == Some(2.0) && close(column.distinct, Some(100.0), 0.05), "{metrics:?}");
        bed.end().await;
    });
}
