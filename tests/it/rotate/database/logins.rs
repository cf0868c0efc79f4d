//! What a login shows, told apart; who is connected, and the end of it.

use std::path::PathBuf;

use chrono::TimeDelta;
use local::database::{self, identifier};
use local::host::now;
use local::proxy::AfterCut;
use rotate_secret::database::password::{Committed, new_password};
use rotate_secret::database::readers::servers;
use rotate_secret::database::roles::Missing;
use rotate_secret::database::{Login, Place, Server, access, login};
use rotate_secret::identity::{Mark, marked, retired};
use shared::failure::FailureKind;
use shared::secrets::ExposeSecret;
use shared_postgres::Access;
use tests::world::{run, unique, world};

use super::{MAJORS, OLD, Stage, Who, is_refused, rotation, secret, works};

fn kind(login: &Login) -> Option<FailureKind> {
    match login {
        Login::CannotTell(failure) => Some(failure.kind),
        _ => None,
    }
}

#[test]
fn a_password_is_given_and_taken_on_every_major() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let b = stage.name(Who::B);
            stage
                .admin(&format!("ALTER ROLE {} VALID UNTIL '2020-01-01'; COMMENT ON ROLE {} IS 'it''s the shop''s'", identifier(&b), identifier(&b)))
                .await;
            assert!(is_refused(&stage.log_in(Who::B, OLD).await, "28P01"), "its password is too old");
            let mut session = stage.must_take(&stage.rotator, "first").await;
            let before = session.server().roles(&[&b]).await.expect("look").remove(0);
            assert!(
                before.exists && before.can_login && before.valid_until.is_some() && before.missing.is_empty() && !before.is_master,
                "{before:?}"
            );
            let (password, id) = (new_password().expect("a password"), rotation(1));
            let came = session.set_password(&b, &password, &marked(before.comment.as_deref(), &id)).await.expect("set");
            assert_eq!(came, Committed::Yes);
            let after = session.server().roles(&[&b]).await.expect("look").remove(0);
            assert_eq!((after.mark, after.valid_until), (Some(Mark::Set(id.clone())), None));
            assert_eq!(after.comment, Some(format!("it's the shop's [lifeboat rotation {id}]")));
            match stage.log_in(Who::B, password.expose_secret()).await {
                Login::Accepted(seen) => {
                    assert_eq!((seen.session_user, seen.current_user), (b.clone(), stage.name(Who::Group)));
                    assert!(!seen.in_recovery && u32::try_from(seen.server_version / 10_000) == Ok(major));
                }
                other => panic!("PostgreSQL {major}: {other:?}"),
            }
            assert!(is_refused(&stage.log_in(Who::B, OLD).await, "28P01"));
            session.retire(&b, &retired(after.comment.as_deref(), &id)).await.expect("retire");
            let last = session.server().roles(&[&b]).await.expect("look").remove(0);
            assert_eq!((last.can_login, last.mark), (false, Some(Mark::Retired(id))));
            assert!(matches!(stage.log_in(Who::B, password.expose_secret()).await, Login::Refused { .. }));
            session.close().await;
            stage.end().await;
        }
    });
}

#[test]
fn who_may_not_is_seen_before_it_is_tried() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let (b, rotator) = (stage.name(Who::B), identifier(&stage.name(Who::Rotator)));
            let mut session = stage.must_take(&stage.rotator, "first").await;
            stage.admin(&format!("ALTER ROLE {rotator} NOCREATEROLE")).await;
            let seen = session.server().roles(&[&b]).await.expect("look").remove(0);
            assert!(seen.missing.contains(&Missing::CreateRole), "{seen:?}");
            assert_eq!(session.set_password(&b, &secret("x"), "c").await.expect_err("refused").kind, FailureKind::Denied);
            stage.admin(&format!("ALTER ROLE {rotator} CREATEROLE")).await;
            if major >= 16 {
                stage.sql(&stage.instance.master_url, &format!("REVOKE ADMIN OPTION FOR {} FROM {rotator}", identifier(&b))).await;
            }
            let seen = session.server().roles(&[&b]).await.expect("look").remove(0);
            assert_eq!(seen.missing, if major >= 16 { vec![Missing::AdminOption] } else { vec![] });
            assert_eq!(session.set_password(&b, &secret(OLD), "c").await.is_err(), major >= 16);
            let seen = session.server().roles(&["rdsadmin", "lifeboat_master", "nobody"]).await.expect("look");
            assert!(seen[0].missing.contains(&Missing::Superuser) && seen[0].is_master && seen[1].is_master && !seen[2].exists, "{seen:?}");
            // A name that is too long would be cut, and be another's.
            let other = format!("{:x<63}", format!("cut_{}_", stage.number));
            stage.admin(&format!("CREATE ROLE {other} LOGIN PASSWORD '{OLD}'")).await;
            assert!(session.set_password(&format!("{other}x"), &secret("x"), "c").await.is_err());
            assert!(works(&login::log_in(&stage.place(), &other, &secret(OLD), "test").await));
            stage.admin(&format!("DROP ROLE {other}")).await;
            // The session is as good as before.
            session.still_ours().await.expect("ours");
            session.close().await;
            stage.end().await;
        }
    });
}

#[test]
fn what_is_no_answer_about_the_password_is_not_taken_for_one() {
    run(async {
        let stage = Stage::new(17).await;
        let (place, b) = (stage.place(), stage.name(Who::B));
        let quoted = identifier(&b);
        assert!(works(&stage.log_in(Who::B, OLD).await));
        assert!(is_refused(&stage.log_in(Who::B, "wrong").await, "28P01"));
        assert!(is_refused(&login::log_in(&place, "nobody", &secret(OLD), "test").await, "28P01"));
        stage.admin(&format!("ALTER ROLE {quoted} NOLOGIN")).await;
        assert!(is_refused(&stage.log_in(Who::B, OLD).await, "28000"));
        stage.admin(&format!("ALTER ROLE {quoted} LOGIN CONNECTION LIMIT 0")).await;
        assert_eq!(kind(&stage.log_in(Who::B, OLD).await), Some(FailureKind::Unreachable));
        stage.admin(&format!("ALTER ROLE {quoted} CONNECTION LIMIT -1; REVOKE CONNECT ON DATABASE {} FROM PUBLIC", stage.database)).await;
        assert_eq!(kind(&stage.log_in(Who::B, OLD).await), Some(FailureKind::Denied));
        let elsewhere = Place { database: "nowhere".to_owned(), ..place.clone() };
        let came = login::log_in(&elsewhere, &b, &secret(OLD), "test").await;
        assert!(kind(&came).is_some(), "{came:?}");
        let (proxy, access) = stage.proxied().await;
        proxy.cut_now(AfterCut::Refuse);
        let through = Place::of(&access);
        assert_eq!(kind(&login::log_in(&through, &b, &secret(OLD), "test").await), Some(FailureKind::Unreachable));
        for came in login::everywhere(&[place.clone(), through, elsewhere], &b, &secret("never-to-be-printed"), "test").await {
            assert!(!format!("{came:?}").contains("never-to-be-printed") && !works(&came.1), "{came:?}");
        }
        stage.end().await;
    });
}

#[test]
fn tls_is_never_given_up() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let other: PathBuf = folder.path().join("other.pem");
        std::fs::write(&other, OTHER_AUTHORITY).expect("write");
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let place = Place { ca_file: Some(other.clone()), ..stage.place() };
            // A server without TLS, or one whose certificate is another authority's.
            let came = login::log_in(&place, &stage.name(Who::B), &secret(OLD), "test").await;
            assert_eq!(kind(&came), Some(FailureKind::BadSettings), "PostgreSQL {major}: {came:?}");
            if stage.instance.tls {
                assert!(works(&stage.log_in(Who::B, OLD).await), "with the right one");
                let (proxy, access) = stage.proxied().await;
                assert!(works(&login::log_in(&Place::of(&access), &stage.name(Who::B), &secret(OLD), "test").await));
                drop(proxy);
                let plain = Place { ca_file: None, ..stage.place() };
                let came = login::log_in(&plain, &stage.name(Who::B), &secret(OLD), "test").await;
                assert!(!works(&came), "the server insists on TLS: {came:?}");
            }
            stage.end().await;
        }
    });
}

#[test]
fn sessions_are_counted_named_and_ended() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let b = stage.name(Who::B);
            let access = stage.place().access(&b, &secret(OLD)).expect("on this machine");
            let connect = async |name: &str| access.connect(&access.database, name).await.expect("connect");
            let mut old = [connect("web").await, connect("web").await, connect("worker").await];
            let mut session = stage.must_take(&stage.rotator, "first").await;
            let counted: Vec<(String, i64)> =
                session.server().sessions(&b, None).await.expect("look").into_iter().map(|seen| (seen.application_name, seen.count)).collect();
            assert_eq!(counted, [("web".to_owned(), 2), ("worker".to_owned(), 1)], "{major}");
            assert_eq!(session.server().roles(&[&b]).await.expect("look")[0].session_count(), 3);
            let before = now() - TimeDelta::hours(1);
            assert!(session.server().sessions(&b, Some(before)).await.expect("look").is_empty());
            assert_eq!(session.server().end_sessions(&b, Some(before)).await.expect("end").ended, 0);
            let ended = session.server().end_sessions(&b, None).await.expect("end");
            assert_eq!((ended.ended, ended.left), (3, 0), "{major}");
            for connection in &mut old {
                sqlx::query("SELECT 1").execute(connection).await.expect_err("ended");
            }
            // Its own sessions, but for the one that asks.
            let mut other = Server::connect(&stage.rotator, &stage.database, "other").await.expect("connect");
            let us = other.us().await.expect("ask");
            assert_eq!(session.server().end_sessions(&us, None).await.expect("end").ended, 1);
            session.still_ours().await.expect("the one that asks stays");
            // By whom it was granted.
            let revoke = format!("REVOKE pg_signal_backend FROM {}", identifier(&stage.name(Who::Rotator)));
            stage.sql(&stage.instance.master_url, &revoke).await;
            let _held = connect("web").await;
            let denied = session.server().end_sessions(&b, None).await.expect_err("denied");
            assert!(
                denied.kind == FailureKind::Denied && denied.hint.as_deref().is_some_and(|hint| hint.contains("pg_signal_backend")),
                "{denied:?}"
            );
            session.close().await;
            database::run_as_admin(&stage.instance, "postgres", &format!("ALTER ROLE {} NOLOGIN", identifier(&b))).await.expect("lock");
            stage.end().await;
        }
    });
}

#[test]
fn readers_are_what_the_definition_lists_and_what_rds_knows() {
    run(async {
        let (world, account) = (world().await, format!("7{:011}", unique()));
        let instance = world.cloud.create_instance(&account, "app-db", 17).await.expect("an instance");
        let rds = aws_sdk_rds::Client::new(&world.cloud.sdk_config(&account));
        let writer = Place { host: instance.host.clone(), port: instance.port, database: "app".to_owned(), ca_file: Some(instance.ca_file.clone()) };
        let found = servers(&rds, "app-db", writer.clone(), &["reader.example:6000".to_owned()]).await.expect("ask RDS");
        assert_eq!(found.all(), [writer.clone(), writer.at("reader.example", 6000)]);
        assert!(found.unchecked.is_empty());
        let missing = servers(&rds, "no-such-instance", writer.clone(), &[]).await.expect_err("no such instance");
        assert!(missing.to_string().contains("no-such-instance"), "{missing}");
        servers(&rds, "app-db", writer, &["not a reader/".to_owned()]).await.expect_err("no host and port");
        world.cloud.drop_account(&account).await.expect("drop the account");
    });
}

#[test]
fn a_rotator_without_a_password_gets_a_token() {
    run(async {
        let (world, ca_file) = (world().await, tests::world::file("Cargo.toml"));
        let aws = world.cloud.sdk_config("700000000001");
        let with = access::rotator(&secret("postgres://u:p@db.example:6000/app"), &ca_file, &aws).await.expect("a URL");
        assert_eq!(
            with.libpq_environment("app", "x").into_iter().find(|(name, _)| *name == "PGPASSWORD").map(|(_, value)| value),
            Some("p".to_owned())
        );
        let aws = shared::aws::configuration()
            .await
            .into_builder()
            .region(aws.region().cloned())
            .credentials_provider(aws.credentials_provider().expect("credentials"))
            .build();
        let without = access::rotator(&secret("postgres://ro%26tator@db.example:6000/app"), &ca_file, &aws).await.expect("a token");
        let token = password(&without);
        assert!(token.starts_with("db.example:6000/?Action=connect&DBUser=ro%26tator&") && token.contains("X-Amz-Signature="), "{token}");
        // It is for one address.
        let there = Place::of(&without).at("reader.example", 6000);
        let other = access::elsewhere(&without, &there, Some(&aws)).await.expect("another token");
        assert!(password(&other).starts_with("reader.example:6000/?"), "{}", password(&other));
        let same = access::elsewhere(&without, &Place::of(&without), Some(&aws)).await.expect("the same");
        assert_eq!(password(&same), token);
        // A token is not sent without TLS.
        let refused = access::rotator(&secret("postgres://u@127.0.0.1/app?sslmode=disable"), &ca_file, &aws).await.err().expect("no TLS");
        assert_eq!(refused.kind, FailureKind::BadSettings);
    });
}

fn password(access: &Access) -> String {
    let environment = access.libpq_environment("app", "x");
    environment.into_iter().find(|(name, _)| *name == "PGPASSWORD").map(|(_, value)| value).expect("a password")
}

/// An authority that signed nothing; its key was thrown away.
pub(super) const OTHER_AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBjjCCATWgAwIBAgIUbiNdrO2P+YXi8yqYG2FkexQzYoowCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRYW5vdGhlciBhdXRob3JpdHkwIBcNMjYxMTIzMTQzNjAzWhgP
MjEyNjEwMzAxNDM2MDNaMBwxGjAYBgNVBAMMEWFub3RoZXIgYXV0aG9yaXR5MFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPhf5EJDZ6DzXfRpyCC7rlEhjC2IxsGFv
W1mYLsRNBloj4sDw4GffDCftdBnI+gtc1x9KlzYsZdBS8lxkKMZ686NTMFEwHQYD
VR0OBBYEFIKjUIHHordlEGVzxrmomsnc8p18MB8GA1UdIwQYMBaAFIKjUIHHordl
EGVzxrmomsnc8p18MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIg
HIEmSGSjjxjROgi9XY3XTh69XeLnFj9tc/mmmUqhJgcCIGUqqvsmX2PqkUBWnb+n
o/GGnQmwp3TTwchZUzANZ79f
-----END CERTIFICATE-----
";
