//! Whatever can be in the way is predicted, and then tried: what was predicted is what happens. And the prediction writes nothing.

use std::fs;

use local::database::{self, identifier, with_database};
use local::proxy::AfterCut;
use rotate_secret::database::password::Committed;
use rotate_secret::database::preflight::{Obstacle, Predicted, Request, check};
use rotate_secret::database::readers::{Servers, Unchecked};
use rotate_secret::database::{Holder, Login, Place, Session, login};
use shared::failure::FailureKind;
use shared_postgres::Access;
use tests::world::{run, unique, world};

use super::standby::Standby;
use super::{OLD, Stage, Who, is_refused, ours, secret, soon, works};

const NEW: &str = "another-password";

/// What the dry run is given; tests change one thing at a time.
#[derive(Clone)]
struct Case {
    rotator: Access,
    users: Vec<String>,
    live_password: String,
    live_user: String,
    bound_to_user: bool,
    servers: Servers,
}

/// Functions run on a runtime of several threads.
fn sendable<T: Send>(future: T) -> T {
    future
}

impl Case {
    fn new(stage: &Stage, standby: Option<&Standby>) -> Self {
        let writer = stage.place();
        let readers = standby.iter().map(|standby| standby.place(&writer)).collect();
        Self {
            rotator: stage.rotator.clone(),
            users: vec![stage.name(Who::A), stage.name(Who::B)],
            live_user: stage.name(Who::A),
            live_password: OLD.to_owned(),
            bound_to_user: false,
            servers: Servers { writer, readers, unchecked: Vec::new() },
        }
    }

    async fn check(&self) -> Vec<Predicted> {
        let password = secret(&self.live_password);
        let request = Request {
            rotator: &self.rotator,
            users: &self.users,
            live_user: &self.live_user,
            live_password: &password,
            bound_to_user: self.bound_to_user,
            servers: &self.servers,
            tokens: None,
        };
        let found = sendable(check(&request)).await;
        assert!(found.iter().all(|predicted| !predicted.fix.is_empty() && !predicted.seen.is_empty()), "{found:#?}");
        assert!(!format!("{found:?}").contains(&self.live_password));
        found
    }

    /// The kinds, each once.
    async fn obstacles(&self) -> Vec<Obstacle> {
        let mut found: Vec<Obstacle> = self.check().await.iter().map(|predicted| predicted.obstacle).collect();
        found.dedup();
        found
    }

    /// The real thing on the user that would get the password: whether it is set, and works on all servers.
    async fn tried(&self) -> Result<Vec<Login>, shared::failure::Failure> {
        let holder = Holder { invocation: format!("try-{}", unique()), alive_until: soon() };
        let mut session = ours(sendable(Session::take(&self.rotator, &format!("tried-{}", unique()), &holder)).await?);
        let user = self.users.iter().find(|user| self.users.len() == 1 || **user != self.live_user).expect("a user");
        let came = sendable(session.set_password(user, &secret(NEW), "tried")).await?;
        assert_eq!(came, Committed::Yes);
        session.close().await;
        let places = self.servers.all();
        Ok(login::everywhere(&places, user, &secret(NEW), "test").await.into_iter().map(|(_, came)| came).collect())
    }
}

#[test]
fn what_is_predicted_is_what_happens() {
    run(async {
        let instance = world().await.own_server(17).await;
        let stage = Stage::on(instance).await;
        let [a, b, rotator] = [Who::A, Who::B, Who::Rotator].map(|who| identifier(&stage.name(who)));
        let good = Case::new(&stage, None);
        // First shown clean, and that it goes well.
        assert_eq!(good.check().await, []);
        assert!(good.tried().await.expect("tried").iter().all(works));

        // Of the rotator's rights: planted, predicted, tried, and made good by the fix.
        for (plant, obstacle) in [
            (format!("ALTER ROLE {rotator} NOCREATEROLE"), Obstacle::NoCreateRole),
            (format!("REVOKE ADMIN OPTION FOR {b} FROM {rotator} GRANTED BY lifeboat_master"), Obstacle::NoAdminOption),
            (format!("ALTER ROLE {b} CONNECTION LIMIT 0"), Obstacle::ConnectionLimit),
            (
                format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC; GRANT CONNECT ON DATABASE {0} TO {a}, {rotator}", stage.database),
                Obstacle::NoConnect,
            ),
            (format!("GRANT CREATE ON SCHEMA public TO {a}"), Obstacle::Parity),
        ] {
            stage.admin(&plant).await;
            let found = good.check().await;
            assert!(found.iter().any(|predicted| predicted.obstacle == obstacle), "{plant}: {found:#?}");
            let came = good.tried().await;
            match obstacle {
                Obstacle::NoCreateRole | Obstacle::NoAdminOption => assert_eq!(came.expect_err("refused").kind, FailureKind::Denied, "{plant}"),
                Obstacle::Parity => assert!(came.expect("set").iter().all(works), "it can log in, and does less"),
                _ => assert!(matches!(came.expect("set").as_slice(), [Login::CannotTell(_)]), "{plant}"),
            }
            let fixes: Vec<&Predicted> = found.iter().filter(|predicted| predicted.obstacle.blocks()).collect();
            for predicted in fixes {
                stage.admin(&predicted.fix).await;
            }
            // What was granted to the other by the plant is the same for both then.
            let left: Vec<Predicted> =
                good.check().await.into_iter().filter(|predicted| predicted.obstacle != Obstacle::Parity || obstacle == Obstacle::Parity).collect();
            assert_eq!(left, [], "{plant}");
            assert!(good.tried().await.expect("tried").iter().all(works), "{plant}");
            stage
                .admin(&format!(
                    "GRANT CONNECT ON DATABASE {} TO PUBLIC; ALTER ROLE {b} CONNECTION LIMIT -1; REVOKE ALL ON DATABASE {0} FROM {a}, {b}",
                    stage.database
                ))
                .await;
        }

        // To end sessions.
        stage.sql(&stage.instance.master_url, &format!("REVOKE pg_signal_backend, pg_monitor FROM {rotator}")).await;
        assert_eq!(good.obstacles().await, [Obstacle::NoSignal, Obstacle::NoMonitor]);
        let access = stage.place().access(&stage.name(Who::B), &secret(NEW)).expect("on this machine");
        let busy = access.connect(&access.database, "a straggler").await.expect("connect");
        let mut session = stage.must_take(&stage.rotator, "first").await;
        assert_eq!(session.server().end_sessions(&stage.name(Who::B), None).await.expect_err("denied").kind, FailureKind::Denied);
        stage.sql(&stage.instance.master_url, &format!("GRANT pg_signal_backend TO {rotator}; GRANT pg_monitor TO {rotator}")).await;

        // The other user is in use, and by whom.
        let found = good.check().await;
        assert!(found.len() == 1 && found[0].obstacle == Obstacle::StandbyBusy && found[0].seen.contains("a straggler"), "{found:#?}");
        assert_eq!(session.server().end_sessions(&stage.name(Who::B), None).await.expect("end").ended, 1);
        drop(busy);
        session.close().await;

        // A member of rds_iam: RDS takes another way of logging in from it than a password.
        let hba = stage.instance.folder.join("pg_hba.conf");
        let before = fs::read_to_string(&hba).expect("read");
        // The rotator is a member of what it administers, and so of rds_iam, too.
        fs::write(&hba, format!("host all {rotator} all scram-sha-256\nhost all +rds_iam all reject\n{before}")).expect("write");
        stage.admin(&format!("GRANT rds_iam TO {b}; GRANT rds_iam TO {a}; DO 'BEGIN PERFORM pg_reload_conf(); END'")).await;
        let iam = good.obstacles().await;
        assert!(iam.contains(&Obstacle::IamMember), "{iam:?}");
        let came = good.tried().await.expect("set");
        assert!(came.iter().all(|came| !works(came)), "{came:?}");
        stage.admin(&format!("REVOKE rds_iam FROM {a}, {b}")).await;

        // Only RDS itself enforces this one.
        stage.admin(&format!("ALTER ROLE {rotator} SET rds.restrict_password_commands = 'on'")).await;
        stage.sql(&stage.instance.master_url, &format!("REVOKE rds_password FROM {rotator}")).await;
        assert_eq!(good.obstacles().await, [Obstacle::NoRdsPassword]);
        stage.admin(&good.check().await[0].fix).await;
        assert_eq!(good.obstacles().await, []);
        stage.end().await;
    });
}

#[test]
fn names_places_and_passwords_that_do_not_fit_are_predicted() {
    run(async {
        let stage = Stage::new(17).await;
        let good = Case::new(&stage, None);
        assert_eq!(good.obstacles().await, []);
        let b = stage.name(Who::B);
        let one = |user: &str| Case { users: vec![user.to_owned()], live_user: user.to_owned(), ..good.clone() };

        // Roles that must not be rotated so: predicted, and refused by the server.
        for (user, obstacle) in [
            ("x".repeat(64), Obstacle::NameTooLong),
            ("nobody-of-this-name".to_owned(), Obstacle::RoleMissing),
            (stage.name(Who::Rotator), Obstacle::OwnRole),
            ("lifeboat_master".to_owned(), Obstacle::MasterUser),
            ("rdsadmin".to_owned(), Obstacle::Superuser),
        ] {
            let case = one(&user);
            let found = case.obstacles().await;
            assert!(found.contains(&obstacle), "{user}: {found:?}");
            case.tried().await.expect_err(&user);
        }

        // The live value.
        let wrong = Case { live_password: "not-this".to_owned(), ..good.clone() };
        assert_eq!(wrong.obstacles().await, [Obstacle::LiveRefused]);
        assert!(is_refused(&stage.log_in(Who::A, "not-this").await, "28P01"));
        let foreign = Case { users: vec![b.clone(), "nobody-of-this-name".to_owned()], ..good.clone() };
        assert!(foreign.obstacles().await.contains(&Obstacle::LiveForeign));
        assert_eq!(Case { bound_to_user: true, ..good.clone() }.obstacles().await, [Obstacle::UserBound]);

        // The rotator's own way.
        let refused = Case { rotator: good.rotator.clone().with_password(secret("wrong")), ..good.clone() };
        assert_eq!(refused.obstacles().await, [Obstacle::RotatorRefused]);
        assert_eq!(refused.tried().await.expect_err("refused").kind, FailureKind::Denied);
        let (proxy, access) = stage.proxied().await;
        proxy.cut_now(AfterCut::Refuse);
        let gone = Case { rotator: access, ..good.clone() };
        assert_eq!(gone.obstacles().await, [Obstacle::Unreachable]);
        assert_eq!(gone.tried().await.expect_err("gone").kind, FailureKind::Unreachable);
        let folder = tempfile::tempdir().expect("a folder");
        let other = folder.path().join("other.pem");
        fs::write(&other, super::logins::OTHER_AUTHORITY).expect("write");
        let place = Place { ca_file: Some(other), ..stage.place() };
        let rotator = place.access(&stage.name(Who::Rotator), &secret(OLD)).expect("an access");
        let tls = Case { rotator, servers: Servers { writer: place, ..good.servers.clone() }, ..good.clone() };
        assert_eq!(tls.obstacles().await, [Obstacle::Tls]);
        tls.tried().await.expect_err("no TLS");
        let unchecked = vec![Unchecked { name: "far".to_owned(), why: "another region".to_owned() }];
        let case = Case { servers: Servers { unchecked, ..good.servers.clone() }, ..good.clone() };
        let found = case.check().await;
        assert!(found.len() == 1 && found[0].obstacle == Obstacle::Unchecked && !found[0].obstacle.blocks(), "{found:?}");
        // A missing half of a pair: the fix makes the pair.
        let missing = Case { users: vec![stage.name(Who::A), format!("new_{}", stage.number)], ..good.clone() };
        let found = missing.check().await;
        let creation = found.iter().find(|predicted| predicted.obstacle == Obstacle::RoleMissing).expect("predicted");
        missing.tried().await.expect_err("no such role");
        stage.sql(&stage.instance.admin_url, &creation.fix).await;
        // Both are members of the old group then, as the first was.
        let grants: Vec<String> =
            missing.check().await.iter().filter(|predicted| predicted.obstacle == Obstacle::Parity).map(|predicted| predicted.fix.clone()).collect();
        stage.admin(&grants.join("; ")).await;
        assert_eq!(missing.obstacles().await, []);
        assert!(missing.tried().await.expect("tried").iter().all(works));

        stage.admin(&format!("DROP OWNED BY {0}; DROP ROLE {0}", identifier(&format!("new_{}", stage.number)))).await;
        stage.end().await;
    });
}

#[test]
fn a_standby_gets_passwords_late_and_is_no_writer() {
    run(async {
        let instance = world().await.own_server(17).await;
        let standby = Standby::start(&instance).await;
        let stage = Stage::on(instance).await;
        standby.caught_up().await;
        let good = Case::new(&stage, Some(&standby));
        assert_eq!(good.obstacles().await, []);
        let reader = standby.place(&stage.place());
        match login::log_in(&reader, &stage.name(Who::A), &secret(OLD), "test").await {
            Login::Accepted(seen) => assert!(seen.in_recovery),
            other => panic!("{other:?}"),
        }

        // It is no writer.
        let rotator = stage.rotator.clone().at(&reader.host, reader.port).expect("on this machine");
        let on_standby = Case { rotator, ..good.clone() };
        assert!(on_standby.obstacles().await.contains(&Obstacle::RotatorOnStandby));
        assert_eq!(on_standby.tried().await.expect_err("a standby").kind, FailureKind::BadSettings);

        // It stands still: the new password is refused there, and works when it goes on.
        standby.admin("SELECT pg_wal_replay_pause()").await;
        assert!(good.tried().await.is_ok(), "the writer takes it");
        assert_eq!(good.obstacles().await, [Obstacle::ReaderLagging]);
        let came = login::everywhere(&good.servers.all(), &stage.name(Who::B), &secret(NEW), "test").await;
        assert!(works(&came[0].1) && is_refused(&came[1].1, "28P01"), "{came:?}");
        standby.admin("SELECT pg_wal_replay_resume()").await;
        standby.caught_up().await;
        let came = login::everywhere(&good.servers.all(), &stage.name(Who::B), &secret(NEW), "test").await;
        assert!(came.iter().all(|(_, came)| works(came)), "{came:?}");
        assert_eq!(good.obstacles().await, []);

        // Gone, it is named.
        drop(standby);
        let mut found = good.check().await;
        while !found.iter().any(|predicted| predicted.obstacle == Obstacle::Unreachable) {
            found = good.check().await;
        }
        assert!(found.iter().all(|predicted| predicted.subject == reader.to_string()), "{found:#?}");
        stage.end().await;
    });
}

#[test]
fn a_dry_run_writes_nothing() {
    run(async {
        let instance = world().await.own_server(18).await;
        database::run_as_admin(&instance, "postgres", "ALTER SYSTEM SET autovacuum = off").await.expect("set");
        let stage = Stage::on(instance).await;
        stage.admin("DO 'BEGIN PERFORM pg_reload_conf(); END'").await;
        let written = async || {
            let url = with_database(&stage.instance.admin_url, &stage.database).expect("a URL");
            let mut admin = database::connect(&stage.instance, &url).await.expect("connect");
            let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text || ' ' || (SELECT string_agg(r::text || coalesce(shobj_description(r.oid, 'pg_authid'), ''), ',' ORDER BY r.rolname) FROM pg_authid r)";
            sqlx::query_scalar::<_, String>(sql).fetch_one(&mut admin).await.expect("look")
        };
        let good = Case::new(&stage, None);
        let before = written().await;
        for _ in 0..3 {
            assert_eq!(good.obstacles().await, []);
        }
        assert_eq!(written().await, before, "no transaction wrote");
        assert!(good.tried().await.is_ok());
        assert_ne!(written().await, before, "and one that does is noticed");
        // Nor does it stand in the way of a rotation, or wait for one.
        let session = stage.must_take(&stage.rotator, "first").await;
        assert_eq!(good.obstacles().await, []);
        session.close().await;
        stage.end().await;
    });
}
