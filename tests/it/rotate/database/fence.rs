//! One writer: who comes next ends what a dead run left behind, in whatever state that is, and what it reads then stays true.

use local::database;
use local::proxy::{AfterCut, Cut, Direction, TcpProxy};
use rotate_secret::database::password::Committed;
use rotate_secret::database::{Session, Taken};
use rotate_secret::identity::{Mark, marked};
use shared::failure::FailureKind;
use tests::world::run;

use super::{MAJORS, OLD, Stage, Who, is_refused, long_ago, ours, rotation, secret, soon, works};

const NEW: &str = "the-new-password";

#[test]
fn one_at_a_time_and_who_it_is_is_said() {
    run(async {
        let stage = Stage::new(17).await;
        let until = soon();
        let mut first = ours(stage.take(&stage.rotator, "first", until).await);
        first.still_ours().await.expect("ours");
        match stage.take(&stage.rotator, "second", soon()).await {
            Taken::Busy { who, until: seen } => {
                assert!(who.contains("lifeboat rotate-secret") && who.contains("first") && who.contains(&stage.secret()), "{who}");
                assert_eq!(seen.map(|seen| seen.timestamp()), Some(until.timestamp()));
            }
            Taken::Ours(_) => panic!("two at a time"),
        }
        first.still_ours().await.expect("still ours");
        first.close().await;
        stage.must_take(&stage.rotator, "third").await.close().await;
        stage.end().await;
    });
}

#[test]
fn a_stranger_with_the_lock_is_not_ended() {
    run(async {
        let stage = Stage::new(17).await;
        // The key is looked up, for it is nobody's business.
        let session = stage.must_take(&stage.rotator, "first").await;
        let mut admin = database::connect(&stage.instance, &database_url(&stage)).await.expect("connect");
        let sql = "SELECT classid::int8::int, objid::int8 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let (one, two): (i32, i64) = sqlx::query_as(sql).fetch_one(&mut admin).await.expect("the lock");
        session.close().await;
        let sql = "SELECT pg_advisory_lock($1, ($2 - CASE WHEN $2 > 2147483647 THEN 4294967296 ELSE 0 END)::int)";
        sqlx::query(sql).bind(one).bind(two).execute(&mut admin).await.expect("take it");
        match stage.take(&stage.rotator, "second", soon()).await {
            Taken::Busy { until, .. } => assert_eq!(until, None),
            Taken::Ours(_) => panic!("a stranger was ended"),
        }
        sqlx::query("SELECT 1").execute(&mut admin).await.expect("still there");
        stage.end().await;
    });
}

fn database_url(stage: &Stage) -> String {
    database::with_database(&stage.instance.admin_url, &stage.database).expect("a URL")
}

#[test]
fn whoever_is_past_its_time_is_ended_and_can_do_nothing_more() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let mut dead = ours(stage.take(&stage.rotator, "dead", long_ago()).await);
            dead.still_ours().await.expect("ours");
            let mut heir = stage.must_take(&stage.rotator, "heir").await;
            dead.still_ours().await.expect_err("ended");
            let late = dead.set_password(&stage.name(Who::B), &secret(NEW), &marked(None, &rotation(1))).await;
            assert!(late.is_err() || matches!(late, Ok(Committed::InDoubt(_))), "{late:?}");
            assert_eq!(stage.mark(&mut heir).await, None, "{major}");
            assert!(works(&stage.log_in(Who::B, OLD).await));
            heir.close().await;
            stage.end().await;
        }
    });
}

#[test]
fn an_invocation_ends_a_session_that_it_lost_itself() {
    run(async {
        let stage = Stage::new(17).await;
        let mut lost = stage.must_take(&stage.rotator, "one-invocation").await;
        let next = stage.must_take(&stage.rotator, "one-invocation").await;
        assert_eq!(lost.still_ours().await.expect_err("ended").kind, FailureKind::Unreachable);
        next.close().await;
        stage.end().await;
    });
}

/// A change that waits for a row that somebody else holds: the transaction is open, and half done.
#[test]
fn an_open_transaction_of_a_client_that_vanished_comes_to_nothing() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let (proxy, access) = stage.proxied().await;
            let mut holder = database::connect(&stage.instance, &stage.instance.admin_url).await.expect("connect");
            let role = local::database::identifier(&stage.name(Who::B));
            // ALTER goes through, COMMENT waits.
            database::run(&mut holder, &format!("BEGIN; COMMENT ON ROLE {role} IS 'somebody is at it'")).await.expect("hold the row");
            let mut dead = ours(stage.take(&access, "dead", long_ago()).await);
            let (password, comment, name) = (secret(NEW), marked(None, &rotation(1)), stage.name(Who::B));
            {
                let change = dead.set_password(&name, &password, &comment);
                tokio::select! {
                    biased;
                    ended = change => panic!("it did not wait: {ended:?}"),
                    () = until_waiting(&stage) => {}
                }
                proxy.freeze(true);
            }
            // Whose answer nobody waited for is not used again.
            let given_up = dead.still_ours().await.expect_err("given up");
            assert!(given_up.to_string().contains("lost before"), "{given_up}");
            drop(dead);
            assert_eq!(proxy.open_connections(), 1, "the server must not see that the client is gone");
            let mut heir = stage.must_take(&stage.rotator, "heir").await;
            database::run(&mut holder, "ROLLBACK").await.expect("let go");
            assert_eq!(stage.mark(&mut heir).await, None, "{major}");
            proxy.freeze(false);
            assert_eq!(stage.mark(&mut heir).await, None, "{major}");
            assert!(works(&stage.log_in(Who::B, OLD).await) && is_refused(&stage.log_in(Who::B, NEW).await, "28P01"), "{major}");
            heir.close().await;
            stage.end().await;
        }
    });
}

/// Until a session of the rotator waits for a lock.
async fn until_waiting(stage: &Stage) {
    let mut admin = database::connect(&stage.instance, &stage.instance.admin_url).await.expect("connect");
    let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock')";
    loop {
        let waits: bool = sqlx::query_scalar(sql).bind(stage.name(Who::Rotator)).fetch_one(&mut admin).await.expect("look");
        if waits {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_commit_without_its_answer_is_known_by_its_mark() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let (proxy, access) = stage.proxied().await;
            for (number, direction) in [(1, Direction::FromClient), (2, Direction::FromServer)] {
                let mut session = ours(stage.take(&access, "cut", soon()).await);
                cut(&proxy, direction);
                let comment = marked(None, &rotation(number));
                let came = session.set_password(&stage.name(Who::B), &secret(NEW), &comment).await;
                assert!(matches!(came, Ok(Committed::InDoubt(_))), "{came:?}");
                // The session is of no use after that.
                assert_eq!(session.still_ours().await.expect_err("lost").kind, FailureKind::Unreachable);
                let mut heir = stage.must_take(&stage.rotator, "heir").await;
                // The request did not arrive, or it did and its answer not.
                let arrived = direction == Direction::FromServer;
                assert_eq!(matches!(stage.mark(&mut heir).await, Some(Mark::Set(_))), arrived, "{major} {direction:?}");
                assert_eq!(works(&stage.log_in(Who::B, NEW).await), arrived, "{major} {direction:?}");
                assert_eq!(works(&stage.log_in(Who::B, OLD).await), !arrived, "{major} {direction:?}");
                heir.close().await;
            }
            stage.end().await;
        }
    });
}

/// The next byte that way is the last.
fn cut(proxy: &TcpProxy, direction: Direction) {
    let bytes = proxy.bytes();
    let passed = if direction == Direction::FromClient { bytes.from_client } else { bytes.from_server };
    proxy.cut_at(Cut { direction, after_bytes: passed + 1, then: AfterCut::Accept });
}

/// A function that is frozen with a change on its way, and thawed when another has taken over.
#[test]
fn what_arrives_after_its_session_was_ended_does_nothing() {
    run(async {
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let (proxy, access) = stage.proxied().await;
            let mut frozen = ours(stage.take(&access, "frozen", long_ago()).await);
            proxy.freeze(true);
            let (name, password, comment) = (stage.name(Who::B), secret(NEW), marked(None, &rotation(1)));
            let late = tokio::spawn(async move { frozen.set_password(&name, &password, &comment).await });
            let mut heir: Session = stage.must_take(&stage.rotator, "heir").await;
            assert_eq!(stage.mark(&mut heir).await, None, "{major}");
            proxy.freeze(false);
            let late = late.await.expect("an end");
            assert!(matches!(late, Ok(Committed::InDoubt(_))), "{late:?}");
            assert_eq!(stage.mark(&mut heir).await, None, "{major}");
            assert!(works(&stage.log_in(Who::B, OLD).await), "{major}");
            heir.close().await;
            stage.end().await;
        }
    });
}
