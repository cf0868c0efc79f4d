//! A run of the database's part of a rotation is ended at any moment, in any way, while an application logs in all the time as the user that is not touched: no
//! login of it fails, and whoever comes next knows by the mark which password is in force.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use local::process::Job;
use local::proxy::{AfterCut, Bytes, Cut, Direction, TcpProxy};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rotate_secret::database::password::{Committed, new_password};
use rotate_secret::database::{Holder, Login, Session, login};
use rotate_secret::identity::{Mark, RotationId, marked, retired};
use shared::failure::Failure;
use shared::secrets::{ExposeSecret, SecretString};
use shared_postgres::Access;
use tests::world::run;

use super::{MAJORS, OLD, Stage, Who, long_ago, ours, rotation, say, secret, works};

/// Of each major.
const RUNS: u64 = 15;
/// Of each major, of processes that are killed.
const KILLS: u64 = 5;
/// Says what a child is to do, in its environment.
const CHILD: &str = "ROTATE_CHILD";
const LIMIT: Duration = Duration::from_mins(1);

/// How a run ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The connection is reset after so many bytes that way.
    Cut(Direction, u64),
    /// The client vanishes, and the server is told nothing, after so many bytes both ways.
    Vanish(u64),
}

/// The bytes of a run that nothing happens to.
struct Whole {
    until_taken: Bytes,
    all: Bytes,
}

impl Whole {
    /// Anywhere, but three times of four after the lock was taken: there the changes are.
    fn point(&self, rng: &mut StdRng, count: impl Fn(&Bytes) -> u64) -> u64 {
        let first = if rng.random_range(0..4) == 0 { 1 } else { count(&self.until_taken) + 1 };
        rng.random_range(first..=count(&self.all))
    }
}

/// What a rotation does to the user that nobody uses.
async fn work(
    access: &Access,
    secret_name: &str,
    user: &str,
    password: &SecretString,
    rotation: &RotationId,
    comment: Option<&str>,
) -> Result<(), Failure> {
    let holder = Holder { invocation: format!("run-{}", std::process::id()), alive_until: long_ago() };
    let mut session = ours(Session::take(access, secret_name, &holder).await?);
    if session.set_password(user, password, &marked(comment, rotation)).await? != Committed::Yes {
        return Ok(());
    }
    session.still_ours().await?;
    session.retire(user, &retired(comment, rotation)).await?;
    session.close().await;
    Ok(())
}

/// Logs in as A until told to stop: how many times, and what failed.
struct Application {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(u64, Vec<Login>)>,
}

impl Application {
    fn start(stage: &Stage) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (place, user, stopped) = (stage.place(), stage.name(Who::A), stop.clone());
        let task = tokio::spawn(async move {
            let (mut count, mut failed) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let came = login::log_in(&place, &user, &secret(OLD), "application").await;
                count += 1;
                failed.extend((!works(&came)).then_some(came));
            }
            (count, failed)
        });
        Self { stop, task }
    }

    async fn end(self) -> (u64, Vec<Login>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("an end")
    }
}

/// What is known of B between runs.
struct Known {
    passwords: BTreeMap<RotationId, SecretString>,
    current: Option<Mark>,
    outcomes: BTreeMap<&'static str, u64>,
}

impl Known {
    fn new() -> Self {
        Self { passwords: BTreeMap::new(), current: None, outcomes: BTreeMap::new() }
    }

    /// The next session reads the mark, and every login is as it says.
    async fn check(&mut self, stage: &Stage, rotation: &RotationId, what: &str) -> Option<String> {
        let mut heir = stage.must_take(&stage.rotator, "heir").await;
        let role = heir.server().roles(&[&stage.name(Who::B)]).await.expect("look").remove(0);
        heir.close().await;
        let outcome = match &role.mark {
            Some(Mark::Set(id)) if id == rotation => "new",
            Some(Mark::Retired(id)) if id == rotation => "retired",
            mark => {
                assert_eq!(*mark, self.current, "{what}");
                "before"
            }
        };
        *self.outcomes.entry(outcome).or_default() += 1;
        self.current.clone_from(&role.mark);
        let in_force = match &role.mark {
            None => Some(secret(OLD)),
            Some(Mark::Set(id)) => Some(self.passwords[id].clone()),
            Some(Mark::Retired(_) | Mark::Undone(_)) => None,
        };
        assert_eq!(role.can_login, in_force.is_some(), "{what}");
        for password in self.passwords.values().chain([&secret(OLD)]) {
            let expected = in_force.as_ref().is_some_and(|in_force| in_force.expose_secret() == password.expose_secret());
            let came = stage.log_in(Who::B, password.expose_secret()).await;
            assert_eq!(works(&came), expected, "{what}: {outcome}: {came:?}");
            assert!(matches!(came, Login::Accepted(_) | Login::Refused { .. }), "{what}: {came:?}");
        }
        // Only the one in force is asked for again; the others were seen to be dead.
        self.passwords.retain(|_, password| in_force.as_ref().is_some_and(|in_force| in_force.expose_secret() == password.expose_secret()));
        role.comment
    }
}

#[test]
fn killed_at_any_moment_the_mark_tells_and_nobody_is_locked_out() {
    run(async {
        let seed: u64 = rand::random();
        say(&format!("seed {seed}"));
        let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let application = Application::start(&stage);
            let mut known = Known::new();
            let whole = whole_run(&stage, &mut known).await;
            let mut comment = None;
            for number in 0..RUNS {
                let mut rng = StdRng::seed_from_u64(seed ^ (u64::from(major) << 32) ^ number);
                let end = match rng.random_range(0..3) {
                    0 => End::Cut(Direction::FromClient, whole.point(&mut rng, |bytes| bytes.from_client)),
                    1 => End::Cut(Direction::FromServer, whole.point(&mut rng, |bytes| bytes.from_server)),
                    _ => End::Vanish(whole.point(&mut rng, |bytes| bytes.from_client + bytes.from_server)),
                };
                let what = format!("seed {seed}, PostgreSQL {major}, run {number}: {end:?}");
                let (proxy, access) = stage.proxied().await;
                let (id, password) = (rotation(1_000 + number), new_password().expect("a password"));
                known.passwords.insert(id.clone(), password.clone());
                let (secret_name, user) = (stage.secret(), stage.name(Who::B));
                let work = work(&access, &secret_name, &user, &password, &id, comment.as_deref());
                match end {
                    End::Cut(direction, after_bytes) => {
                        proxy.cut_at(Cut { direction, after_bytes, then: AfterCut::Refuse });
                        let _ = tokio::time::timeout(LIMIT, work).await.expect("an end");
                    }
                    End::Vanish(after_bytes) => {
                        tokio::select! {
                            biased;
                            () = until_passed(&proxy, after_bytes) => proxy.freeze(true),
                            _ = work => {}
                        }
                    }
                }
                comment = known.check(&stage, &id, &what).await;
                // What was on its way arrives now, at a session that is gone.
                proxy.heal();
                let mut heir = stage.must_take(&stage.rotator, "heir").await;
                assert_eq!(stage.mark(&mut heir).await, known.current, "{what}: later");
                heir.close().await;
            }
            let (count, failed) = application.end().await;
            assert!(failed.is_empty() && count > RUNS, "seed {seed}: {count} logins, {failed:?}");
            say(&format!("PostgreSQL {major}: {RUNS} runs, {count} logins of the application, {:?}", known.outcomes));
            known.outcomes.into_iter().for_each(|(name, count)| *outcomes.entry(name).or_default() += count);
            stage.end().await;
        }
        // Runs were ended before, between and after.
        assert!(["before", "new", "retired"].iter().all(|name| outcomes.get(name).is_some_and(|count| *count >= 5)), "seed {seed}: {outcomes:?}");
    });
}

/// One run that nothing happens to: how many bytes it takes.
async fn whole_run(stage: &Stage, known: &mut Known) -> Whole {
    let (proxy, access) = stage.proxied().await;
    ours(stage.take(&access, "measured", long_ago()).await).still_ours().await.expect("ours");
    let until_taken = proxy.bytes();
    let (proxy, access) = stage.proxied().await;
    let (id, password) = (rotation(1), new_password().expect("a password"));
    known.passwords.insert(id.clone(), password.clone());
    work(&access, &stage.secret(), &stage.name(Who::B), &password, &id, None).await.expect("a whole run");
    known.check(stage, &id, "a whole run").await;
    assert_eq!(known.current, Some(Mark::Retired(id)));
    Whole { until_taken, all: proxy.bytes() }
}

async fn until_passed(proxy: &TcpProxy, bytes: u64) {
    loop {
        let passed = proxy.bytes();
        if passed.from_client + passed.from_server >= bytes {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// The process that is killed: nothing, unless a test started it.
#[test]
fn child() {
    let Some(job) = shared::env::process(CHILD) else { return };
    let job: serde_json::Value = serde_json::from_str(&job).expect("a job");
    let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
    std::fs::write(text("pidFile"), std::process::id().to_string()).expect("say who we are");
    run(async {
        let access = Access::parse(&secret(&text("url")), Path::new(&text("caFile"))).expect("a URL");
        let id = serde_json::from_value(job["rotation"].clone()).expect("a rotation");
        let comment = job["comment"].as_str();
        let _ = work(&access, &text("secret"), &text("user"), &secret(&text("password")), &id, comment).await;
    });
}

#[test]
fn a_killed_process_leaves_nothing_that_the_next_does_not_know() {
    run(async {
        let seed: u64 = rand::random();
        say(&format!("seed {seed}"));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut killed = 0;
        for major in MAJORS {
            let stage = Stage::new(major).await;
            let application = Application::start(&stage);
            let mut known = Known::new();
            let whole = whole_run(&stage, &mut known).await;
            let folder = tempfile::tempdir().expect("a folder");
            let mut comment: Option<String> = None;
            for number in 0..KILLS {
                let after_bytes = whole.point(&mut rng, |bytes| bytes.from_client + bytes.from_server);
                let what = format!("seed {seed}, PostgreSQL {major}, killed after {after_bytes} bytes");
                let (proxy, access) = stage.proxied().await;
                let (id, password) = (rotation(2_000 + number), new_password().expect("a password"));
                known.passwords.insert(id.clone(), password.clone());
                let pid_file = folder.path().join(number.to_string());
                let url = format!(
                    "postgres://{}:{OLD}@{}/{}{}",
                    access.user,
                    proxy.address,
                    stage.database,
                    if stage.instance.tls { "" } else { "?sslmode=disable" }
                );
                let job = serde_json::json!({
                    "pidFile": pid_file, "url": url, "caFile": stage.instance.ca_file, "rotation": id, "comment": comment,
                    "secret": stage.secret(), "user": stage.name(Who::B), "password": password.expose_secret(),
                });
                let program = std::env::current_exe().expect("this program");
                let child = Job::new(program).args(["--exact", "rotate::database::crash::child"]).env(CHILD, job.to_string());
                let kill = async {
                    until_passed(&proxy, after_bytes).await;
                    // It must still be there when the signal comes; what it has sent arrives after its death.
                    proxy.freeze(true);
                    let pid = std::fs::read_to_string(&pid_file).expect("a process");
                    let _ = Job::new("/bin/kill").args(["-KILL", &pid]).run().await.expect("kill");
                };
                let mut running = std::pin::pin!(child.run());
                let ended = async {
                    tokio::select! {
                        ended = &mut running => ended,
                        () = kill => running.await,
                    }
                };
                let ended = tokio::time::timeout(LIMIT, ended).await.expect("an end");
                // No two runs have quite the same number of bytes: with its last ones it may have come to its own end.
                killed += u64::from(!ended.expect("run").status.success());
                if rng.random() {
                    proxy.heal();
                }
                comment = known.check(&stage, &id, &what).await;
                proxy.heal();
                let mut heir = stage.must_take(&stage.rotator, "heir").await;
                assert_eq!(stage.mark(&mut heir).await, known.current, "{what}: later");
                heir.close().await;
            }
            let (count, failed) = application.end().await;
            assert!(failed.is_empty() && count > 0, "seed {seed}: {count} logins, {failed:?}");
            say(&format!("PostgreSQL {major}: {KILLS} kills, {count} logins of the application, {:?}", known.outcomes));
            stage.end().await;
        }
        assert!(killed * 2 > KILLS * MAJORS.len() as u64, "seed {seed}: only {killed} were alive to be killed");
    });
}
