//! An invocation's part of a night: piece after piece, until the budget, the time or the pieces are used up.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::failure::Failure;
use shared_postgres::amcheck::{self, Place, Target, Tools};
use shared_postgres::trouble::Trouble;
use shared_postgres::windows::Span;
use shared_postgres::{Connection, ContextSql};
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Row};
use tokio::time::{Instant, timeout_at};

use super::cursor::{Cursor, Miss};
use super::plan::{Piece, fit, heap_cost, index_cost, left_for_suspects, pieces, suspects};
use super::watch::{Pair, Stopped};
use super::{Night, Progress, findings};
use crate::pace::Pace;
use crate::session::Sessions;

/// Blocks of a table that are searched for one by one, in an invocation, when a window cannot be read.
const UNREADABLE_MAX: usize = 8;
/// What a window should take at most; a slower one is followed by a smaller one.
const WINDOW: Duration = Duration::from_secs(1);
/// Attempts to list what there is, when somebody's lock comes in between.
const ATTEMPTS_MAX: usize = 3;

/// Goes on checking until the time is over, or the night's budget is used up, and writes down in the cursor what is known then.
///
/// # Errors
/// When the server cannot be reached. What was checked until then is in the cursor.
pub async fn advance(sessions: &Sessions, cursor: &mut Cursor, night: Night, pace: &mut Pace, until: Instant) -> Result<Progress, Failure> {
    let (mut connection, major) = sessions.connect("amcheck").await?;
    let tools = amcheck::tools(&mut connection).await?;
    let missing = match findings::amcheck_missing(tools.as_ref(), &sessions.access.user, major) {
        Some(finding) => vec![finding],
        None => Vec::new(),
    };
    let Some(tools) = tools else { return Ok(Progress { done: true, findings: missing, ..Progress::default() }) };
    let targets = list(&mut connection).await?;
    let _ = connection.close().await;
    cursor.begin(night.day, &targets);
    let mut checking = Checking {
        targets: &targets,
        tools: &tools,
        pair: Pair::new(sessions),
        night,
        pace,
        until,
        progress: Progress::default(),
        speed: None,
        left_alone: BTreeSet::new(),
    };
    let lost = checking.all(cursor).await.err();
    let mut progress = checking.progress;
    checking.pair.close().await;
    progress.findings = missing;
    progress.findings.extend(findings::findings(&targets, cursor));
    progress.coverage = findings::coverage(&targets, cursor, |target| can_check(&tools, target));
    match lost {
        // Somebody ended the session, or the server went away: the next invocation goes on.
        Some(failure) if progress.windows + progress.indexes == 0 => Err(failure.context("check pages")),
        _ => Ok(progress),
    }
}

async fn list(connection: &mut Connection) -> Result<Vec<Target>, Failure> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match amcheck::targets(connection, None).await {
            Ok((tables, indexes)) => return Ok(tables.into_iter().chain(indexes).collect()),
            Err(failure) if failure.kind == shared::failure::FailureKind::GaveWay && attempts < ATTEMPTS_MAX => {}
            Err(failure) => return Err(failure),
        }
    }
}

fn can_check(tools: &Tools, target: &Target) -> bool {
    match target.method.as_str() {
        "heap" => tools.heap.is_some(),
        "btree" => tools.btree.iter().any(|check| !check.is_parent),
        "gin" => tools.gin.is_some(),
        _ => false,
    }
}

struct Checking<'a> {
    targets: &'a [Target],
    tools: &'a Tools,
    pair: Pair<'a>,
    night: Night,
    pace: &'a mut Pace,
    until: Instant,
    progress: Progress,
    /// Pages a second, as far as is known.
    speed: Option<f64>,
    /// Places of what is not to be touched any more in this invocation.
    left_alone: BTreeSet<usize>,
}

/// What came of a statement.
enum Outcome {
    /// The places that are corrupt.
    Checked(Vec<Place>),
    /// The server could not read it, twice.
    Unreadable(String),
    /// It is for another time: nothing is known.
    Nothing,
}

impl Checking<'_> {
    async fn all(&mut self, cursor: &mut Cursor) -> Result<(), Failure> {
        let tools = self.tools;
        for piece in suspects(self.targets, cursor, |target| can_check(tools, target)) {
            if self.is_late() {
                return Ok(());
            }
            let cost = self.cost(piece);
            if cost <= left_for_suspects(cursor, self.night.budget_pages) {
                self.piece(cursor, piece, cost, true).await?;
            }
        }
        let mut postponed = false;
        for piece in pieces(self.targets, cursor, |target| can_check(tools, target)) {
            if self.is_late() {
                return Ok(());
            }
            if self.targets[piece.target].method == "heap" {
                postponed |= !self.heap(cursor, piece).await?;
                continue;
            }
            let Some((_, cost)) = fit(&self.targets[piece.target], piece, cursor, self.night.budget_pages, u64::MAX) else { continue };
            if self.should_wait(cost) {
                postponed = true;
                continue;
            }
            self.piece(cursor, piece, cost, false).await?;
        }
        self.progress.done = !postponed;
        Ok(())
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    fn cost(&self, piece: Piece) -> u64 {
        let target = &self.targets[piece.target];
        if target.method == "heap" { heap_cost(target, piece.to - piece.from) } else { index_cost(target, self.night.budget_pages).0.max(1) }
    }

    /// Whether an index would not end in what is left of this invocation, and another has more time for it.
    fn should_wait(&self, cost: u64) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = self.speed.map_or(0.0, |speed| cost as f64 / speed * 1.5);
        seconds > left.as_secs_f64() && left < self.night.whole.mul_f64(0.8)
    }

    /// Pages of a table, window after window, as far as budget and time allow. `false`: some are left for another invocation of this night.
    async fn heap(&mut self, cursor: &mut Cursor, piece: Piece) -> Result<bool, Failure> {
        let target = &self.targets[piece.target];
        let (mut at, mut most) = (piece.from, self.pace.window_pages());
        while at < piece.to && !self.left_alone.contains(&piece.target) {
            if self.is_late() {
                return Ok(false);
            }
            let Some((to, cost)) = fit(target, Piece { from: at, ..piece }, cursor, self.night.budget_pages, most) else { break };
            let begun = Instant::now();
            self.piece(cursor, Piece { from: at, to, ..piece }, cost, false).await?;
            let took = begun.elapsed();
            most = if took > WINDOW * 2 { (most / 2).max(1) } else { most.saturating_mul(2).min(self.pace.window_pages()) };
            at = to;
        }
        Ok(true)
    }

    /// A window of a table, or an index: takes its time at the pace, checks it, writes down what came of it.
    async fn piece(&mut self, cursor: &mut Cursor, piece: Piece, cost: u64, is_suspect: bool) -> Result<(), Failure> {
        let target = &self.targets[piece.target];
        if self.left_alone.contains(&piece.target) {
            return Ok(());
        }
        if target.is_locked {
            self.leave(cursor, piece.target, Miss::Locked);
            return Ok(());
        }
        if timeout_at(self.until, self.pace.take(cost)).await.is_err() {
            return Ok(());
        }
        cursor.spend(cost, is_suspect);
        self.progress.pages += cost;
        if target.method == "heap" { self.window(cursor, piece).await } else { self.index(cursor, piece, cost).await }
    }

    async fn window(&mut self, cursor: &mut Cursor, piece: Piece) -> Result<(), Failure> {
        let (target, Some(function)) = (&self.targets[piece.target], &self.tools.heap) else { return Ok(()) };
        // What cannot be read is cut into halves until it is a page.
        let (mut spans, mut unreadable) = (vec![(piece.from, piece.to)], 0);
        'spans: while let Some((from, to)) = spans.pop() {
            let mut places = Vec::new();
            for sql in &amcheck::heap_statements(function, target, Span { from, to }) {
                places = match self.check(cursor, piece.target, sql, true).await? {
                    Outcome::Checked(places) => places,
                    Outcome::Unreadable(said) if to - from == 1 => {
                        unreadable += 1;
                        vec![Place { block: from, said }]
                    }
                    Outcome::Unreadable(_) if unreadable < UNREADABLE_MAX => {
                        let middle = from + (to - from) / 2;
                        spans.extend([(middle, to), (from, middle)]);
                        continue 'spans;
                    }
                    // More than are looked for: the rest is not checked, and first another night.
                    Outcome::Unreadable(_) => {
                        self.left_alone.insert(piece.target);
                        return Ok(());
                    }
                    Outcome::Nothing => return Ok(()),
                };
                if !places.is_empty() {
                    break;
                }
            }
            if places.is_empty() { cursor.sound(target, from, to) } else { cursor.corrupt(target, from, to, &places) }
        }
        self.progress.windows += 1;
        Ok(())
    }

    async fn index(&mut self, cursor: &mut Cursor, piece: Piece, cost: u64) -> Result<(), Failure> {
        let target = &self.targets[piece.target];
        let with_rows = index_cost(target, self.night.budget_pages).1;
        let begun = Instant::now();
        let statements = amcheck::gentle_statements(self.tools, target, with_rows);
        for (number, sql) in statements.iter().enumerate() {
            // Refused with the rows of its table, an index may still be read by itself.
            match self.check(cursor, piece.target, sql, number + 1 == statements.len()).await? {
                Outcome::Checked(_) => cursor.sound(target, 0, target.pages.max(1)),
                Outcome::Unreadable(said) => cursor.corrupt(target, 0, target.pages.max(1), &[Place { block: 0, said }]),
                Outcome::Nothing if self.left_alone.contains(&piece.target) => return Ok(()),
                Outcome::Nothing => continue,
            }
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let speed = cost as f64 / begun.elapsed().as_secs_f64().max(0.001);
            // What is small says little about what is large.
            if cost > 1000 || self.speed.is_none() {
                self.speed = Some(speed);
            }
            self.progress.indexes += 1;
            self.progress.indexes_with_rows += u64::from(with_rows && number == 0);
            return Ok(());
        }
        Ok(())
    }

    /// One statement. What the server could not read is only believed when it is still the same file, and is said twice.
    async fn check(&mut self, cursor: &mut Cursor, place: usize, sql: &str, is_last: bool) -> Result<Outcome, Failure> {
        let target = &self.targets[place];
        let mut said_before = false;
        loop {
            let begun = Instant::now();
            let trouble = match self.pair.run(sql, self.until).await {
                Ok(rows) if target.method == "heap" => return Ok(Outcome::Checked(rows.iter().map(place_of).collect())),
                Ok(_) => return Ok(Outcome::Checked(Vec::new())),
                Err(Stopped::GaveWay) => {
                    self.leave(cursor, place, Miss::Locked);
                    return Ok(Outcome::Nothing);
                }
                Err(Stopped::Because(trouble)) => trouble,
            };
            match trouble {
                Trouble::Lost(failure) => return Err(failure),
                Trouble::Unfinished => {
                    // Cut off early, because the invocation ends: it was not tried in earnest.
                    if begun.elapsed() < self.night.whole.mul_f64(0.7) && self.is_late() {
                        self.left_alone.insert(place);
                        self.progress.unfinished += 1;
                    } else {
                        self.leave(cursor, place, Miss::TooLong);
                    }
                    return Ok(Outcome::Nothing);
                }
                _ if !self.is_still_there(target).await? => {
                    self.progress.vanished += 1;
                    self.left_alone.insert(place);
                    return Ok(Outcome::Nothing);
                }
                Trouble::Damaged(said) if said_before => return Ok(Outcome::Unreadable(said)),
                Trouble::Damaged(_) => said_before = true,
                Trouble::Denied if is_last => self.leave(cursor, place, Miss::Denied),
                // invalid_parameter_value: it has fewer pages than it had.
                Trouble::Refused(code) if target.method == "heap" && code == "22023" => {
                    self.progress.vanished += 1;
                    self.left_alone.insert(place);
                }
                Trouble::Refused(code) if is_last => self.leave(cursor, place, Miss::Refused(code)),
                Trouble::Vanished if is_last => self.leave(cursor, place, Miss::Refused("42P01".to_owned())),
                Trouble::Denied | Trouble::Refused(_) | Trouble::Vanished => return Ok(Outcome::Nothing),
            }
            if !said_before {
                return Ok(Outcome::Nothing);
            }
        }
    }

    fn leave(&mut self, cursor: &mut Cursor, place: usize, why: Miss) {
        match why {
            Miss::Locked => self.progress.gave_way += 1,
            _ => self.progress.unfinished += 1,
        }
        cursor.missed(&self.targets[place], why);
        self.left_alone.insert(place);
    }

    /// Whether a table or index is still there, and in the same file: else what was said of it was said of nothing.
    async fn is_still_there(&mut self, target: &Target) -> Result<bool, Failure> {
        let asked = async {
            let worker = self.pair.worker().await?;
            let sql = "SELECT pg_relation_filenode(c.oid)::bigint FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
                        WHERE c.oid = $1::bigint::oid AND coalesce(i.indisvalid AND i.indisready AND i.indislive, true)";
            let file = sqlx::query_scalar::<_, Option<i64>>(sql).bind(i64::from(target.oid)).fetch_optional(worker).await;
            file.context_sql("look whether it is still there").map_err(Trouble::Lost)
        };
        match asked.await {
            Ok(file) => Ok(file.flatten() == Some(i64::from(target.file))),
            Err(Trouble::Lost(failure)) => Err(failure),
            Err(_) => Ok(false),
        }
    }
}

fn place_of(row: &PgRow) -> Place {
    Place { block: u64::try_from(row.get::<Option<i64>, _>(0).unwrap_or(0)).unwrap_or(0), said: row.get::<Option<String>, _>(1).unwrap_or_default() }
}
