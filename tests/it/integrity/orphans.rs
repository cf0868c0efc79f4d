//! Foreign keys that nobody enforces: what they should promise is counted.

use std::time::Duration;

use integrity_check::checks::desk::Desk;
use integrity_check::orphans::{Progress, Untrusted, look};
use integrity_check::pace::Pace;
use local::database::identifier;
use shared::finding::{Finding, FindingKind};
use sqlx::AssertSqlSafe;
use tests::world::run;
use tokio::time::Instant;

use super::checks::{MAJORS, Stage};

fn key(name: &str, child: &str, columns: &[&str], parent: &str, parent_columns: &[&str]) -> Untrusted {
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Untrusted {
        name: name.to_owned(),
        child: ("Shop \"x\"".to_owned(), child.to_owned()),
        child_columns: of(columns),
        parent: ("Shop \"x\"".to_owned(), parent.to_owned()),
        parent_columns: of(parent_columns),
    }
}

async fn found(stage: &Stage, keys: &[Untrusted], timeout: Duration) -> Vec<Finding> {
    let (sessions, tables) = (stage.sessions(), stage.tables().await);
    let mut desk = Desk::new(&sessions, Instant::now() + Duration::from_mins(1));
    let (mut progress, mut pace) = (Progress::default(), Pace::new(1_000_000));
    assert!(look(&mut desk, keys, &tables, timeout, &mut progress, &mut pace).await.expect("look"));
    let statements = desk.statements;
    assert!(look(&mut desk, keys, &tables, timeout, &mut progress, &mut pace).await.expect("look"));
    assert_eq!((desk.statements, progress.done.len()), (statements, keys.len()), "what is done is not done again");
    desk.close().await;
    progress.findings
}

#[test]
fn rows_that_refer_to_nothing_are_counted_up_to_a_limit() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage
                .sql(
                    "CREATE SCHEMA \"Shop \"\"x\"\"\"; SET search_path = \"Shop \"\"x\"\"\"; CREATE TABLE parent (a int, b text, PRIMARY KEY (a, b)); CREATE TABLE \"child;\" (\"x y\" int, z text);
                     INSERT INTO parent SELECT n, 'v' FROM generate_series(1, 3000) n; INSERT INTO \"child;\" SELECT n, 'v' FROM generate_series(1, 3000) n; INSERT INTO \"child;\" VALUES (NULL, 'v'), (9999, NULL);
                     ALTER TABLE \"child;\" ADD CONSTRAINT fk FOREIGN KEY (\"x y\", z) REFERENCES parent (a, b) NOT VALID; ALTER TABLE \"child;\" DISABLE TRIGGER ALL; CREATE TABLE shut (a int)",
                )
                .await;
            let keys = [key("fk", "child;", &["x y", "z"], "parent", &["a", "b"])];
            let timeout = Duration::from_secs(30);
            assert_eq!(found(&stage, &keys, timeout).await, [], "on {major}");
            stage.sql("INSERT INTO \"Shop \"\"x\"\"\".\"child;\" VALUES (-1, 'v'), (1, 'w'), (-1, 'v')").await;
            let three = found(&stage, &keys, timeout).await;
            assert_eq!((three.len(), three[0].kind, three[0].subject.as_str()), (1, FindingKind::OrphanRows, "Shop \"x\".child;.fk"), "on {major}");
            assert_eq!(three[0].seen, "3 rows of Shop \"x\".child; whose x y, z is not in Shop \"x\".parent");
            let look_by = three[0].hint.as_deref().and_then(|hint| hint.strip_prefix("look by: ")).expect("a statement").to_owned();
            let rows = sqlx::query(AssertSqlSafe(look_by)).fetch_all(&mut stage.admin().await).await.expect("look");
            assert_eq!(rows.len(), 3);
            stage.sql("ALTER TABLE \"Shop \"\"x\"\"\".parent DISABLE TRIGGER ALL; DELETE FROM \"Shop \"\"x\"\"\".parent WHERE a > 500").await;
            assert!(found(&stage, &keys, timeout).await[0].seen.starts_with("at least 1,000 rows"), "on {major}");
            stage.end().await;
        }
    });
}

#[test]
fn what_cannot_be_counted_is_not_checked_and_what_is_gone_is_nothing() {
    run(async {
        let stage = Stage::new(17).await;
        let role = identifier(&stage.role);
        stage
            .sql(&format!(
                "CREATE SCHEMA \"Shop \"\"x\"\"\"; SET search_path = \"Shop \"\"x\"\"\"; CREATE TABLE parent (a int); CREATE TABLE child (a int); CREATE TABLE big (a int);
                 INSERT INTO big SELECT n FROM generate_series(1, 300000) n; REVOKE pg_read_all_data FROM {role}; GRANT USAGE ON SCHEMA \"Shop \"\"x\"\"\" TO {role}; GRANT SELECT ON child, big TO {role}"
            ))
            .await;
        let keys = [
            key("denied", "child", &["a"], "parent", &["a"]),
            key("gone", "child", &["a"], "gone", &["a"]),
            key("slow", "big", &["a"], "big", &["a"]),
        ];
        let mut findings = found(&stage, &keys[..2], Duration::from_secs(30)).await;
        findings.extend(found(&stage, &keys[2..], Duration::from_millis(1)).await);
        let subjects: Vec<(FindingKind, &str)> = findings.iter().map(|finding| (finding.kind, finding.subject.as_str())).collect();
        assert_eq!(
            subjects,
            [(FindingKind::NotChecked, "Shop \"x\".child.denied"), (FindingKind::NotChecked, "Shop \"x\".big.slow")],
            "{findings:#?}"
        );
        assert_eq!(findings[0].hint.as_deref(), Some(format!("GRANT SELECT ON \"Shop \"\"x\"\"\".\"parent\" TO {role};").as_str()));
        stage.sql(findings[0].hint.as_deref().expect("a grant")).await;
        assert_eq!(found(&stage, &keys[..2], Duration::from_secs(30)).await, []);
        stage.end().await;
    });
}
