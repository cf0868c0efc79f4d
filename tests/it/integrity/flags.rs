//! Feature flags, read from tables and queries of any shape.

use std::time::Duration;

use integrity_check::checks::TeamFile;
use integrity_check::checks::desk::Desk;
use integrity_check::flags::look::look;
use integrity_check::flags::{Memory, Seen, judge, remember};
use local::database::identifier;
use local::host::now;
use shared::finding::{Finding, FindingKind};
use tests::world::run;
use tokio::time::Instant;

use super::checks::{MAJORS, Stage};

async fn seen(stage: &Stage, flags: &str) -> Result<Seen, Finding> {
    let file = TeamFile::read(&format!("[flags]\n{flags}"));
    assert_eq!(file.wrong, []);
    let sessions = stage.sessions();
    let mut desk = Desk::new(&sessions, Instant::now() + Duration::from_mins(1));
    let seen = look(&mut desk, &file.flags.expect("flags")).await.expect("in time");
    desk.close().await;
    seen
}

async fn stale(stage: &Stage, flags: &str) -> Vec<(String, String)> {
    let settings = TeamFile::read(&format!("[flags]\n{flags}")).flags.expect("flags");
    let seen = seen(stage, flags).await.expect("flags");
    let memory = remember(&Memory::new(), &seen.flags, now());
    judge(&settings, &seen.flags, &memory, now()).into_iter().map(|finding| (finding.subject, finding.seen)).collect()
}

#[test]
fn flags_of_any_shape_are_read_and_stale_ones_are_found() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            stage
                .sql(
                    "CREATE TABLE feature_flags (name text, enabled boolean, rollout_percentage numeric, created_at timestamptz, updated_at timestamptz DEFAULT now(), payload bytea, note point);
                     INSERT INTO feature_flags VALUES ('old', true, 100, now() - interval '90 d', now() - interval '40 d'), ('fresh', true, 100, now(), now()), ('half', true, 50, now() - interval '90 d', now() - interval '90 d'),
                       ('never', false, NULL, now() - interval '50 d', now() - interval '50 d'), ('infinite', true, NULL, '-infinity', 'infinity');
                     CREATE SCHEMA \"My flags\"; CREATE TYPE mode AS ENUM ('on', 'off'); CREATE TABLE \"My flags\".\"Flag;s\" (\"Flag\" citext_like, mode mode, changed date);"
                        .replace("citext_like", "varchar")
                        .as_str(),
                )
                .await;
            stage.sql("INSERT INTO \"My flags\".\"Flag;s\" VALUES ('a', 'on', current_date - 31), ('b', 'off', current_date - 20)").await;
            let clean = stale(&stage, "table = \"public.feature_flags\"\non-days = 60\noff-days = 60").await;
            assert_eq!(clean, [], "on {major}");
            let broken = stale(&stage, "table = \"public.feature_flags\"").await;
            let of = |name: &str, seen: &str| (format!("flag {name}"), seen.to_owned());
            assert_eq!(broken, [of("never", "never on since it was made, 50 days ago"), of("old", "on for everybody for 40 days")], "on {major}");
            let mapped = "table = \"My flags.Flag;s\"\nname-column = \"Flag\"\nenabled-column = \"mode\"\nupdated-column = \"changed\"";
            assert_eq!(stale(&stage, mapped).await, [of("a", "on for everybody for 31 days")], "on {major}");
            let query = "query = '''\nSELECT name, enabled, updated_at FROM feature_flags WHERE name = 'old' -- ) \n'''\nknown = [\"new\"]";
            assert_eq!(stale(&stage, query).await, [of("old", "it is in the table, and not in the team's list: no code asks for it")], "on {major}");
            stage.end().await;
        }
    });
}

#[test]
fn what_cannot_be_read_is_said_with_what_helps() {
    run(async {
        let stage = Stage::new(18).await;
        let role = identifier(&stage.role);
        stage
            .sql(&format!("CREATE TABLE flags (name text, enabled bool); INSERT INTO flags VALUES ('a', true); REVOKE pg_read_all_data FROM {role}"))
            .await;
        let denied = seen(&stage, "table = \"public.flags\"").await.expect_err("denied");
        assert_eq!(
            (denied.kind, denied.hint.as_deref()),
            (FindingKind::NotChecked, Some(format!("GRANT SELECT ON \"public\".\"flags\" TO {role};").as_str()))
        );
        stage.sql(denied.hint.as_deref().expect("a grant")).await;
        assert_eq!(seen(&stage, "table = \"public.flags\"").await.expect("flags").flags.len(), 1);
        for (flags, says) in [
            ("table = \"public.flag\"", "relation \"public.flag\" does not exist"),
            ("table = \"public.flags\"\nrollout-column = \"percent\"", "there is no column percent"),
            ("query = \"SELECT nme FROM flags\"", "column \"nme\" does not exist"),
            ("query = \"DELETE FROM flags RETURNING *\"", "SQLSTATE 42"),
        ] {
            let wrong = seen(&stage, flags).await.expect_err(flags);
            assert!(wrong.kind == FindingKind::CheckInvalid && wrong.seen.contains(says), "{wrong:?}");
        }
        stage.end().await;
    });
}
